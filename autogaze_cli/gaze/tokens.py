"""Token ids and the cells they name: where an id becomes a rectangle.

A frame's ids count through the scales, coarsest first, and through each scale's square grid row by
row. For the published model::

    ids 0..3    grid 2 x 2        ids 20..68    grid 7 x 7
    ids 4..19   grid 4 x 4        ids 69..264   grid 14 x 14

so id 69 is the top left cell of the 14 x 14 grid. ``ScaleLayout.cells`` is that rule. Two more:

* a clip numbers the ids of frame ``t`` from ``num_tokens * t`` on (``local_ids``, ``global_ids``);
* a padded slot holds one more than the frame's last id, which is the *next* frame's first id: only
  its padding flag tells.
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
    """How the ids of one frame are shared out among the scales.

    Attributes:
        scales: Side of each scale's picture in pixels, ascending.
        grids: Cells a side of each scale.
        counts: Ids of each scale; ``grid ** 2``, unless the checkpoint's numbers contradict.
    """

    scales: tuple[int, ...]
    grids: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def from_config(
        cls, scales: str | int | Sequence[int], num_tokens: int, patch: int
    ) -> ScaleLayout:
        """The layout that a checkpoint's numbers describe.

        Args:
            scales: ``"32+64+112+224"``, one number, or the numbers; sorted here.
            num_tokens: Ids of a frame, ``num_vision_tokens_each_frame``.
            patch: Side of a patch in pixels, ``kernel_size``.

        Raises:
            ConfigError: A scale is not a whole number above 0.

        Source: inference spec 1.1, 1.2.

        >>> ScaleLayout.from_config("32+64+112+224", 265, 16).grids
        (2, 4, 7, 14)
        """
        return cls.in_order(_parse_scales(scales), num_tokens, patch)

    @classmethod
    def in_order(cls, sides: Sequence[int], num_tokens: int, patch: int) -> ScaleLayout:
        """The layout of scales in the order given; of none, one square grid of all ids.

        Args:
            sides: Side of each scale's picture in pixels.
            num_tokens: Ids of a frame.
            patch: Side of a patch in pixels, at least 1.

        Source: inference spec 1.2; readout spec 5.1.
        """
        grids = [max(1, side // patch) for side in sides]
        counts = [grid**2 for grid in grids]
        if not sides or sum(counts) != num_tokens:
            # Shares in proportion to the area, the last scale taking what rounding leaves.
            area = sum(side**2 for side in sides) or 1
            counts = [int(side**2 / area * num_tokens) for side in sides[:-1]]
            counts.append(max(0 if sides else 1, num_tokens - sum(counts)))
            grids = [max(1, round(max(count, 1) ** 0.5)) for count in counts]
        return cls(scales=tuple(sides), grids=tuple(grids), counts=tuple(counts))

    @property
    def num_tokens(self) -> int:
        """Ids of a frame; also the id of padding."""
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
        """The cell that each id names.

        Args:
            ids: Ids within a frame, any shape.

        Returns:
            Grid, row and column, int32, of the shape of ``ids``; grid 0 where an id names no cell.

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
        """The cells of chosen ids as fixations, in the order given.

        Args:
            ids: Ids within a frame ``[n]``; an id that names no cell (padding) gives no fixation.
            confidence: ``[n]``, or one number for all.
            slot: Order of choice ``[n]``; None = 0, 1, 2, ... with padded slots counted.
            tile: Index of the tile, one for all or ``[n]``.

        Source: inference spec 5.1, 5.2; visualization spec 0.3: ``(c + 0.5) / grid``, the sum and
        the quotient each rounded to float32.
        """
        ids = np.asarray(ids, np.int64)
        grid, row, col = self.cells(ids)
        real = grid > 0
        cells_a_side = grid[real].astype(np.float32)
        extent = np.float32(1) / cells_a_side
        order = np.arange(len(ids)) if slot is None else slot

        def column(values: ArrayLike, dtype: type[np.float32 | np.int32]) -> NDArray[Any]:
            return np.broadcast_to(np.asarray(values, dtype), ids.shape)[real]

        return Fixations(
            x=np.clip((col[real].astype(np.float32) + _HALF) / cells_a_side, 0, 1),
            y=np.clip((row[real].astype(np.float32) + _HALF) / cells_a_side, 0, 1),
            width=extent,
            height=extent.copy(),
            confidence=np.clip(column(confidence, np.float32), 0, 1),
            grid=grid[real],
            token=ids[real].astype(np.int32),
            tile=column(tile, np.int32),
            slot=column(order, np.int32),
        )

    def global_ids(self, ids: ArrayLike, frame: ArrayLike) -> NDArray[np.int64]:
        """Ids as a clip numbers them: those of frame ``t`` are raised by ``num_tokens * t``."""
        return np.asarray(ids, np.int64) + self.num_tokens * np.asarray(frame, np.int64)

    def frame_ids(
        self, gazing_pos: ArrayLike, num_gazing_each_frame: Sequence[int], frame: int
    ) -> NDArray[np.int64]:
        """The ids that a clip gives one frame, as ids within the frame, padding included.

        Args:
            gazing_pos: Ids as the clip numbers them ``[..., n]``.
            num_gazing_each_frame: Tokens of each frame ``[t]``, their sum is ``n``.
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
        """One row's gaze, frame by frame, as ids within the frame.

        Args:
            gazing_pos: Ids as the clip numbers them ``[n]``.
            if_padded: Which of the tokens are padding ``[n]``.
            num_gazing_each_frame: Tokens of each frame ``[t]``, their sum is ``n``.

        Returns:
            For each frame its ids, -1 where padded.

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
        """Which cells were gazed at, as upstream's ``gazing_mask``.

        Args:
            gazing_pos: Ids as the clip numbers them ``[b, n]``.
            if_padded: Which of the slots are padding ``[b, n]``.
            frames: Frames of the clip, ``t``.

        Returns:
            For each scale a mask ``[b, t, count]``, row-major in its grid, uint8, 1 = gazed.

        Source: inference spec 4.1.
        """
        ids = np.asarray(gazing_pos, np.int64)
        end = self.num_tokens * frames
        outside = (ids < 0) | (ids >= end)
        ids = np.where(np.asarray(if_padded, bool) | outside, end, ids)  # the surplus last element
        mask = np.zeros((len(ids), end + 1), np.uint8)
        np.put_along_axis(mask, ids, 1, axis=1)
        by_frame = mask[:, :end].reshape(len(ids), frames, self.num_tokens)
        return np.split(by_frame, self.offsets[1:], axis=2)


def frame_tokens(num_gazing_each_frame: Sequence[int], frame: int) -> slice:
    """Where one frame's tokens lie among a clip's.

    >>> frame_tokens([2, 3, 1], 1)
    slice(2, 5, None)
    """
    start = sum(num_gazing_each_frame[:frame])
    return slice(start, start + num_gazing_each_frame[frame])


def _parse_scales(scales: str | int | Sequence[int]) -> list[int]:
    try:
        parts = str(scales).split("+") if isinstance(scales, str | int) else list(scales)
        sides = sorted(int(part) for part in parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"scales {scales!r} is not whole numbers joined by '+'") from error
    if not sides or sides[0] < 1:
        raise ConfigError(f"scales {scales!r} must be numbers above 0")
    return sides
