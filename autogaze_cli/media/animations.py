"""Animations that FFmpeg cannot read, decoded by imageio with Pillow."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from autogaze_cli.media.limits import Limits
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.source import Source, unreadable
from autogaze_cli.media.watched import Unchanged, failed_read

if TYPE_CHECKING:
    from imageio.plugins.pillow import PillowPlugin

_MILLISECOND = Fraction(1, 1000)

_MOST_BYTES = 1 << 30
"""Of a file, which Pillow reads whole."""

_MOST_CHUNKS = 2_000_000
"""Looked at; a frame is one."""


class WebPSource(Source):
    """An animated WebP.

    Args:
        path: The file.
        notes: Where corrections are noted.
        truncated: Whether its end is missing.
        limits: What it may have.
    """

    def __init__(
        self, path: Path, notes: Notes, *, truncated: bool = False, limits: Limits
    ) -> None:
        self._path, self._notes = path, notes
        self.container = self.codec = "webp"
        self.time_base = _MILLISECOND
        self._unchanged = Unchanged(path, [path])
        try:
            if (size := path.stat().st_size) > _MOST_BYTES:
                raise OSError(None, f"{size} bytes, more than {_MOST_BYTES}")
            self._file: BinaryIO = _whole_chunks(path) if truncated else path.open("rb")
            with _closed_on_error(self._file):
                limits.require_size(path, *_webp_size(self._file))
                self._durations = _webp_durations(self._file)
                count = len(self._durations)
                limits.require(path, "frames", count, f"{count} frames")
                self._reader = _opened(self._file)
        except (OSError, Image.DecompressionBombError) as error:
            self._raise_failed_read(error)
            raise unreadable(path, error) from error
        self.frames = len(self._durations)
        self.duration = sum(self._durations) * _MILLISECOND
        self.fps = self.frames / self.duration if self.frames else None

    def close(self) -> None:
        """Close the image."""
        self._reader.close()
        self._file.close()

    def check(self) -> None:
        """Raise the ``InputError`` that the file was changed since it was opened, if it was."""
        self._unchanged.check()

    def decode(self) -> Iterator[VideoFrame]:
        """All frames, composited and turned as EXIF says, as RGBA."""
        pts = 0
        try:
            for number, duration in enumerate(self._durations):
                image = self._reader.read(index=number, mode="RGBA", rotate=True)
                frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
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


@contextmanager
def _closed_on_error(file: BinaryIO) -> Iterator[None]:
    """Close a file if the block raises."""
    try:
        yield
    except BaseException:
        file.close()
        raise


def _opened(file: BinaryIO) -> PillowPlugin:
    """Imageio's reader of an image.

    Raises:
        OSError: It is no image, or cannot be read.
        Image.DecompressionBombError: It is too large.
    """
    from imageio.v3 import imopen  # few inputs need it

    try:
        image = imopen(file, "r", plugin="pillow")
    except OSError as error:  # imageio's own, which has no reason
        if isinstance(error.__cause__, OSError | Image.DecompressionBombError):
            raise error.__cause__ from None
        raise
    try:
        with warnings.catch_warnings(action="error"):
            image.metadata()
    except (SyntaxError, ValueError, LookupError, struct.error, UserWarning):  # EXIF, damaged
        legible = _without_exif(file)
        image.close()  # with the file
        return _opened(legible)
    return image


def _without_exif(file: BinaryIO) -> BinaryIO:
    """A copy whose EXIF has a name that readers skip."""
    file.seek(0)
    data = bytearray(file.read())
    for name, start, _ in _chunks(io.BytesIO(data)):
        if name == b"EXIF":
            data[start - 8 : start - 4] = b"SKIP"
    return io.BytesIO(data)


def _whole_chunks(path: Path) -> BinaryIO:
    """The chunks of a file that are all there, with a header that says so."""
    data = path.read_bytes()
    end = max((end for _, _, end in _chunks(io.BytesIO(data)) if end <= len(data)), default=12)
    return io.BytesIO(data[:4] + (end - 8).to_bytes(4, "little") + data[8:end])


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height by the header of an animation."""
    file.seek(24)
    width, height = file.read(3), file.read(3)
    return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1


def _webp_durations(file: BinaryIO) -> list[int]:
    """Milliseconds of each animation frame; 0 is shown for 100, as browsers do."""
    durations = []
    for name, start, _ in _chunks(file):
        if name == b"ANMF":
            file.seek(start)
            durations.append(int.from_bytes(file.read(15)[12:], "little") or 100)
    file.seek(0)
    return durations


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk of a WebP, and where its content starts and ends, padding included.

    Raises:
        OSError: There are more than there are in any animation.
    """
    at = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        if len(chunk := file.read(8)) < 8:
            return
        size = int.from_bytes(chunk[4:], "little")
        at += 8
        yield chunk[:4], at, at + size + size % 2
        at += size + size % 2
    raise OSError(None, f"more than {_MOST_CHUNKS} chunks")
