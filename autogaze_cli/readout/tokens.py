"""Stage B, rectangles to the tokens of a picture's grid: int64 ids, in the order reached.

Source: readout spec 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.cover import covered_spans, first_cells
from autogaze_cli.readout.decode import Config
from autogaze_cli.readout.grids import SparseReadoutGrid
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.ragged import Ragged
from autogaze_cli.readout.rects import (
    fixation_points_to_readout_rects,
    generated_frame_readout_rects,
    generated_to_frame_readout_rects,
    trace_frame_readout_rects,
    trace_to_frame_readout_rects,
)
from autogaze_cli.readout.settings import READOUT_DEFAULTS, SparseReadoutOptions

Tokens = NDArray[np.int64]


def frame_rects_to_tokens(
    frame_rects: Iterable[ArrayLike], grid: SparseReadoutGrid, options: SparseReadoutOptions
) -> Ragged:
    """The tokens of several frames, one list per frame.

    Args:
        frame_rects: The rectangles of each frame, ``[n, 4]``.
        grid: Of the picture.
        options: Dilation and ``max_tokens_per_frame``.

    Raises:
        ConfigError: The grid is empty, or there are more than ``most_tokens``.
    """
    grid.require_tokens("readout grid")
    rects = Ragged.of(frame_rects, np.float32, columns=4)
    spans = covered_spans(rects.values, grid.height, grid.width, options.dilation)
    cap = options.max_tokens_per_frame
    return first_cells(spans, rects.offsets, grid.height, grid.width, cap)


def readout_rects_to_tokens(
    rects: ArrayLike, grid: SparseReadoutGrid, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Tokens:
    """The tokens that rectangles overlap, each once; not sorted.

    Args:
        rects: ``[n, 4]`` or ``SparseReadoutRect``s, used unchanged: corners are not sorted.
        grid: Of the picture.
        options: Dilation and ``max_tokens_per_frame``.

    Raises:
        ConfigError: The grid is empty.
    """
    return frame_rects_to_tokens([rects], grid, options)[0]


def fixation_points_to_readout_tokens(
    points: Fixations, grid: SparseReadoutGrid, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Tokens:
    """The tokens of the points of one frame."""
    return readout_rects_to_tokens(fixation_points_to_readout_rects(points, options), grid, options)


def trace_frame_readout_tokens(
    trace: TraceLike,
    frame: int,
    grid: SparseReadoutGrid,
    options: SparseReadoutOptions = READOUT_DEFAULTS,
) -> Tokens:
    """The tokens of one frame; none past the last frame."""
    rects = trace_frame_readout_rects(trace, frame, options)
    return readout_rects_to_tokens(rects, grid, options)


def trace_to_frame_readout_tokens(
    trace: TraceLike, grid: SparseReadoutGrid, options: SparseReadoutOptions = READOUT_DEFAULTS
) -> Ragged:
    """The tokens of each frame."""
    return frame_rects_to_tokens(trace_to_frame_readout_rects(trace, options), grid, options)


def generated_frame_readout_tokens(
    generated: Any,
    config: Config,
    batch: int,
    frame: int,
    grid: SparseReadoutGrid,
    options: SparseReadoutOptions = READOUT_DEFAULTS,
) -> Tokens:
    """The tokens of one frame of one row.

    Raises:
        ConfigError: There is no such sequence or frame, or the grid is empty.
    """
    rects = generated_frame_readout_rects(generated, config, batch, frame, options)
    return readout_rects_to_tokens(rects, grid, options)


def generated_to_frame_readout_tokens(
    generated: Any,
    config: Config,
    batch: int,
    grid: SparseReadoutGrid,
    options: SparseReadoutOptions = READOUT_DEFAULTS,
) -> Ragged:
    """The tokens of each frame of one row.

    Raises:
        ConfigError: There is no such row, or the grid is empty.
    """
    rects = generated_to_frame_readout_rects(generated, config, batch, options)
    return frame_rects_to_tokens(rects, grid, options)
