"""Colour tags: which of them the scaler takes, and what is made of the others."""

from __future__ import annotations

from typing import NamedTuple

from av.video.frame import VideoFrame

UNSPECIFIED = 2
BT709, BT2020, PQ, HLG = 1, 9, 16, 18
"""Numbers of ITU-T H.273, as FFmpeg uses them."""

LIMITED_RANGE = 1

# Y'CbCr matrices that FFmpeg's scaler has. The constant-luminance one of BT.2020 is read as the
# other, as FFmpeg 5 did; what is left is read as if nothing was said.
_MATRICES = {n: n for n in (1, 2, 4, 5, 6, 7, 9)} | {10: 9}
_LAST_MATRIX, _LAST_PRIMARIES, _LAST_TRANSFER, _LAST_RANGE = 17, 22, 18, 2
_RESERVED = (0, 3)


class Tags(NamedTuple):
    """Colour tags of a frame, numbers of ITU-T H.273."""

    matrix: int
    primaries: int
    transfer: int
    range: int


BT709_TAGS = Tags(BT709, BT709, BT709, LIMITED_RANGE)
"""What drawn videos have unless asked otherwise."""


def tags(frame: VideoFrame) -> Tags:
    """The tags that a frame has."""
    numbers = frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range
    return Tags(*map(int, numbers))


def usable(frame: VideoFrame) -> tuple[Tags, str | None]:
    """The tags by which a frame can be read, and what is wrong with its own.

    Returns:
        The tags, and words such as ``matrix 3 as unspecified`` about those that were replaced, or
        None.
    """
    own = tags(frame)
    matrix = own.matrix
    if not frame.format.is_rgb and len(frame.format.components) >= 3:
        matrix = _MATRICES.get(matrix, UNSPECIFIED)
    elif matrix > _LAST_MATRIX:
        matrix = UNSPECIFIED
    reserved = own.primaries in _RESERVED or own.primaries > _LAST_PRIMARIES
    primaries = UNSPECIFIED if reserved else own.primaries
    reserved = own.transfer in _RESERVED or own.transfer > _LAST_TRANSFER
    transfer = UNSPECIFIED if reserved else own.transfer
    taken = Tags(matrix, primaries, transfer, 0 if own.range > _LAST_RANGE else own.range)
    wrong = [
        f"{name} {number} as {'unspecified' if other in (0, UNSPECIFIED) else other}"
        for name, number, other in zip(Tags._fields, own, taken, strict=True)
        if number != other
    ]
    return taken, ", ".join(wrong) or None


def set_for_scaler(frame: VideoFrame, taken: Tags) -> None:
    """Tag a frame such that FFmpeg's scaler takes it and changes no primaries or transfer."""
    frame.colorspace, frame.color_range = taken.matrix, taken.range
    frame.color_primaries = frame.color_trc = UNSPECIFIED
