"""Stage E, tokens of a clip to coordinates: int64 ``[n, 4]``, columns batch, temporal, row, col.

Source: readout spec 9, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.decode import Config
from autogaze_cli.readout.grids import SparseReadoutGrid, SparseVideoReadoutGrid
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.ragged import whole_numbers
from autogaze_cli.readout.settings import (
    READOUT_DEFAULTS,
    VIDEO_DEFAULTS,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.readout.video import (
    frame_readout_rects_to_video_tokens,
    frame_readout_tokens_to_video_tokens,
    generated_to_video_readout_tokens,
    trace_to_video_readout_tokens,
)

Coords = NDArray[np.int64]

BATCHES = 2**32


def video_readout_tokens_to_coords(
    tokens: ArrayLike, video_grid: SparseVideoReadoutGrid, batch_index: int = 0
) -> Coords:
    """The coordinates of tokens, in their order, duplicates kept.

    Args:
        tokens: Ids of ``video_grid``.
        video_grid: Of the clip.
        batch_index: Value of the first column.

    Raises:
        ConfigError: The grid is empty, the batch index does not fit 32 bits, or an id is outside.
    """
    video_grid.require_tokens("video readout grid")
    if not 0 <= batch_index < BATCHES:
        raise ConfigError(f"batch index {batch_index} must be at least 0 and below {BATCHES}")
    ids = whole_numbers(tokens, "tokens")
    outside = (ids < 0) | (ids >= video_grid.token_count)
    if outside.any():
        sizes = f"{video_grid.temporal_bins} x {video_grid.height} x {video_grid.width}"
        raise ConfigError(
            f"token {ids[outside.argmax()]} is outside grid {sizes}, "
            f"whose tokens are 0 to {video_grid.token_count - 1}"
        )
    coords = np.empty((len(ids), 4), np.int64)
    batch, temporal, row, col = coords.T
    batch[:] = batch_index
    np.divmod(ids, video_grid.tokens_per_temporal_bin, out=(temporal, col))
    np.divmod(col, video_grid.width, out=(row, col))
    return coords


def batched_video_readout_tokens_to_coords(
    batch_tokens: Sequence[ArrayLike], video_grid: SparseVideoReadoutGrid
) -> Coords:
    """The coordinates of the tokens of several clips, clip after clip.

    Args:
        batch_tokens: For each clip its tokens; the position is the batch index.
        video_grid: Of every clip.

    Raises:
        ConfigError: See ``video_readout_tokens_to_coords``; no clip, no check.
    """
    rows = [
        video_readout_tokens_to_coords(tokens, video_grid, batch)
        for batch, tokens in enumerate(batch_tokens)
    ]
    return np.concatenate([np.empty((0, 4), np.int64), *rows])


def frame_readout_tokens_to_video_coords(
    frame_tokens: Iterable[ArrayLike],
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    batch_index: int = 0,
) -> Coords:
    """The coordinates of ``frame_readout_tokens_to_video_tokens``."""
    tokens = frame_readout_tokens_to_video_tokens(
        frame_tokens, image_grid, video_grid, video_options
    )
    return video_readout_tokens_to_coords(tokens, video_grid, batch_index)


def frame_readout_rects_to_video_coords(
    frame_rects: Iterable[ArrayLike],
    video_grid: SparseVideoReadoutGrid,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    batch_index: int = 0,
) -> Coords:
    """The coordinates of ``frame_readout_rects_to_video_tokens``."""
    tokens = frame_readout_rects_to_video_tokens(frame_rects, video_grid, video_options)
    return video_readout_tokens_to_coords(tokens, video_grid, batch_index)


def trace_to_video_readout_coords(
    trace: TraceLike,
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    batch_index: int = 0,
) -> Coords:
    """The coordinates of ``trace_to_video_readout_tokens``; ``batch_index`` is only a label."""
    tokens = trace_to_video_readout_tokens(
        trace, image_grid, video_grid, readout_options, video_options
    )
    return video_readout_tokens_to_coords(tokens, video_grid, batch_index)


def generated_to_video_readout_coords(
    generated: Any,
    config: Config,
    batch_index: int,
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
) -> Coords:
    """The coordinates of ``generated_to_video_readout_tokens``.

    ``batch_index`` selects the sequence, and is the value of the first column.
    """
    tokens = generated_to_video_readout_tokens(
        generated, config, batch_index, image_grid, video_grid, readout_options, video_options
    )
    return video_readout_tokens_to_coords(tokens, video_grid, batch_index)
