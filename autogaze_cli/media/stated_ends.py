"""Where an ASF (WMV) or MXF file states that its frames end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from autogaze_cli.media.matroska import MOST_PARTS

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1

_MXF_KEY = bytes.fromhex("060e2b34")
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
MXF = _MXF_PARTITION + b"\x02"
"""Followed by the partition's state."""

_FOOTER = 4
_CLOSED = (2, 4)


def asf_end(file: BinaryIO, end: int) -> int:
    """Where the frames of an ASF file end; 0 where it does not say, as while it is broadcast.

    Args:
        file: An ASF file.
        end: Its size.
    """
    file.seek(16)
    header = int.from_bytes(file.read(8), "little")
    size = 0
    for name, content in islice(_asf_objects(file, min(header, end)), MOST_PARTS):
        if name == _ASF_PROPERTIES and len(content) == 80:
            size = 0 if content[64] & _BROADCAST else int.from_bytes(content[16:24], "little")
    if header >= end:
        return min(size, header)
    file.seek(header)
    head = file.read(24)
    data = int.from_bytes(head[16:], "little") if head[:16] == _ASF_DATA else 0
    return min(size, header + data)


def _asf_objects(file: BinaryIO, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Name of each object of the header, and its first 80 bytes."""
    at = 30
    while at + 24 <= end:
        file.seek(at)
        head = file.read(24)
        size = int.from_bytes(head[16:], "little")
        if size < 24:
            return
        yield head[:16], file.read(80)
        at += size


def mxf_end(file: BinaryIO, end: int) -> int:
    """Where the parts of an MXF file end from its footer on; 0 where it does not say.

    Args:
        file: An MXF file without bytes before its header.
        end: Its size.
    """
    header = _mxf_part(file, 0)
    file.seek(14)
    if header is None or file.read(1)[0] not in _CLOSED:
        return 0
    file.seek(header[0] + 24)
    at = int.from_bytes(file.read(8), "big")
    if not at or at + 16 > end:
        return at and at + 16
    file.seek(at)
    if file.read(14) != _MXF_PARTITION + bytes([_FOOTER]):
        return 0
    for _ in range(MOST_PARTS):
        part = _mxf_part(file, at)
        if part is None:
            return at
        at = sum(part)
        if at >= end:
            return at
    return 0


def _mxf_part(file: BinaryIO, at: int) -> tuple[int, int] | None:
    """Where the content of a part starts, and its size; None if there is no part."""
    file.seek(at)
    head = file.read(25)
    if head[:4] != _MXF_KEY or len(head) < 17:
        return None
    if head[16] < 0x80:
        return at + 17, head[16]
    length = head[16] & 0x7F
    if length > 8:
        return None
    return at + 17 + length, int.from_bytes(head[17 : 17 + length], "big")
