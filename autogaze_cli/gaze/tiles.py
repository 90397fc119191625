"""Tiles: how a large frame is cut for the model, and how fixations map back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Floats
from autogaze_cli.gaze.settings import Mode

_HALF = np.float32(0.5)
_MIN_EXTENT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLayout:
    """The tiles of one frame size, in row-major order.

    Attributes:
        mode: ``resize``: one tile, the frame. ``tiled``: the frame is stretched to a canvas of
            whole tiles. ``tiled-full``: tiles of the frame itself, padded at the right and bottom.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
        tile_size: Side of a tile in pixels; has no effect in ``resize``.
        stride: Tile stride in pixels (``tiled-full`` only); None = ``tile_size``.

    Source: inference spec 6.1, 6.2.
    """

    mode: Mode
    height: int
    width: int
    tile_size: int = 224
    stride: int | None = None

    @property
    def step(self) -> int:
        """Effective tile stride in pixels."""
        own = self.stride if self.mode == "tiled-full" else None
        return own or self.tile_size

    @property
    def rows(self) -> int:
        """Tiles from top to bottom."""
        return 1 if self.mode == "resize" else -(-self.height // self.step)

    @property
    def cols(self) -> int:
        """Tiles from left to right."""
        return 1 if self.mode == "resize" else -(-self.width // self.step)

    def __len__(self) -> int:
        """Number of tiles."""
        return self.rows * self.cols

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the image that the tiles are cut from, excluding padding."""
        if self.mode == "tiled":
            return self.rows * self.tile_size, self.cols * self.tile_size
        return self.height, self.width

    @property
    def origins(self) -> NDArray[np.int64]:
        """Top left corner of each tile on the canvas, (y, x) in pixels, ``[tiles, 2]``."""
        row, col = np.divmod(np.arange(len(self)), self.cols)
        return np.stack([row, col], axis=1) * self.step

    def merge(self, fixations: Fixations) -> Fixations:
        """One frame's fixations from those of its tiles.

        In mode ``resize`` the order of the sequence is kept. In the tiled modes fixations are
        sorted by confidence, highest first; ties are sorted by tile and then by slot.

        Args:
            fixations: In coordinates of the tile in their ``tile`` column; in tile order.

        Source: inference spec 6.4.
        """
        if self.mode == "resize":
            return fixations
        placed = self.to_source(fixations)
        return placed.select(np.argsort(-placed.confidence, kind="stable"))

    def to_source(self, fixations: Fixations) -> Fixations:
        """Fixations of any tiles, converted from tile to frame coordinates, in the order given.

        Inactive fixations and those outside the frame are dropped. All arithmetic is float32, with
        each operation rounded.

        Args:
            fixations: In coordinates of the tile in their ``tile`` column.

        Source: inference spec 6.3; visualization spec 0.3.
        """
        if self.mode == "resize":
            return fixations
        active = fixations.active()
        return self._by_cell(active) if self.step == self.tile_size else self._by_pixel(active)

    def _by_cell(self, local: Fixations) -> Fixations:
        """Adjacent tiles: a tile's cell is a cell of one grid over the whole canvas.

        Cells in an incomplete last column or row of the grid are dropped, and the others stretched
        over the frame, as the reference does. Fixations without a grid are dropped.
        """
        local = local.select(local.grid > 0)
        origins = self.origins[local.tile]
        grid = local.grid.astype(np.int64)
        centres: list[Floats] = []
        extents: list[Floats] = []
        inside = np.ones(len(local), bool)
        for axis, position in enumerate((local.y, local.x)):
            cells = np.maximum(1, self.canvas[axis] * grid // self.tile_size)
            own = (np.clip(position, 0, 1) * local.grid.astype(np.float32)).astype(np.int64)
            cell = origins[:, axis] // self.tile_size * grid + np.minimum(own, grid - 1)
            inside &= cell < cells
            across = cells.astype(np.float32)
            centres.append((cell.astype(np.float32) + _HALF) / across)
            extents.append(np.float32(1) / across)
        return _moved(local, centres, extents, inside)

    def _by_pixel(self, local: Fixations) -> Fixations:
        """Overlapping tiles: cells are placed by their pixels; duplicates are kept."""
        origins = self.origins[local.tile].astype(np.float32)
        side = np.asarray(self.tile_size, np.float32)
        centres: list[Floats] = []
        extents: list[Floats] = []
        inside = np.ones(len(local), bool)
        for axis, (position, extent) in enumerate(
            ((local.y, local.height), (local.x, local.width))
        ):
            length = np.asarray(self.canvas[axis], np.float32)
            pixel: Floats = origins[:, axis] + position * side
            inside &= pixel < length
            centres.append(pixel / length)
            extents.append(extent * side / length)
        return _moved(local, centres, extents, inside)


def _moved(
    local: Fixations,
    centres: list[Floats],
    extents: list[Floats],
    inside: NDArray[np.bool_],
) -> Fixations:
    """The fixations that are inside, with new (y, x) centres and extents, clamped to range."""
    columns = local.columns()
    columns["y"], columns["x"] = (np.clip(centre, 0, 1) for centre in centres)
    columns["height"], columns["width"] = (np.clip(e, _MIN_EXTENT, 1) for e in extents)
    return Fixations.from_columns(columns).select(inside)
