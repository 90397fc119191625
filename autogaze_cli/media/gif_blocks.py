"""The blocks of a GIF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

IMAGE, EXTENSION, TRAILER = 0x2C, 0x21, 0x3B
CONTROL = 0xF9
"""The extension with the delay of the image after it."""


def gif_blocks(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Kind and place of each block, to the trailer, the end of the file, or what is no block.

    Args:
        file: A GIF, opened for reading.

    Raises:
        EOFError: The file ends within a block.
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
            _skip_parts(file)
            yield (CONTROL if label == CONTROL else EXTENSION), place
            continue
        if kind[0] == IMAGE:
            _skip_table(file, _read(file, 9)[8])
            _read(file, 1)
            _skip_parts(file)
        yield kind[0], place
        if kind[0] == TRAILER:
            return


def _skip_table(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _read(file, 3 << (1 + (flags & 7)))


def _skip_parts(file: BinaryIO) -> None:
    while size := _read(file, 1)[0]:
        _read(file, size)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
