"""Animations that FFmpeg cannot read, decoded by Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageOps

from autogaze_cli.media.notes import Notes
from autogaze_cli.media.source import Source, unreadable
from autogaze_cli.media.watched import Unchanged, failed_read

_MILLISECOND = Fraction(1, 1000)


class WebPSource(Source):
    """An animated WebP.

    Args:
        path: The file.
        notes: Where corrections are noted.
        truncated: Whether its end is missing.
    """

    def __init__(self, path: Path, notes: Notes, *, truncated: bool = False) -> None:
        self._path, self._notes = path, notes
        self.container = self.codec = "webp"
        self.time_base = _MILLISECOND
        self._unchanged = Unchanged(path, [path])
        try:
            self._file: BinaryIO = _whole_chunks(path) if truncated else path.open("rb")
            self._durations = _webp_durations(self._file)
            self._image = Image.open(self._file)
        except (OSError, Image.DecompressionBombError) as error:
            self._raise_failed_read(error)
            raise unreadable(path, error) from error
        self.frames = len(self._durations)
        self.duration = sum(self._durations) * _MILLISECOND
        self.fps = self.frames / self.duration if self.frames else None

    def close(self) -> None:
        """Close the image."""
        self._image.close()
        self._file.close()

    def check(self) -> None:
        """Raise the ``InputError`` that the file was changed since it was opened, if it was."""
        self._unchanged.check()

    def decode(self) -> Iterator[VideoFrame]:
        """All frames, composited and turned as EXIF says, as RGBA."""
        pts = 0
        try:
            for number, duration in enumerate(self._durations):
                self._image.seek(number)
                image = _turned(self._image.convert("RGBA"))
                frame = VideoFrame.from_ndarray(np.asarray(image, np.uint8), format="rgba")
                frame.pts, frame.duration = pts, duration
                pts += duration
                yield frame
        except (OSError, EOFError, Image.DecompressionBombError) as error:
            self._raise_failed_read(error)
            self._notes.add("corrupt", f"stops early ({error})")
        self.check()

    def _raise_failed_read(self, error: Exception) -> None:
        """Raise the ``InputError`` for an error of the system, which alone has a number."""
        if isinstance(error, OSError) and error.errno:
            raise failed_read(self._path, error) from error


def _turned(image: Image.Image) -> Image.Image:
    """The image as its EXIF says; as it is where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, LookupError, struct.error):
        return image


def _whole_chunks(path: Path) -> BinaryIO:
    """The chunks of a file that are all there, with a header that says so."""
    data = path.read_bytes()
    end = 12
    while (after := end + 8 + _even(data[end + 4 : end + 8])) <= len(data):
        end = after
    return io.BytesIO(data[:4] + (end - 8).to_bytes(4, "little") + data[8:end])


def _webp_durations(file: BinaryIO) -> list[int]:
    """Milliseconds of each animation frame; 0 is shown for 100, as browsers do."""
    durations = []
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        end = file.tell() + _even(chunk[4:])
        if chunk[:4] == b"ANMF":
            durations.append(int.from_bytes(file.read(15)[12:], "little") or 100)
        file.seek(end)
    file.seek(0)
    return durations


def _even(size: bytes) -> int:
    """The size of a chunk with its padding."""
    number = int.from_bytes(size, "little")
    return number + number % 2
