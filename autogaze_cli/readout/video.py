"""Stage D, the tokens or rectangles of each frame to the tokens of a clip: int64 ids, unsorted.

Source: readout spec 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.cover import Spans, covered_spans, first_cells, require_tokens_fit
from autogaze_cli.readout.decode import Config
from autogaze_cli.readout.grids import SparseReadoutGrid, SparseVideoReadoutGrid, check_whole
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.ragged import Ragged
from autogaze_cli.readout.settings import (
    READOUT_DEFAULTS,
    VIDEO_DEFAULTS,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.readout.tokens import (
    Tokens,
    generated_to_frame_readout_tokens,
    trace_to_frame_readout_tokens,
)


def frame_readout_tokens_to_video_tokens(
    frame_tokens: Iterable[ArrayLike],
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
) -> Tokens:
    """The tokens of a clip that the tokens of its frames overlap.

    Args:
        frame_tokens: Ids of ``image_grid`` for each frame; those outside it are ignored.
        image_grid: Token grid of a frame.
        video_grid: Of the clip.
        options: Tubelet size, dilation and bounds. Frames past the last bin are ignored.

    Raises:
        ConfigError: A grid is empty, the tubelet size is 0, or an id is below 0.
    """
    image_grid.require_tokens("image readout grid")
    _check(video_grid, options)
    tokens = Ragged.of(frame_tokens, np.int64)
    if tokens.values.size and tokens.values.min() < 0:
        raise ConfigError(f"frame_tokens hold {tokens.values.min()}: ids are at least 0")
    tokens = tokens.select(tokens.values < image_grid.token_count)
    spans = _token_spans(tokens.values, image_grid, video_grid, options)
    return _collect(spans, tokens.offsets, video_grid, options)


def frame_readout_rects_to_video_tokens(
    frame_rects: Iterable[ArrayLike],
    video_grid: SparseVideoReadoutGrid,
    options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
) -> Tokens:
    """The tokens of a clip that the rectangles of its frames overlap: rounded outward only once.

    Args:
        frame_rects: ``[n, 4]`` for each frame.
        video_grid: Of the clip.
        options: As in ``frame_readout_tokens_to_video_tokens``.

    Raises:
        ConfigError: The grid is empty, or the tubelet size is 0.
    """
    _check(video_grid, options)
    rects = Ragged.of(frame_rects, np.float32, columns=4)
    return _collect(_spans(rects.values, video_grid, options), rects.offsets, video_grid, options)


def trace_to_video_readout_tokens(
    trace: TraceLike,
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
) -> Tokens:
    """The tokens of a clip that a trace gazes at.

    Raises:
        ConfigError: A grid is empty, or the tubelet size is 0.
    """
    tokens = trace_to_frame_readout_tokens(trace, image_grid, readout_options)
    return frame_readout_tokens_to_video_tokens(tokens, image_grid, video_grid, video_options)


def generated_to_video_readout_tokens(
    generated: Any,
    config: Config,
    batch_index: int,
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
) -> Tokens:
    """The tokens of a clip that one sequence of a generated output gazes at.

    Raises:
        ConfigError: There is no such row, a grid is empty, or the tubelet size is 0.
    """
    tokens = generated_to_frame_readout_tokens(
        generated, config, batch_index, image_grid, readout_options
    )
    return frame_readout_tokens_to_video_tokens(tokens, image_grid, video_grid, video_options)


def evenly_spaced(length: int, keep: int) -> NDArray[np.int64]:
    """The first ids of filler: ``keep`` of ``length``, at least one. Source: readout spec 8.3.

    Examples:
        >>> evenly_spaced(16, 6).tolist()
        [0, 3, 5, 8, 10, 13]
    """
    check_whole(length=length, keep=keep)
    k = min(max(keep, 1), max(length, 1))
    i = np.arange(k)
    steps, rest = divmod(max(length - 1, 0), k)  # apart: the product may have over 64 bits
    return i if k == length else i * steps + (i * rest + k // 2) // k


def _check(grid: SparseVideoReadoutGrid, options: SparseVideoReadoutOptions) -> None:
    grid.require_tokens("video readout grid")
    if options.tubelet_size == 0:
        raise ConfigError("tubelet size must be nonzero, not 0")


def _spans(
    rects: NDArray[np.float32], grid: SparseVideoReadoutGrid, options: SparseVideoReadoutOptions
) -> Spans:
    return covered_spans(rects, grid.height, grid.width, options.dilation)


def _token_spans(
    tokens: Tokens,
    image_grid: SparseReadoutGrid,
    grid: SparseVideoReadoutGrid,
    options: SparseVideoReadoutOptions,
) -> Spans:
    """The spans of tokens of a frame: rows and columns apart, as a grid has few of either."""
    down = _spans(SparseReadoutGrid(image_grid.height, 1).token_rects(), grid, options)[:2]
    across = _spans(SparseReadoutGrid(1, image_grid.width).token_rects(), grid, options)[2:]
    spans = np.empty((4, len(tokens)), np.int32)
    row = tokens // image_grid.width
    np.take(down, row, axis=1, out=spans[:2], mode="clip")
    np.take(across, tokens - row * image_grid.width, axis=1, out=spans[2:], mode="clip")
    return spans


def _collect(
    spans: Spans,
    offsets: NDArray[np.int64],
    grid: SparseVideoReadoutGrid,
    options: SparseVideoReadoutOptions,
) -> Tokens:
    """Union the frames of each bin, cut at the cap, and fill."""
    total = grid.token_count
    cap = total if options.max_tokens is None else min(options.max_tokens, total)
    # A bin is as many frames as there are left of it: none, at the end of a short clip.
    frames = np.minimum(np.arange(grid.temporal_bins + 1) * options.tubelet_size, len(offsets) - 1)
    bins = offsets[frames]
    cells = first_cells(spans[:, : bins[-1]], bins, grid.height, grid.width, enough=cap)
    first = np.arange(grid.temporal_bins) * grid.tokens_per_temporal_bin
    tokens = (cells.values + np.repeat(first, cells.counts))[:cap]
    target = min(options.min_tokens, cap)
    if len(tokens) >= target:
        return tokens
    require_tokens_fit(target, f"min_tokens is {target}")
    spread = np.setdiff1d(evenly_spaced(total, target), tokens)
    taken = np.concatenate([tokens, spread])
    # Of so many ids enough are free, however large the grid is.
    free = np.setdiff1d(np.arange(min(total, len(taken) + target)), taken)
    filler = np.concatenate([spread, free])
    return np.concatenate([tokens, filler[: target - len(tokens)]])
