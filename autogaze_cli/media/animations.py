"""Animations that FFmpeg cannot read, decoded by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageOps

from autogaze_cli.media.notes import Notes
from autogaze_cli.media.source import Source, unreadable
from autogaze_cli.media.watched import Unchanged

_MILLISECOND = Fraction(1, 1000)


class WebPSource(Source):
    """An animated WebP."""

    def __init__(self, path: Path, notes: Notes) -> None:
        self._path, self._notes = path, notes
        self.container = self.codec = "webp"
        self.time_base = _MILLISECOND
        self._unchanged = Unchanged(path, [path])
        try:
            self._durations = _webp_durations(path)
            self._image = Image.open(path)
        except OSError as error:
            raise unreadable(path, error) from error
        self.frames = len(self._durations)
        self.duration = sum(self._durations) * _MILLISECOND
        self.fps = self.frames / self.duration if self.frames else None

    def close(self) -> None:
        """Close the image."""
        self._image.close()

    def check(self) -> None:
        """Raise the ``InputError`` that the file was changed since it was opened, if it was."""
        self._unchanged.check()

    def decode(self) -> Iterator[VideoFrame]:
        """All frames, composited and turned as EXIF says, as RGBA."""
        pts = 0
        try:
            for number, duration in enumerate(self._durations):
                self._image.seek(number)
                image = self._image.convert("RGBA")
                image = ImageOps.exif_transpose(image)
                frame = VideoFrame.from_ndarray(np.asarray(image, np.uint8), format="rgba")
                frame.pts, frame.duration = pts, duration
                pts += duration
                yield frame
        except (OSError, EOFError) as error:
            self._notes.add("corrupt", f"stops early ({error})")
        self.check()


def _webp_durations(path: Path) -> list[int]:
    """Milliseconds of each animation frame; 0 is shown for 100, as browsers do."""
    durations = []
    with path.open("rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            end = file.tell() + size + size % 2
            if chunk[:4] == b"ANMF":
                durations.append(int.from_bytes(file.read(15)[12:], "little") or 100)
            file.seek(end)
    return durations
