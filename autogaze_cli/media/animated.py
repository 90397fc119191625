"""Animated PNG and WebP without loss, written frame by frame.

imageio compresses each frame as a picture of its own; only the container is written here, because
FFmpeg's muxers cannot be told how long the last frame is shown, and imageio's keeps all frames in
memory.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from autogaze_cli.media.filters import Pixels
from autogaze_cli.media.timeline import Timeline

MAX_WEBP_SIDE = 16383
_PNG = b"\x89PNG\r\n\x1a\n"
_ALPHA, _ANIMATED, _REPLACE = 0x10, 0x02, 0x02


class _Animation:
    """A file of frames; one is held back until it is known how long it is shown."""

    suffix: ClassVar[str]
    options: ClassVar[dict[str, Any]]

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("wb")
        self._held: tuple[Pixels, int] | None = None
        self.count = 0

    def write(self, image: Pixels, time: Fraction) -> None:
        """Take the next frame."""
        start = round(time * 1000)
        if self._held is not None:
            start = max(start, self._held[1] + 1)
            self._put(start)
        self._held = image, start

    def finish(self, timeline: Timeline, check: Callable[[], object]) -> None:
        """Write the last frame, and close the file."""
        self._put(round(timeline.end * 1000))
        self._complete(self._file)
        self._file.close()

    def discard(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _put(self, end: int) -> None:
        from imageio.v3 import imwrite  # few outputs need it

        assert self._held is not None
        image, start = self._held
        picture = imwrite("<bytes>", image, plugin="pillow", extension=self.suffix, **self.options)
        self._add(self._file, image, picture, max(1, end - start))
        self.count += 1

    def _add(self, file: BinaryIO, image: Pixels, picture: bytes, duration_ms: int) -> None:
        raise NotImplementedError

    def _complete(self, file: BinaryIO) -> None:
        raise NotImplementedError


class AnimatedPng(_Animation):
    """An APNG that loops."""

    suffix = ".png"
    options: ClassVar[dict[str, Any]] = {"compress_level": 4}

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._sequence = 0

    def _add(self, file: BinaryIO, image: Pixels, picture: bytes, duration_ms: int) -> None:
        chunks = list(_png_chunks(picture))
        if self.count == 0:
            header = next(data for name, data in chunks if name == b"IHDR")
            file.write(_PNG + _png_chunk(b"IHDR", header))
            self._counted_at = file.tell()
            file.write(_png_chunk(b"acTL", bytes(8)))
        height, width = image.shape[:2]
        # A delay is two 16-bit numbers: milliseconds, or seconds where these are too many.
        number, per = (duration_ms, 1000) if duration_ms < 1 << 16 else (duration_ms // 1000, 1)
        control = [*(n.to_bytes(4) for n in (self._next(), width, height, 0, 0))]
        control += [min(number, 0xFFFF).to_bytes(2), per.to_bytes(2), bytes(2)]
        file.write(_png_chunk(b"fcTL", b"".join(control)))
        for name, data in chunks:
            if name == b"IDAT" and self.count == 0:
                file.write(_png_chunk(b"IDAT", data))
            elif name == b"IDAT":
                file.write(_png_chunk(b"fdAT", self._next().to_bytes(4) + data))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _complete(self, file: BinaryIO) -> None:
        file.write(_png_chunk(b"IEND", b""))
        file.seek(self._counted_at)
        file.write(_png_chunk(b"acTL", self.count.to_bytes(4) + bytes(4)))  # 0 plays: for ever


class AnimatedWebP(_Animation):
    """A WebP that loops."""

    suffix = ".webp"
    # Of 640x360: 27 ms and 197 kB; with Pillow's defaults 1.3 s and 161 kB.
    options: ClassVar[dict[str, Any]] = {"lossless": True, "quality": 0, "method": 0}

    def _add(self, file: BinaryIO, image: Pixels, picture: bytes, duration_ms: int) -> None:
        height, width, channels = image.shape
        size = _webp_number(width - 1) + _webp_number(height - 1)
        if self.count == 0:
            flags = _ANIMATED | (_ALPHA if channels == 4 else 0)
            file.write(b"RIFF\0\0\0\0WEBP")
            file.write(_webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size))
            file.write(_webp_chunk(b"ANIM", bytes(6)))  # transparent, 0 loops: for ever
        shown = _webp_number(min(duration_ms, (1 << 24) - 1)) + bytes([_REPLACE])
        file.write(_webp_chunk(b"ANMF", bytes(6) + size + shown + picture[12:]))
        if file.tell() >= 1 << 32:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def _complete(self, file: BinaryIO) -> None:
        size = file.tell() - 8
        file.seek(4)
        file.write(size.to_bytes(4, "little"))


def _png_chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at < len(picture):
        size = int.from_bytes(picture[at : at + 4])
        yield picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        at += 12 + size


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def _webp_chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


def _webp_number(value: int) -> bytes:
    return value.to_bytes(3, "little")
