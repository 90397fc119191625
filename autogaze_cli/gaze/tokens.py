"""Token ids and the cells that they identify.

A frame's ids enumerate the scales, coarsest first, and the cells of each scale's square grid in
row-major order. For the published model::

    ids 0..3    grid 2 x 2        ids 20..68    grid 7 x 7
    ids 4..19   grid 4 x 4        ids 69..264   grid 14 x 14

so id 69 is the top left cell of the 14 x 14 grid. ``ScaleLayout.cells`` implements this rule. Two
more rules apply:

* in a clip, the ids of frame ``t`` start at ``num_tokens * t`` (``local_ids``, ``global_ids``);
* a padded position holds the frame's last id plus one, which is also the *next* frame's first id:
  only the padding flag distinguishes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations

_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleLayout:
    """The distribution of one frame's ids over the scales.

    Attributes:
        scales: Side of each scale's image in pixels, ascending.
        grids: Cells per side of each scale.
        counts: Ids per scale; ``grid ** 2``, unless the checkpoint's numbers are inconsistent.
    """

    scales: tuple[int, ...]
    grids: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def from_config(
        cls, scales: str | int | Sequence[int], num_tokens: int, patch: int
    ) -> ScaleLayout:
        """The layout described by a checkpoint's configuration.

        Args:
            scales: ``"32+64+112+224"``, one number, or a sequence of numbers; sorted here.
            num_tokens: Ids per frame, ``num_vision_tokens_each_frame``.
            patch: Side of a patch in pixels, ``kernel_size``.

        Raises:
            ConfigError: A scale is not a whole number above 0.

        Source: inference spec 1.1, 1.2.

        >>> ScaleLayout.from_config("32+64+112+224", 265, 16).grids
        (2, 4, 7, 14)
        """
        return cls.in_order(parse_scales(scales), num_tokens, patch)

    @staticmethod
    def count_ids(scales: str | int | Sequence[int], patch: int) -> int:
        """Ids per frame if every scale is a whole square grid of patches.

        Args:
            scales: As for ``from_config``.
            patch: Side of a patch in pixels.

        Raises:
            ConfigError: A scale is not a whole number above 0.

        >>> ScaleLayout.count_ids("32+64+112+224", 16)
        265
        """
        return sum(max(1, side // patch) ** 2 for side in parse_scales(scales))

    @classmethod
    def in_order(cls, sides: Sequence[int], num_tokens: int, patch: int) -> ScaleLayout:
        """The layout of scales in the order given; without scales, one square grid of all ids.

        Args:
            sides: Side of each scale's image in pixels.
            num_tokens: Ids per frame.
            patch: Side of a patch in pixels, at least 1.

        Source: inference spec 1.2; readout spec 5.1.
        """
        grids = [max(1, side // patch) for side in sides]
        counts = [grid**2 for grid in grids]
        if not sides or sum(counts) != num_tokens:
            # In proportion to the area; the last scale takes the remainder of rounding.
            area = sum(side**2 for side in sides) or 1
            counts = [int(side**2 / area * num_tokens) for side in sides[:-1]]
            counts.append(max(0 if sides else 1, num_tokens - sum(counts)))
            grids = [max(1, round(max(count, 1) ** 0.5)) for count in counts]
        return cls(scales=tuple(sides), grids=tuple(grids), counts=tuple(counts))

    @property
    def num_tokens(self) -> int:
        """Ids per frame; also the id of padding."""
        return sum(self.counts)

    @property
    def offsets(self) -> tuple[int, ...]:
        """First id of each scale."""
        return tuple(accumulate(self.counts[:-1], initial=0))

    def scale_of(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Index of the scale of each id within a frame; ids must be 0..num_tokens-1."""
        return np.searchsorted(np.cumsum(self.counts), np.asarray(ids), side="right")

    def cells(
        self, ids: ArrayLike
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """The cell of each id.

        Args:
            ids: Ids within a frame, any shape.

        Returns:
            Grid, row and column, int32, of the shape of ``ids``; grid 0 if an id has no cell.

        Source: inference spec 5.2.

        >>> [int(value) for value in ScaleLayout.from_config("32+64+112+224", 265, 16).cells(82)]
        [14, 0, 13]
        """
        ids = np.asarray(ids, np.int64)
        valid = (ids >= 0) & (ids < self.num_tokens)
        ids = np.where(valid, ids, 0)
        scale = self.scale_of(ids)
        grid = np.asarray(self.grids)[scale]
        row, col = np.divmod(ids - np.asarray(self.offsets)[scale], grid)
        grid, row, col = (np.where(valid, part, 0).astype(np.int32) for part in (grid, row, col))
        return grid, row, col

    def ids(self, scale: ArrayLike, row: ArrayLike, col: ArrayLike) -> NDArray[np.int64]:
        """The ids of cells, the inverse of ``cells``.

        Args:
            scale: Index of the scale, counted from the coarsest.
            row: Row in the scale's grid.
            col: Column in the scale's grid.
        """
        which = np.asarray(scale)
        first, grid = np.asarray(self.offsets)[which], np.asarray(self.grids)[which]
        return np.asarray(first + np.asarray(row, np.int64) * grid + np.asarray(col, np.int64))

    def fixations(
        self,
        ids: ArrayLike,
        confidence: ArrayLike,
        slot: ArrayLike | None = None,
        tile: ArrayLike = 0,
    ) -> Fixations:
        """The cells of selected ids as fixations, in the order given.

        Args:
            ids: Ids within a frame ``[n]``; ids without a cell (padding) give no fixation.
            confidence: ``[n]``, or one number for all.
            slot: Positions in the sequence ``[n]``; None = 0, 1, 2, ..., counting padding.
            tile: Index of the tile, one for all or ``[n]``.

        Source: inference spec 5.1, 5.2; visualization spec 0.3: ``(c + 0.5) / grid``, the sum and
        the quotient each rounded to float32.
        """
        ids = np.asarray(ids, np.int64)
        grid, row, col = self.cells(ids)
        real = grid > 0
        cells_per_side = grid[real].astype(np.float32)
        extent = np.float32(1) / cells_per_side
        order = np.arange(len(ids)) if slot is None else slot

        def column(values: ArrayLike, dtype: type[np.float32 | np.int32]) -> NDArray[Any]:
            return np.broadcast_to(np.asarray(values, dtype), ids.shape)[real]

        return Fixations(
            x=np.clip((col[real].astype(np.float32) + _HALF) / cells_per_side, 0, 1),
            y=np.clip((row[real].astype(np.float32) + _HALF) / cells_per_side, 0, 1),
            width=extent,
            height=extent.copy(),
            confidence=np.clip(column(confidence, np.float32), 0, 1),
            grid=grid[real],
            token=ids[real].astype(np.int32),
            tile=column(tile, np.int32),
            slot=column(order, np.int32),
        )

    def global_ids(self, ids: ArrayLike, frame: ArrayLike) -> NDArray[np.int64]:
        """Ids as numbered in a clip: ``num_tokens * t`` is added to those of frame ``t``."""
        return np.asarray(ids, np.int64) + self.num_tokens * np.asarray(frame, np.int64)

    def clip_ids(
        self, gazing_pos: ArrayLike, num_gazing_each_frame: Sequence[int]
    ) -> NDArray[np.int64]:
        """All ids of a clip, as ids within their frames, including padding.

        Args:
            gazing_pos: Ids as numbered in the clip ``[..., n]``.
            num_gazing_each_frame: Tokens per frame ``[t]``; their sum is ``n``.

        Returns:
            ``[..., n]``.

        Source: inference spec 4.1.

        >>> layout = ScaleLayout.from_config("32+64+112+224", 265, 16)
        >>> layout.clip_ids([7, 264, 265, 530], [2, 2])
        array([  7, 264,   0, 265])
        """
        frame = np.repeat(np.arange(len(num_gazing_each_frame)), num_gazing_each_frame)
        return np.asarray(gazing_pos, np.int64) - self.num_tokens * frame

    def frame_ids(
        self, gazing_pos: ArrayLike, num_gazing_each_frame: Sequence[int], frame: int
    ) -> NDArray[np.int64]:
        """One frame's ids in a clip, as ids within the frame, including padding.

        Args:
            gazing_pos: Ids as numbered in the clip ``[..., n]``.
            num_gazing_each_frame: Tokens per frame ``[t]``; their sum is ``n``.
            frame: Index of the frame.

        Returns:
            ``[..., num_gazing_each_frame[frame]]``.

        Source: inference spec 4.1.

        >>> layout = ScaleLayout.from_config("32+64+112+224", 265, 16)
        >>> layout.frame_ids([7, 264, 265, 530], [2, 2], 1)
        array([  0, 265])
        """
        part = np.asarray(gazing_pos, np.int64)[..., frame_tokens(num_gazing_each_frame, frame)]
        return part - self.num_tokens * frame

    def local_ids(
        self, gazing_pos: ArrayLike, if_padded: ArrayLike, num_gazing_each_frame: ArrayLike
    ) -> list[NDArray[np.int64]]:
        """The gaze of one sequence, frame by frame, as ids within the frame.

        Args:
            gazing_pos: Ids as numbered in the clip ``[n]``.
            if_padded: Which of the tokens are padding ``[n]``.
            num_gazing_each_frame: Tokens per frame ``[t]``; their sum is ``n``.

        Returns:
            The ids of each frame, -1 for padding.

        Source: inference spec 4.1.
        """
        counts = np.asarray(num_gazing_each_frame, np.int64).tolist()
        padded = np.asarray(if_padded, bool)
        return [
            np.where(
                padded[frame_tokens(counts, frame)], -1, self.frame_ids(gazing_pos, counts, frame)
            )
            for frame in range(len(counts))
        ]

    def masks(
        self, gazing_pos: ArrayLike, if_padded: ArrayLike, frames: int
    ) -> list[NDArray[np.uint8]]:
        """Which cells were gazed at, in the layout of upstream's ``gazing_mask``.

        Args:
            gazing_pos: Ids as numbered in the clip ``[b, n]``.
            if_padded: Which of the positions are padding ``[b, n]``.
            frames: Frames of the clip, ``t``.

        Returns:
            For each scale, a mask ``[b, t, count]``, row-major in its grid, uint8, 1 = gazed.

        Source: inference spec 4.1.
        """
        ids = np.asarray(gazing_pos, np.int64)
        end = self.num_tokens * frames
        outside = (ids < 0) | (ids >= end)
        ids = np.where(np.asarray(if_padded, bool) | outside, end, ids)  # the extra last element
        mask = np.zeros((len(ids), end + 1), np.uint8)
        np.put_along_axis(mask, ids, 1, axis=1)
        by_frame = mask[:, :end].reshape(len(ids), frames, self.num_tokens)
        return np.split(by_frame, self.offsets[1:], axis=2)


def grid_cells(ids: ArrayLike, grid: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of ids that count through a single grid, as those of the patch difference.

    Args:
        ids: Row-major indices of cells, any shape.
        grid: Cells per side, one number or of the shape of ``ids``.
    """
    row, col = np.divmod(np.asarray(ids, np.int64), np.asarray(grid, np.int64))
    return row, col


def frame_tokens(num_gazing_each_frame: Sequence[int], frame: int) -> slice:
    """The slice of one frame's tokens among those of a clip.

    >>> frame_tokens([2, 3, 1], 1)
    slice(2, 5, None)
    """
    start = sum(num_gazing_each_frame[:frame])
    return slice(start, start + num_gazing_each_frame[frame])


def parse_scales(scales: str | int | Sequence[int]) -> list[int]:
    """Scales in pixels, ascending, from ``"32+64+112+224"``, one number or a sequence of numbers.

    Raises:
        ConfigError: One is not a whole number above 0.
    """
    try:
        parts = str(scales).split("+") if isinstance(scales, str | int) else list(scales)
        sides = sorted(int(part) for part in parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"scales {scales!r} must be whole numbers joined by '+'") from error
    if not sides or sides[0] < 1:
        raise ConfigError(f"scales {scales!r} must be numbers above 0")
    return sides
