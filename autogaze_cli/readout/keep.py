"""What a vision tower that drops tokens needs: which of its merged tokens to keep.

Such a tower merges ``merge`` x ``merge`` neighbouring patches into one token for the language
model. A group is kept whole, and is kept when anything in it is gazed at. Source: sources spec 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.coords import video_readout_tokens_to_coords
from autogaze_cli.readout.grids import SparseReadoutGrid, SparseVideoReadoutGrid, check_whole
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.settings import (
    READOUT_DEFAULTS,
    VIDEO_DEFAULTS,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.readout.tokens import trace_to_frame_readout_tokens
from autogaze_cli.readout.video import frame_readout_tokens_to_video_tokens


@dataclass(frozen=True, slots=True, eq=False)
class KeepIndices:
    """Which groups of patches to keep.

    Attributes:
        indices: Ascending, int64 ``[k]``: ``t * N + n``, with ``N`` groups per temporal position.
        grid_thw: Temporal positions, and rows and columns of patches before merging, int64 ``[3]``.
        mrope: Temporal position, row and column of each group, int64 ``[k, 3]``.
    """

    indices: NDArray[np.int64]
    grid_thw: NDArray[np.int64]
    mrope: NDArray[np.int64]

    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """The attributes, in their order."""
        return self.indices, self.grid_thw, self.mrope


def keep_indices(
    trace: TraceLike,
    image_grid: SparseReadoutGrid,
    video_grid: SparseVideoReadoutGrid,
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    merge: int = 1,
) -> KeepIndices:
    """The groups of a clip that a trace gazes at.

    Args:
        trace: The gaze.
        image_grid: Token grid of a frame.
        video_grid: Of the clip's patches, before merging.
        readout_options: How points become tokens of a frame.
        video_options: Tubelets, by union; ``min_tokens`` and ``max_tokens`` count groups, so that
            equal ones give exactly that many.
        merge: Patches on each side of a group; 2 for Qwen's towers.

    Raises:
        ConfigError: A grid is empty, the tubelet size is 0, or groups do not divide the grid.
    """
    frames = trace_to_frame_readout_tokens(trace, image_grid, readout_options)
    groups = merged_grid(video_grid, merge)
    found = frame_readout_tokens_to_video_tokens(frames, image_grid, groups, video_options)
    return keep_of_groups(found, video_grid, merge)


def keep_of_groups(
    found: NDArray[np.int64], video_grid: SparseVideoReadoutGrid, merge: int
) -> KeepIndices:
    """As ``keep_indices``, from the groups that are gazed at, ids of ``merged_grid``."""
    groups, indices = merged_grid(video_grid, merge), np.sort(found)
    return KeepIndices(
        indices=indices,
        grid_thw=np.array([video_grid.temporal_bins, video_grid.height, video_grid.width]),
        mrope=video_readout_tokens_to_coords(indices, groups)[:, 1:],
    )


def merged_grid(grid: SparseVideoReadoutGrid, merge: int) -> SparseVideoReadoutGrid:
    """The grid of groups of ``merge`` x ``merge`` patches.

    Raises:
        ConfigError: They do not divide it.
    """
    check_whole(merge=merge)
    if merge < 1 or grid.height % merge or grid.width % merge:
        raise ConfigError(
            f"groups of {merge} x {merge} patches do not divide a grid of {grid.height} x "
            f"{grid.width}",
            hint="choose another --merge, or another --clip-height and --clip-width",
        )
    return SparseVideoReadoutGrid(grid.temporal_bins, grid.height // merge, grid.width // merge)
