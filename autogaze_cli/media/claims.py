"""How many frames the index of an MP4 claims, for which FFmpeg would allocate memory at once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError
from autogaze_cli.media.limits import Limits

_CONTAINERS = frozenset(b"moov trak mdia minf stbl moof traf mvex edts udta wave dinf tref".split())
_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Boxes that count samples, and where their content has that number, of 32 bits."""

_MAX_DEPTH = 16
_MOST_EDITS = 10_000
_MOST_EDITED = 30_000_000
"""Edits times samples: FFmpeg makes an index of each edit's samples."""

_CONVERT = "convert it with FFmpeg"
_MOST_BOXES = 3_000_000
"""Looked at; a day of fragments of one second has 600,000."""

_IN_MEMORY_BYTES = 64 << 20
"""Up to which an index is read at once: a recording may have one for every second."""


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
    samples = frames = edits = own = 0
    sound = False
    for number, (name, content) in enumerate(_boxes(file, end, 0)):
        if number == _MOST_BOXES:
            raise InputError(f"{path}: consists of more than {_MOST_BOXES} boxes", hint=_CONVERT)
        if name == b"cmov":
            raise InputError(f"{path}: its index is compressed", hint=_CONVERT)
        if name == b"hdlr":
            kind = content[8:12]  # or that of the data, which does not matter here
            sound = kind == b"soun" or (sound and kind != b"vide")
        if name == b"trak":
            edits = own = 0
        if name == b"elst":
            edits = int.from_bytes(content[4:8])
        if name in _COUNTS:
            count = int.from_bytes(content[_COUNTS[name] :][:4])
            own, samples, frames = own + count, samples + count, frames + count * (not sound)
        if edits > _MOST_EDITS or (edits > 2 and edits * own > _MOST_EDITED):
            raise InputError(f"{path}: a stream has {edits} edits", hint=_CONVERT)
        if samples > end:  # each has at least a byte, of its own or in the index
            raise InputError(
                f"{path}: its index claims {samples} samples, and the file has {end} bytes",
                hint="it is damaged, or made to exhaust memory",
            )
        limits.require(path, "frames", frames, f"an index of {frames} frames")


def _boxes(file: BinaryIO, end: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
    """Name of each box up to ``end``, those within others included, and how its content begins."""
    at = file.tell() if depth else file.seek(0)
    while at + 8 <= end:
        file.seek(at)
        head = file.read(28)
        size, name, content = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, content = int.from_bytes(head[8:16]), 16
        box_end = end if size == 0 else min(end, at + size)
        if box_end < at + content:
            return
        yield name, head[content : content + 12]
        if name in _CONTAINERS and depth < _MAX_DEPTH:
            file.seek(at + content)
            if depth or box_end - at > _IN_MEMORY_BYTES:
                yield from _boxes(file, box_end, depth + 1)
            else:
                data = file.read(box_end - at - content)
                yield from _boxes(io.BytesIO(data), len(data), depth + 1)
        at = box_end
