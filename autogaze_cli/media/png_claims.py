"""What the chunks of a PNG unpack to: FFmpeg unpacks all of them, however much that is.

It compares the name of each text with those of all others, too.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"

MOST_STEPS = 2_000_000
"""Chunks, and KiB of unpacked texts, that are looked at."""

_MOST_TEXTS = 10_000
_MOST_UNPACKED = 64 << 20
"""Bytes of all texts and the colour profile."""

_TEXTS = (b"tEXt", b"zTXt")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_STEP = 1 << 20


def require_true_chunks(path: Path, file: BinaryIO, at: int = 0, most: int = MOST_STEPS) -> int:
    """Refuse a PNG whose chunks unpack to much more than its pixels, a profile and some texts.

    Args:
        path: How errors name it.
        file: Opened for reading, at any place; anything else than a PNG passes.
        at: Where in the file it begins.
        most: How many steps it may take to find out.

    Returns:
        How many it took.

    Raises:
        InputError: It does.
    """
    file.seek(at)
    if file.read(8) != PNG:
        return 0
    pixels = packed = unpacked = texts = chunks = 0
    while chunks + (unpacked >> 10) < most:
        chunks += 1
        head = file.read(8)
        size, name = int.from_bytes(head[:4]), head[4:]
        after = file.tell() + size + 4
        if len(head) < 8 or name == b"IEND":
            return chunks + (unpacked >> 10)
        if name == b"IHDR":
            pixels = _pixel_bytes(file.read(10))
        elif name == b"fcTL":
            packed = 0
        elif name in (b"IDAT", b"fdAT"):
            packed += size
        elif name in (b"iCCP", b"zTXt"):
            text = file.read(min(size, _MOST_UNPACKED))
            unpacked += _unpacked_bytes(text.partition(b"\0")[2][1:])
        texts += name in _TEXTS
        # Pixels that do not get smaller by packing grow by less than a thousandth.
        if unpacked > _MOST_UNPACKED or packed > 2 * pixels + _STEP or texts > _MOST_TEXTS:
            break
        file.seek(after)
    raise InputError(
        f"{path}: its chunks unpack to much more than a picture", hint="save it anew as a PNG"
    )


def _pixel_bytes(header: bytes) -> int:
    """What the pixels have before they are packed."""
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * _CHANNELS.get(header[9], 4) if len(header) == 10 else 0
    return height * (1 + width * bits // 8)


def _unpacked_bytes(data: bytes) -> int:
    """How much data unpacks to; not much more than ``_MOST_UNPACKED`` is tried."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while data and size <= _MOST_UNPACKED:
            size += len(unpacker.decompress(data, _STEP))
            data = unpacker.unconsumed_tail
    except zlib.error:
        pass
    return size
