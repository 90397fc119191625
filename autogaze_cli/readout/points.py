"""Gazed points, frame by frame: the input of the readout, whatever its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.grids import check_whole
from autogaze_cli.readout.ragged import offsets_of
from autogaze_cli.trace import FrameTrace, Trace

_SMALLEST = np.float32(1e-6)
_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, eq=False)
class FixationSet:
    """The points of one frame.

    Attributes:
        fixations: The points, in order; those of confidence 0 are placeholders.
        stop_probability: 0..1.

    Source: readout spec 3.2.
    """

    fixations: Fixations
    stop_probability: float

    @classmethod
    def new(cls, fixations: Fixations, stop_probability: float, k: int) -> Self:
        """Exactly ``max(k, 1)`` points: the first ones, then placeholders."""
        check_whole(k=k)
        return cls.with_min_len(fixations.select(slice(max(k, 1))), stop_probability, k)

    @classmethod
    def with_min_len(cls, fixations: Fixations, stop_probability: float, m: int) -> Self:
        """At least ``max(m, 1)`` points: all of them, then placeholders."""
        check_whole(m=m)
        missing = max(0, max(m, 1) - len(fixations))
        centre, extent = np.full(missing, 0.5), np.full(missing, 0.25)
        columns = {"x": centre, "y": centre, "width": extent, "height": extent}
        columns |= {"confidence": np.zeros(missing), "slot": len(fixations) + np.arange(missing)}
        padded = Fixations.concatenate([fixations, Fixations.from_columns(columns)])
        return cls(padded, float(np.clip(stop_probability, 0, 1)))


TraceLike = Trace | Sequence[Fixations] | Sequence[FixationSet] | Sequence[FrameTrace]
"""A trace, or the points of each frame in order."""


def trace_points(trace: TraceLike) -> tuple[Fixations, NDArray[np.int64]]:
    """The points of all frames, and the offset of each frame, int64 ``[frames + 1]``."""
    if isinstance(trace, Trace):
        return trace.fixations, trace.offsets
    frames = [frame_points(frame) for frame in trace]
    return Fixations.concatenate(frames), offsets_of([len(points) for points in frames])


def frame_points(frame: Fixations | FixationSet | FrameTrace) -> Fixations:
    """The points of one frame."""
    return frame if isinstance(frame, Fixations) else frame.fixations


def points_of_frame(trace: TraceLike, frame: int) -> Fixations:
    """The points of the ``frame``-th frame, none past the last.

    Raises:
        ConfigError: ``frame`` is below 0.
    """
    check_whole(frame=frame)
    if frame >= len(trace):
        return Fixations.empty()
    return trace.frame(frame).fixations if isinstance(trace, Trace) else frame_points(trace[frame])


def scaled_bounds(points: Fixations, scale: float = 1.0) -> NDArray[np.float32]:
    """The rectangle of each point, its extent multiplied by ``scale``, clipped to the frame.

    Half the extent is at most 0.5, however large the scale. Points that were made elsewhere are
    clamped as their constructor would have done it.

    Args:
        points: ``n`` points.
        scale: At least 1e-6 counts.

    Returns:
        float32 ``[n, 4]``, columns x0, y0, x1, y1.

    Source: readout spec 3.1, each operation rounded to float32.
    """
    factor = np.fmax(np.float32(scale), _SMALLEST)
    sides = []
    for centre, extent in ((points.x, points.width), (points.y, points.height)):
        middle = centre.clip(0, 1)
        with np.errstate(over="ignore"):
            half = (extent.clip(_SMALLEST, 1) * factor * _HALF).clip(0, _HALF)
        sides.append(((middle - half).clip(0, 1), (middle + half).clip(0, 1)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=1)
