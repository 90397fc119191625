"""Whether a file is whole, by what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from autogaze_cli.media.chains import is_cut
from autogaze_cli.media.gif_blocks import CONTROL, IMAGE, gif_blocks
from autogaze_cli.media.matroska import CUES, EBML, MOST_PARTS, parts, segment
from autogaze_cli.media.stated_ends import ASF, MXF, asf_end, mxf_end

_MP4_BOXES = frozenset(
    b"ftyp styp moov moof mdat sidx mfra free skip wide udta uuid meta pnot emsg".split()
)
_HAS_INDEX = 0x10

_MOST_GIF_PARTS = 8_000_000
"""They have 255 bytes at most, so this is 2 GB of a GIF as programs write them."""


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes at least a file lacks by what it says of itself; 0 where it does not say.

    FFmpeg takes the end of a file for the end of the video, so a copy that was cut short would
    otherwise be a shorter video. Known are MP4 (and MOV), Matroska (and WebM), AVI, WebP, ASF (and
    WMV) and MXF, and those which do not say how much is to come, of which 1 is missing: GIF, PNG
    (and APNG), Y4M, FLV, Ogg and IVF. A wrong size of data that is whole does no harm. A file of
    over ``MOST_PARTS`` parts is taken for one that does not say.

    Args:
        file: Opened for reading, at any place.
    """
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(64)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return _riff_missing(file, head, end)
    if head[:4] == b"GIF8":
        return _gif_missing(file)
    if head[:4] == EBML:
        return _matroska_missing(file, end)
    if head[:16] == ASF:
        return max(0, asf_end(file, end) - end)
    if head[:14] == MXF:
        return max(0, mxf_end(file, end) - end)
    if is_cut(file, head, end):
        return 1
    return max(0, _mp4_end(file, end) - end)


def _gif_missing(file: BinaryIO) -> int:
    """1 if a GIF ends within a frame: browsers need no trailer, and ignore what follows it."""
    last = images = 0
    try:
        for kind, _ in gif_blocks(file, _MOST_GIF_PARTS):
            last = kind
            images += kind == IMAGE
    except EOFError:
        return 1
    except OverflowError:
        return 0
    return 0 if images and last != CONTROL else 1


def _riff_missing(file: BinaryIO, head: bytes, end: int) -> int:
    """By the size of the whole, unless all of its parts are there."""
    missing = 8 + int.from_bytes(head[4:8], "little") - end
    if missing <= 0:
        return 0
    names = []
    for name, after in islice(_chunks(file, 12, end), MOST_PARTS):
        if after > end:
            return missing
        names.append(name)
    if len(names) == MOST_PARTS:
        return 0
    if head[8:12] == b"WEBP":
        return missing if b"ANIM" in names or not names else 0
    file.seek(24)
    header = file.read(24)  # "avih", its size, and the flags as its fourth number
    flags = int.from_bytes(header[20:24], "little") if header[:4] == b"avih" else _HAS_INDEX
    return 0 if names and (b"idx1" in names or not flags & _HAS_INDEX) else missing


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Name of each chunk, and where it ends but for a byte of padding."""
    while at + 8 <= end:
        file.seek(at)
        header = file.read(8)
        size = int.from_bytes(header[4:], "little")
        yield header[:4], at + 8 + size
        at += 8 + size + size % 2


def _matroska_missing(file: BinaryIO, end: int) -> int:
    """By the size of the segment, unless all of its parts and an index are there."""
    at, size = segment(file) or (0, None)
    missing = 0 if size is None else at + size - end
    if missing <= 0:
        return 0
    count, cues = 0, False
    for name, start, part in parts(file, at, end):
        if part is None:
            return missing
        count, cues = count + 1, cues or name == CUES
        at = start + part
    return 0 if count == MOST_PARTS or (cues and at == end) else missing


def _mp4_end(file: BinaryIO, end: int) -> int:
    """Where the boxes of an MP4 end, as far as they can be followed."""
    return max((after for _, after in _mp4_boxes(file, end)), default=0)


def ends_in_media(file: BinaryIO) -> bool:
    """Whether the last box of an MP4 is the one with the frames, after their index."""
    names = [name for name, _ in _mp4_boxes(file, file.seek(0, 2))]
    return names[-1:] == [b"mdat"] and b"moov" in names


def _mp4_boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Name of each box of an MP4, and where it ends."""
    at = 0
    for _ in range(MOST_PARTS):
        if at + 8 > end:
            return
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if header[4:8] not in _MP4_BOXES or size < 8:  # a size of 0 stands for "until the end"
            return
        at += size
        yield header[4:8], at
