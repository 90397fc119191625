"""Mask geometry: which cells of a frame count, and the pixels they cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Ints
from autogaze_cli.visualize.rects import (
    cell_extents,
    draw_cells,
    fixation_rects,
    pixel_span,
    runs,
)

NATIVE_GRIDS = (2, 4, 7, 14)
"""Grids of the published model's scales, and of the four mask colours."""

# The effective grid is never coarser than this, on either axis.
_COARSEST_EFFECTIVE = 14


def nearest_native_grid(cells: NDArray[np.float32]) -> Ints:
    """The native grid nearest to each float32 number of cells; the smaller one on a tie."""
    grids = np.array(NATIVE_GRIDS, np.int32)
    distance = np.abs(cells[:, None] - grids.astype(np.float32))
    nearest: Ints = grids[distance.argmin(axis=1)]
    return nearest


def display_grid(fixations: Fixations) -> Ints:
    """The grid whose colour each fixation gets: its own, or the nearest to its extent.

    Returns:
        int32 ``[n]``, at least 1.

    Source: visualization spec 3.2.
    """
    cell_w, cell_h = cell_extents(fixations)
    guess = nearest_native_grid(np.reciprocal(np.maximum(cell_w, cell_h)))
    return np.where(fixations.grid > 0, fixations.grid, guess).astype(np.int32)


def coarse_first(fixations: Fixations) -> NDArray[np.intp]:
    """The drawing order: a stable sort by width, then height, both descending.

    Source: visualization spec 3.4.
    """
    cell_w, cell_h = cell_extents(fixations)
    return np.lexsort((-cell_h, -cell_w))


def deduplicate(
    fixations: Fixations, width: int, height: int, cell_scale: float = 1.0
) -> Fixations:
    """The active fixations without those whose pixels larger ones cover already, largest first.

    Args:
        fixations: Cells as fractions of the frame.
        width: Frame width in pixels.
        height: Frame height in pixels.
        cell_scale: Factor on the extents of every cell.

    Returns:
        The fixations kept: by width and height descending, then display grid ascending.

    Source: visualization spec 2.2.
    """
    active = fixations.active()
    cell_w, cell_h = cell_extents(active)
    ordered = active.select(np.lexsort((display_grid(active), -cell_h, -cell_w)))
    rects = fixation_rects(ordered, width, height, cell_scale)
    column_of, row_of = runs(rects[:, :2], width), runs(rects[:, 2:], height)
    # Painted from the last to the first, a cell shows exactly where no earlier one covers it.
    first = np.full((row_of[-1] + 1, column_of[-1] + 1), len(ordered), np.uint32)
    spans = np.concatenate([column_of[rects[:, :2]], row_of[rects[:, 2:]]], axis=1)
    numbers = np.arange(len(ordered), dtype=np.uint32)
    draw_cells(first, spans[::-1], numbers[::-1], numbers, numbers)
    shows = np.zeros(len(ordered) + 1, bool)
    shows[first] = True
    return ordered.select(shows[:-1])


def effective_grid(fixations: Fixations) -> tuple[int, int]:
    """Columns and rows of the finest grid among the active fixations, at least 14 x 14.

    Source: visualization spec 2.3.
    """
    cell_w, cell_h = cell_extents(fixations.active())
    # 1/extent is a float32; in float64 the addition that rounds halves up is exact.
    cells = [
        np.floor((np.float32(1) / extent).astype(np.float64) + 0.5) for extent in (cell_w, cell_h)
    ]
    columns, rows = (int(axis.max(initial=_COARSEST_EFFECTIVE)) for axis in cells)
    return columns, rows


def effective_rects(
    fixations: Fixations, width: int, height: int, cell_scale: float = 1.0
) -> NDArray[np.int32]:
    """One cell of the effective grid for each active fixation, in their order, duplicates kept.

    Args:
        fixations: Cells as fractions of the frame.
        width: Frame width in pixels.
        height: Frame height in pixels.
        cell_scale: Factor on the extents of every grid cell.

    Returns:
        int32 ``[n, 4]``, columns ``(x0, x1, y0, y1)``.

    Source: visualization spec 2.3.
    """
    active = fixations.active()
    columns, rows = effective_grid(active)
    x0, x1 = _effective_axis(active.x, columns, width, cell_scale)
    y0, y1 = _effective_axis(active.y, rows, height, cell_scale)
    return np.stack([x0, x1, y0, y1], axis=1)


def _effective_axis(
    centre: NDArray[np.float32], cells: int, size: int, cell_scale: float
) -> tuple[Ints, Ints]:
    epsilon = np.finfo(np.float32).eps
    scale = np.float32(cell_scale)
    inside = np.clip(centre, np.float32(0), np.float32(1) - epsilon)
    index = np.minimum(np.floor(inside * np.float32(cells)).astype(np.int64), cells - 1)
    if abs(scale - np.float32(1)) <= epsilon:
        start, end = index * size // cells, -(-(index + 1) * size // cells)
        return start.astype(np.int32), end.astype(np.int32)
    extent = min(max(max(float(scale), 1e-6) / cells, 1e-6), 1.0)
    middle = (index + 0.5) / cells
    low, high = np.clip([middle - 0.5 * extent, middle + 0.5 * extent], 0.0, 1.0)
    return pixel_span(low, high, size)


def mask_rects(
    fixations: Fixations, width: int, height: int, geometry: str, cell_scale: float = 1.0
) -> NDArray[np.int32]:
    """The rectangle list of a geometry. Source: visualization spec 2.

    Args:
        fixations: Cells as fractions of the frame.
        width: Frame width in pixels.
        height: Frame height in pixels.
        geometry: ``native``, ``deduplicated`` or ``effective``.
        cell_scale: Factor on the extents of every cell.

    Returns:
        int32 ``[n, 4]``, columns ``(x0, x1, y0, y1)``.
    """
    if geometry == "effective":
        return effective_rects(fixations, width, height, cell_scale)
    if geometry == "deduplicated":
        fixations = deduplicate(fixations, width, height, cell_scale)
    return fixation_rects(fixations, width, height, cell_scale)
