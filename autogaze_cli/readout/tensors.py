"""Coordinates as tensors, ``int64 [n, 4]``; the part of the readout that uses PyTorch.

Source: readout spec 9, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from autogaze_cli.readout.coords import (
    batched_video_readout_tokens_to_coords,
    frame_readout_rects_to_video_coords,
    frame_readout_tokens_to_video_coords,
    generated_to_video_readout_coords,
    trace_to_video_readout_coords,
    video_readout_tokens_to_coords,
)
from autogaze_cli.readout.decode import Config
from autogaze_cli.readout.grids import SparseVideoReadoutGrid
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.settings import (
    VIDEO_DEFAULTS,
    SparseVideoReadoutOptions,
    SparseVideoReadoutProjection,
)

Device = torch.device | str


def video_readout_coords_to_tensor(rows: ArrayLike, device: Device = "cpu") -> Tensor:
    """Coordinate rows as a tensor ``int64 [n, 4]``; ``n`` may be 0."""
    return torch.from_numpy(np.array(rows, np.int64).reshape(-1, 4)).to(device)


def video_readout_tokens_to_coord_tensor(
    tokens: ArrayLike,
    video_grid: SparseVideoReadoutGrid,
    batch_index: int = 0,
    device: Device = "cpu",
) -> Tensor:
    """``video_readout_tokens_to_coords`` as a tensor."""
    coords = video_readout_tokens_to_coords(tokens, video_grid, batch_index)
    return video_readout_coords_to_tensor(coords, device)


def batched_video_readout_tokens_to_coord_tensor(
    batch_tokens: Sequence[ArrayLike], video_grid: SparseVideoReadoutGrid, device: Device = "cpu"
) -> Tensor:
    """``batched_video_readout_tokens_to_coords`` as a tensor."""
    coords = batched_video_readout_tokens_to_coords(batch_tokens, video_grid)
    return video_readout_coords_to_tensor(coords, device)


def frame_readout_tokens_to_video_coord_tensor(
    frame_tokens: Iterable[ArrayLike],
    projection: SparseVideoReadoutProjection,
    batch_index: int = 0,
    device: Device = "cpu",
) -> Tensor:
    """``frame_readout_tokens_to_video_coords`` as a tensor."""
    coords = frame_readout_tokens_to_video_coords(
        frame_tokens,
        projection.image_grid,
        projection.video_grid,
        projection.video_options,
        batch_index,
    )
    return video_readout_coords_to_tensor(coords, device)


def frame_readout_rects_to_video_coord_tensor(
    frame_rects: Iterable[ArrayLike],
    video_grid: SparseVideoReadoutGrid,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    batch_index: int = 0,
    device: Device = "cpu",
) -> Tensor:
    """``frame_readout_rects_to_video_coords`` as a tensor."""
    coords = frame_readout_rects_to_video_coords(
        frame_rects, video_grid, video_options, batch_index
    )
    return video_readout_coords_to_tensor(coords, device)


def trace_to_video_readout_coord_tensor(
    trace: TraceLike,
    projection: SparseVideoReadoutProjection,
    batch_index: int = 0,
    device: Device = "cpu",
) -> Tensor:
    """``trace_to_video_readout_coords`` as a tensor."""
    coords = trace_to_video_readout_coords(
        trace,
        projection.image_grid,
        projection.video_grid,
        projection.readout_options,
        projection.video_options,
        batch_index,
    )
    return video_readout_coords_to_tensor(coords, device)


def generated_to_video_readout_coord_tensor(
    generated: Any,
    config: Config,
    batch_index: int,
    projection: SparseVideoReadoutProjection,
    device: Device = "cpu",
) -> Tensor:
    """``generated_to_video_readout_coords`` as a tensor."""
    coords = generated_to_video_readout_coords(
        generated,
        config,
        batch_index,
        projection.image_grid,
        projection.video_grid,
        projection.readout_options,
        projection.video_options,
    )
    return video_readout_coords_to_tensor(coords, device)
