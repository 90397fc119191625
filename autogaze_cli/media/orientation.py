"""How a picture is turned for display: display matrices, which also carry what EXIF says."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import SideData, SideDataContainer, Type
from av.video.frame import VideoFrame

from autogaze_cli.media.filters import FilterChain, Filters

# The signs of a display matrix (a, b, c, d), which sends (x, y) to (ax + cy, bx + dy) with y
# downwards: the degrees it turns clockwise, and FFmpeg's filters that do it.
_ORIENTATIONS: dict[tuple[int, ...], tuple[int, Filters]] = {
    (0, 1, -1, 0): (90, [("transpose", "clock")]),
    (-1, 0, 0, -1): (180, [("hflip", ""), ("vflip", "")]),
    (0, -1, 1, 0): (270, [("transpose", "cclock")]),
    (-1, 0, 0, 1): (0, [("hflip", "")]),
    (1, 0, 0, -1): (0, [("vflip", "")]),
    (0, 1, 1, 0): (90, [("transpose", "cclock_flip")]),
    (0, -1, -1, 0): (270, [("transpose", "clock_flip")]),
}

_UNKNOWN_TYPES = sorted(set(range(64)) - {cast(int, kind.value) for kind in Type})
"""Kinds of side data that PyAV may have no name for, by number; FFmpeg 8.1 has less than 40."""


def orientation(frame: VideoFrame) -> tuple[int, Filters]:
    """Degrees clockwise, and the filters that turn ``frame`` for display."""
    data = side_data(frame, "DISPLAYMATRIX")
    if data is None:
        return 0, ()
    matrix = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]]
    # Cameras write turns by quarters; of any other the nearest quarter is taken.
    near = np.where(2 * np.abs(matrix) > np.abs(matrix).max(), np.sign(matrix), 0)
    return _ORIENTATIONS.get(tuple(near.tolist()), (0, ()))


def side_data(frame: VideoFrame, name: str) -> SideData | None:
    """What a frame carries beside its pixels under a name, whatever else it carries."""
    try:
        found = _all_side_data(frame)
    except ValueError:
        # One kind that PyAV has no name for (EXIF is such) makes all of them unreadable.
        delete = [("sidedata", f"mode=delete:type={number}") for number in _UNKNOWN_TYPES]
        base = frame.time_base or Fraction(1, 1000)
        known = FilterChain(frame, delete, time_base=base, threads=1).convert(frame)
        found = _all_side_data(known)
    data: SideData | None = found.get(name)
    return data


def _all_side_data(frame: VideoFrame) -> Any:
    # A frame keeps its ``side_data``, which refers to the frame: only the garbage collector would
    # free the two, and it does not see how much memory they have (5 GB of one GIF piled up).
    return SideDataContainer(frame)  # type: ignore[call-arg]  # which PyAV's stub leaves out
