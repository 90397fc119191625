"""The blocks of a GIF."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

IMAGE, EXTENSION, TRAILER = 0x2C, 0x21, 0x3B
CONTROL = 0xF9
"""The extension with the delay of the image after it."""


def gif_blocks(file: BinaryIO, most_parts: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """Kind and place of each block, to the trailer, the end of the file, or what is no block.

    Args:
        file: A GIF, opened for reading.
        most_parts: Of up to 255 bytes, that all blocks may have together.

    Raises:
        EOFError: The file ends within a block.
        OverflowError: There are more parts.
    """
    file.seek(0)
    head = _read(file, 13)
    _skip_table(file, head[10])
    while True:
        place = file.tell()
        kind = file.read(1)
        if kind not in (bytes([IMAGE]), bytes([EXTENSION]), bytes([TRAILER])):
            return
        if kind[0] == EXTENSION:
            label = _read(file, 1)[0]
            most_parts = _skip_parts(file, most_parts)
            yield (CONTROL if label == CONTROL else EXTENSION), place
            continue
        if kind[0] == IMAGE:
            _skip_table(file, _read(file, 9)[8])
            _read(file, 1)
            most_parts = _skip_parts(file, most_parts)
        yield kind[0], place
        if kind[0] == TRAILER:
            return


def _skip_table(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _read(file, 3 << (1 + (flags & 7)))


def _skip_parts(file: BinaryIO, most: int) -> int:
    """Skip the parts of a block; returns how many more there may be."""
    size = _read(file, 1)[0]
    while size:
        if most == 0:
            raise OverflowError
        most -= 1
        size = _read(file, size + 1)[-1]
    return most


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
