"""How many comments an Ogg file has: FFmpeg compares each of them with all others."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from autogaze_cli.errors import InputError

OGG = b"OggS"

_COMMENTS = (b"\x81theora", b"\x03vorbis", b"OpusTags", b"OVP80\x02\x20")
"""How packets of comments begin; the length of a name and the name follow, then their number."""

_MOST_COMMENTS = 10_000
_MOST_PAGES = 2000
"""Looked at, of 64 KiB at most: comments come first, and may hold pictures."""


def require_few_comments(path: Path, file: BinaryIO) -> None:
    """Refuse a file of so many comments that reading them would take minutes.

    Args:
        path: How errors name it.
        file: Opened for reading, at any place; anything else than Ogg passes.

    Raises:
        InputError: It has them.
    """
    file.seek(0)
    streams: dict[bytes, bytearray] = {}
    for _ in range(_MOST_PAGES):
        head = file.read(27)
        if head[:4] != OGG or len(head) < 27 or head[6:14] not in (bytes(8), b"\xff" * 8):
            break  # the first frames have a time
        content = file.read(sum(file.read(head[26])))
        streams.setdefault(head[14:18], bytearray()).extend(content)
    count = max((_comments(bytes(data)) for data in streams.values()), default=0)
    if count > _MOST_COMMENTS:
        raise InputError(
            f"{path}: has {count} comments, more than {_MOST_COMMENTS}",
            hint="remove them: ffmpeg -i IN -map_metadata -1 -c copy OUT",
        )


def _comments(data: bytes) -> int:
    """The number of comments that the first packets of a stream state."""
    most = 0
    for start in _COMMENTS:
        if (at := data.find(start)) >= 0:
            at += len(start)
            at += 4 + int.from_bytes(data[at : at + 4], "little")
            most = max(most, int.from_bytes(data[at : at + 4], "little"))
    return most
