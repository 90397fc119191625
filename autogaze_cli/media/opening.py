"""Opening a video: what there is at a path, and whether it is all there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError
from autogaze_cli.media.sources import ContainerSource, Source, WebPSource

_PATTERN = re.compile(r"%0?(\d*)d")
_MP4_BOXES = frozenset(
    b"ftyp styp moov moof mdat sidx mfra free skip wide udta uuid meta pnot emsg".split()
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def open_source(path: Path, *, threads: int | None = None) -> Source:
    """Open a video, an image, or an image pattern such as ``frame_%04d.png``.

    Args:
        path: The file, or the pattern.
        threads: Decoder threads; None = FFmpeg's own choice.

    Raises:
        InputError: When there is nothing to read at ``path``, or not all of it.
    """
    numbers = _pattern_numbers(path)
    if numbers:
        options = {"start_number": str(numbers[0])}
        return ContainerSource(path, options, threads=threads, count=len(numbers))
    if not path.exists():
        raise InputError(f"{path}: no such file", hint="check the spelling")
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, not a video",
            hint=f"for numbered images give a pattern: {path / 'frame_%04d.png'}",
        )
    try:
        with path.open("rb") as file:
            head = file.read(64)
            missing = missing_bytes(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    again = "copy or download it again"
    if not head:
        raise InputError(f"{path}: is empty", hint=again)
    if missing:
        size = "1 byte" if missing == 1 else f"{missing} bytes"
        raise InputError(f"{path}: truncated: {size} missing", hint=again)
    # FFmpeg's WebP decoder reads only still pictures.
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2:
        return WebPSource(path)
    return ContainerSource(path, {}, threads=threads)


def _pattern_numbers(path: Path) -> list[int]:
    """The numbers, without a gap, of the files that an image pattern stands for."""
    pattern = _PATTERN.search(path.name)
    if path.exists() or not pattern or not path.parent.is_dir():
        return []
    before, after = path.name[: pattern.start()], path.name[pattern.end() :]
    digits = rf"\d{{{pattern[1]},}}" if pattern[1] else r"\d+"
    name = re.compile(re.escape(before) + f"({digits})" + re.escape(after))
    found = {int(m[1]) for entry in path.parent.iterdir() if (m := name.fullmatch(entry.name))}
    if not found:
        raise InputError(f"{path}: no file matches this pattern")
    first = min(found)
    last = next(n for n in range(first, first + len(found) + 1) if n not in found)
    return list(range(first, last))


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes a file lacks by what it says of itself; 0 where it does not say.

    FFmpeg takes the end of a file for the end of the video, so a copy that was cut short would
    otherwise be a shorter video. Known are MP4 (and MOV), Matroska (and WebM), AVI, WebP and GIF,
    of which only the last byte is known.

    Args:
        file: Opened for reading, at any place.
    """
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(64)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return max(0, 8 + int.from_bytes(head[4:8], "little") - end)
    if head[:4] == b"GIF8":
        file.seek(max(0, end - 64))
        return 0 if file.read().rstrip(b"\0").endswith(b";") else 1
    if head[:4] == _EBML:
        start, size = _element(head, 4)
        file.seek(start + (size or 0))
        segment = file.read(12)
        start, size = _element(segment, 4)
        whole = file.tell() - len(segment) + start + (size or 0)
        return max(0, whole - end) if segment[:4] == _SEGMENT and size is not None else 0
    return max(0, _mp4_end(file, end) - end)


def _element(data: bytes, at: int) -> tuple[int, int | None]:
    """Where the content of a Matroska element begins, and its size: None = until the end.

    Args:
        data: Bytes that hold the element's size.
        at: Where in them its size is.
    """
    length = 9 - data[at].bit_length() if at < len(data) else 9
    digits = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, None if digits == (1 << 7 * length) - 1 else digits


def _mp4_end(file: BinaryIO, end: int) -> int:
    """Where the boxes of an MP4 end, as far as they can be followed."""
    at = 0
    while at + 8 <= end:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if header[4:8] not in _MP4_BOXES or size < 8:  # a size of 0 stands for "until the end"
            break
        at += size
    return at
