"""The parts of a Matroska file, and how much is in them besides frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError

EBML, CUES = b"\x1a\x45\xdf\xa3", b"\x1c\x53\xbb\x6b"
_SEGMENT = b"\x18\x53\x80\x67"
_TAGS, _CHAPTERS, _TRACKS = b"\x12\x54\xc3\x67", b"\x10\x43\xa7\x70", b"\x16\x54\xae\x6b"
_TRACK, _CODEC, _PRIVATE, _ENCODINGS = b"\xae", b"\x86", b"\x63\xa2", b"\x6d\x80"

_MOST_BEFORE = 16
"""Elements before the segment, of which one that is void may be long."""

MOST_PARTS = 1_000_000
"""Looked at: millions of empty ones would take minutes."""

_MOST_TRACK_BYTES = 1 << 24
_MOST_TAG_BYTES = 1 << 20
"""FFmpeg compares each tag, and each chapter, with all others: a megabyte takes seconds."""


def segment(file: BinaryIO) -> tuple[int, int | None] | None:
    """Where the content of the segment starts, and its size, None = until the end; None = none."""
    at = 0
    for _ in range(_MOST_BEFORE):
        file.seek(at)
        head = file.read(16)
        if not head or (at == 0 and head[:4] != EBML):
            return None
        length = 9 - head[0].bit_length()
        start, size = _size(head, length)
        if head[:length] == _SEGMENT:
            return at + start, size
        at += start + (size or 0)
    return None


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


def require_true_parts(path: Path, file: BinaryIO) -> None:
    """Refuse what FFmpeg would take minutes or gigabytes to read besides frames.

    That is many tags and chapters, and a track of PNG pictures that the container compresses, or
    takes the beginnings of: what they unpack to cannot be seen then, see ``png_claims``, and no
    common program writes this.

    Args:
        path: How errors name it.
        file: Opened for reading, at any place; anything else than Matroska passes.

    Raises:
        InputError: It has them.
    """
    found = segment(file)
    end, tags = file.seek(0, 2), 0
    for name, at, size in parts(file, found[0], end) if found else ():
        if name in (_TAGS, _CHAPTERS):
            tags += size or 0
        elif name == _TRACKS and size is not None:
            file.seek(at)
            _require_plain_pictures(path, file.read(min(size, _MOST_TRACK_BYTES)))
    if tags > _MOST_TAG_BYTES:
        raise InputError(
            f"{path}: has {tags} bytes of tags and chapters, more than {_MOST_TAG_BYTES}",
            hint="remove them: ffmpeg -i IN -map_metadata -1 -map_chapters -1 -c copy OUT",
        )


def _require_plain_pictures(path: Path, tracks: bytes) -> None:
    for kind, track in _elements(tracks):
        inner = dict(_elements(track)) if kind == _TRACK else {}
        codec = inner.get(_CODEC, b"") + inner.get(_PRIVATE, b"")[:64]
        if _ENCODINGS in inner and b"PNG" in codec.upper():
            raise InputError(
                f"{path}: its pictures are compressed twice",
                hint="write it again: ffmpeg -i IN -c copy OUT",
            )


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """ID and content of each element in a row; what is cut ends with the data."""
    at = 0
    while at < len(data):
        length = 9 - data[at].bit_length()
        start, size = _size(data, at + length)
        end = len(data) if size is None else start + size
        yield data[at : at + length], data[start:end]
        at = end


def _size(data: bytes, at: int) -> tuple[int, int | None]:
    """Where the content of an element begins, and its size: None = until the end.

    Args:
        data: Bytes that hold the element's size.
        at: Where in them its size is.
    """
    length = 9 - data[at].bit_length() if at < len(data) else 9
    digits = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, None if digits == (1 << 7 * length) - 1 else digits
