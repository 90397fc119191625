"""Stage A, points to rectangles: float32 ``[n, 4]``, columns x0, y0, x1, y1, as fractions.

Source: readout spec 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.decode import Config, decode_row, frame_points_of
from autogaze_cli.readout.points import TraceLike, points_of_frame, scaled_bounds, trace_points
from autogaze_cli.readout.ragged import Ragged
from autogaze_cli.readout.settings import READOUT_DEFAULTS, SparseReadoutOptions

Rects = NDArray[np.float32]

_LEAST_SCALE = np.float32(2**-23)


def points_to_rects(
    points: Fixations, offsets: NDArray[np.int64], options: SparseReadoutOptions
) -> Ragged:
    """The rectangles of the points of several frames, one list per frame.

    Args:
        points: Those of all frames.
        offsets: Where each frame's begin, int64 ``[frames + 1]``.
        options: Threshold, scale and ``max_fixations_per_frame``.

    A point of NaN gives no rectangle; one that gives none does not use up the cap.
    """
    threshold = np.clip(np.float32(options.confidence_threshold), 0, 1)
    scale = np.fmax(np.float32(options.fixation_scale), _LEAST_SCALE)
    rects = scaled_bounds(points, float(scale))
    keep = points.confidence.clip(0, 1) > threshold
    keep &= (rects[:, 2] > rects[:, 0]) & (rects[:, 3] > rects[:, 1])
    return Ragged(rects, offsets).select(keep).first(options.max_fixations_per_frame)


def fixation_points_to_readout_rects(
    points: Fixations, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Rects:
    """The rectangles of the points of one frame, in order, duplicates kept."""
    return points_to_rects(points, np.array([0, len(points)]), options)[0]


def trace_frame_readout_rects(
    trace: TraceLike, frame: int, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Rects:
    """The rectangles of one frame; none past the last frame."""
    return fixation_points_to_readout_rects(points_of_frame(trace, frame), options)


def trace_to_frame_readout_rects(
    trace: TraceLike, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Ragged:
    """The rectangles of each frame."""
    return points_to_rects(*trace_points(trace), options)


def generated_frame_readout_rects(
    generated: Any,
    config: Config,
    batch: int,
    frame: int,
    options: SparseReadoutOptions = READOUT_DEFAULTS,
) -> Rects:
    """The rectangles of one frame of one row.

    Raises:
        ConfigError: There is no such sequence (``batch index``) or frame (``frame index``).
    """
    return fixation_points_to_readout_rects(
        frame_points_of(generated, config, batch, frame), options
    )


def generated_to_frame_readout_rects(
    generated: Any,
    config: Config,
    batch: int,
    options: SparseReadoutOptions = READOUT_DEFAULTS,
) -> Ragged:
    """The rectangles of each frame of one row.

    Raises:
        ConfigError: There is no such sequence (``batch index``).
    """
    row = decode_row(generated, config, batch)
    return points_to_rects(row.points, row.offsets, options)
