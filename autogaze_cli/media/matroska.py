"""The parts of a Matroska file, and how much is in them besides frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError

EBML, CUES = b"\x1a\x45\xdf\xa3", b"\x1c\x53\xbb\x6b"
_SEGMENT = b"\x18\x53\x80\x67"
_TAGS, _CHAPTERS = b"\x12\x54\xc3\x67", b"\x10\x43\xa7\x70"

MOST_PARTS = 1_000_000
"""Looked at: millions of empty ones would take minutes."""

_MOST_TAG_BYTES = 1 << 20
"""FFmpeg compares each tag, and each chapter, with all others: a megabyte takes seconds."""


def segment(file: BinaryIO) -> tuple[int, int | None] | None:
    """Where the content of the segment starts, and its size, None = until the end; None = none."""
    file.seek(0)
    head = file.read(16)
    if head[:4] != EBML:
        return None
    start, size = _size(head, 4)
    at = start + (size or 0)
    file.seek(at)
    head = file.read(12)
    start, size = _size(head, 4)
    return (at + start, size) if head[:4] == _SEGMENT else None


def parts(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int | None]]:
    """ID, place of the content and size of what is in a segment, up to a part of unknown size.

    Args:
        file: A Matroska file, opened for reading.
        at: Where the content of the segment starts.
        end: Where it ends.
    """
    for _ in range(MOST_PARTS):
        if at >= end:
            return
        file.seek(at)
        head = file.read(12)
        length = 9 - head[0].bit_length()
        start, size = _size(head, length)
        yield head[:length], at + start, size
        if size is None:
            return
        at += start + size


def require_few_tags(path: Path, file: BinaryIO) -> None:
    """Refuse a file of so many tags and chapters that reading them would take minutes.

    Args:
        path: How errors name it.
        file: Opened for reading, at any place; anything else than Matroska passes.

    Raises:
        InputError: It has them.
    """
    found = segment(file)
    if found is None:
        return
    end = file.seek(0, 2)
    found_parts = parts(file, found[0], end)
    size = sum(size or 0 for name, _, size in found_parts if name in (_TAGS, _CHAPTERS))
    if size > _MOST_TAG_BYTES:
        raise InputError(
            f"{path}: has {size} bytes of tags and chapters, more than {_MOST_TAG_BYTES}",
            hint="remove them: ffmpeg -i IN -map_metadata -1 -map_chapters -1 -c copy OUT",
        )


def _size(data: bytes, at: int) -> tuple[int, int | None]:
    """Where the content of an element begins, and its size: None = until the end.

    Args:
        data: Bytes that hold the element's size.
        at: Where in them its size is.
    """
    length = 9 - data[at].bit_length() if at < len(data) else 9
    digits = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, None if digits == (1 << 7 * length) - 1 else digits
