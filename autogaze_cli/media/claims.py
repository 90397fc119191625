"""How many frames the index of an MP4 claims, for which FFmpeg would allocate memory at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError
from autogaze_cli.media.limits import Limits

_CONTAINERS = frozenset(b"moov trak mdia minf stbl moof traf mvex edts udta wave dinf tref".split())
_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Boxes that count samples, and where their content has that number, of 32 bits."""

_MAX_DEPTH = 16


def require_true_claims(path: Path, file: BinaryIO, limits: Limits) -> None:
    """Refuse an MP4 whose index claims more samples than there can be in it.

    Args:
        path: How errors name it.
        file: Opened for reading, at any place; anything else than an MP4 passes.
        limits: Of which ``frames`` holds for all streams but those of sound.

    Raises:
        InputError: It does.
    """
    end = file.seek(0, 2)
    samples = frames = 0
    sound = False
    for name, place in _boxes(file, 0, end, 0):
        if name == b"cmov":
            raise InputError(f"{path}: its index is compressed", hint="convert it with FFmpeg")
        if name == b"hdlr":
            file.seek(place + 8)
            kind = file.read(4)  # or that of the data, which does not matter here
            sound = kind == b"soun" or (sound and kind != b"vide")
        if name not in _COUNTS:
            continue
        file.seek(place + _COUNTS[name])
        count = int.from_bytes(file.read(4))
        samples, frames = samples + count, frames + count * (not sound)
        if samples > end:  # each has at least a byte, of its own or in the index
            raise InputError(
                f"{path}: its index claims {samples} samples, and the file has {end} bytes",
                hint="it is damaged, or made to exhaust memory",
            )
        limits.require(path, "frames", frames, f"an index of {frames} frames")


def _boxes(file: BinaryIO, at: int, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    """Name of each box, those within others included, and where its content starts."""
    while at + 8 <= end:
        file.seek(at)
        header = file.read(16)
        (size,) = struct.unpack(">I", header[:4])
        content = at + 8
        if size == 1:
            size, content = int.from_bytes(header[8:]), at + 16
        box_end = end if size == 0 else min(end, at + size)
        if box_end < content:
            return
        name = header[4:8]
        yield name, content
        if name in _CONTAINERS and depth < _MAX_DEPTH:
            yield from _boxes(file, content, box_end, depth + 1)
        at = box_end
