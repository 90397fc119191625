"""Files that are a chain of parts of stated sizes: one that ends within a part was cut.

None of them says how many parts are to come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from autogaze_cli.media.matroska import MOST_PARTS
from autogaze_cli.media.ogg import OGG
from autogaze_cli.media.png_claims import PNG

_LONGEST_LINE = 1024
_CHROMA = {b"420": (2, 2), b"422": (2, 1), b"411": (4, 1), b"444": (1, 1)}
"""Columns and rows of pixels that share their colour."""

_FLV_TAGS = (8, 9, 18)
_IVF_UNKNOWN = 0xFFFFFFFF


def is_cut(file: BinaryIO, head: bytes, end: int) -> bool:
    """Whether a Y4M, FLV, PNG (or APNG), Ogg or IVF file ends within a part.

    A file of over ``MOST_PARTS`` parts, and one cut between two of them, cannot be told from a
    whole one; a PNG needs its last part, ``IEND``.

    Args:
        file: Opened for reading; anything else passes.
        head: Its first bytes.
        end: Its size.
    """
    for start, parts in _CHAINS.items():
        if head.startswith(start):
            return any(after > end for after in islice(parts(file, end), MOST_PARTS))
    return False


def _y4m_frames(file: BinaryIO, end: int) -> Iterator[int]:
    file.seek(0)
    line = file.readline(_LONGEST_LINE)
    at, size = len(line), _y4m_frame_bytes(line)
    while size and at < end:
        file.seek(at)
        line = file.readline(_LONGEST_LINE)
        if line[:5] != b"FRAME"[: len(line)] or len(line) == _LONGEST_LINE:
            return
        at += len(line) + size
        yield at


def _y4m_frame_bytes(header: bytes) -> int:
    """Of the pixels of a frame; 0 = it does not say."""
    tags = {tag[:1]: tag[1:] for tag in header.split()[1:]}
    default = b"" if b" XYSCSS=" in header else b"420"
    kind = rb"(420|422|411|444|mono)(?:jpeg|mpeg2|paldv|(alpha)|p?(9|1[0-6]))?"
    colours = re.fullmatch(kind, tags.get(b"C", default))
    width, height = (re.fullmatch(rb"\d{1,9}", tags.get(name, b"")) for name in (b"W", b"H"))
    if not (colours and width and height):
        return 0
    columns, rows = int(width[0]), int(height[0])
    size = columns * rows * (2 if colours[2] else 1)
    if colours[1] != b"mono":
        across, down = _CHROMA[colours[1]]
        size += 2 * -(-columns // across) * -(-rows // down)
    return size * (2 if colours[3] else 1)


def _flv_tags(file: BinaryIO, end: int) -> Iterator[int]:
    """Unless the size of the last tag, with which the file should end, fits to that tag."""
    file.seek(max(0, end - 4))
    size = int.from_bytes(file.read(4), "big")
    file.seek(max(0, end - 4 - size))
    tag = file.read(4)
    if tag[0] & 0x1F in _FLV_TAGS and 11 + int.from_bytes(tag[1:], "big") == size:
        return
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at + 11 <= end:
        file.seek(at)
        tag = file.read(11)
        if tag[0] & 0x1F not in _FLV_TAGS or any(tag[8:]):
            return
        at += 11 + int.from_bytes(tag[1:4], "big")
        if at == end:  # some leave out the last size
            return
        at += 4
        yield at


def _png_chunks(file: BinaryIO, end: int) -> Iterator[int]:
    at, name = 8, b""
    while name != b"IEND":
        file.seek(at)
        head = file.read(8)
        name = head[4:]
        if len(head) == 8 and not name.isalpha():
            return
        at += 12 + int.from_bytes(head[:4], "big")
        yield at


def _ogg_pages(file: BinaryIO, end: int) -> Iterator[int]:
    at = 0
    while at < end:
        file.seek(at)
        head = file.read(27)
        if head[:4] != OGG:
            return
        at += 27
        if len(head) == 27:
            at += head[26] + sum(file.read(head[26]))
        yield at


def _ivf_frames(file: BinaryIO, end: int) -> Iterator[int]:
    """At most as many as the header states, if it does: what follows them may be anything."""
    file.seek(0)
    head = file.read(32)
    at, count = int.from_bytes(head[6:8], "little"), int.from_bytes(head[24:28], "little")
    for _ in range(0 if count == _IVF_UNKNOWN else count):
        if at >= end:
            return
        file.seek(at)
        at += 12 + int.from_bytes(file.read(4), "little")
        yield at


_CHAINS: dict[bytes, Callable[[BinaryIO, int], Iterator[int]]] = {
    b"YUV4MPEG2 ": _y4m_frames,
    b"FLV\x01": _flv_tags,
    PNG: _png_chunks,
    OGG: _ogg_pages,
    b"DKIF": _ivf_frames,
}
"""How each format begins, and what tells where each of its parts ends."""
