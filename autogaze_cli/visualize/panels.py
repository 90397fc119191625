"""Mask panels: coloured pictures of the gazed cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Ints
from autogaze_cli.visualize import compiled
from autogaze_cli.visualize.geometry import (
    NATIVE_GRIDS,
    coarse_first,
    deduplicate,
    display_grid,
    effective_rects,
)
from autogaze_cli.visualize.rects import Image, fixation_rects
from autogaze_cli.visualize.settings import Visualization

Pixels = NDArray[np.uint32]

COLOURS: dict[int, tuple[int, int, int]] = {
    2: (255, 180, 0),
    4: (60, 220, 120),
    7: (0, 185, 255),
    14: (230, 110, 255),
}
"""Native grid to the RGB of its cells' borders. Source: visualization spec 3.1."""

# The largest float32 below a half: adding it and cutting off rounds halves away from zero, where
# adding 0.5 itself would round the number just below 0.5 up to 1.
_ROUNDING = np.float32(0.49999997)


def fill_colour(border: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour inside a cell: 42 % of its border's. Source: visualization spec 3.1.

    >>> fill_colour((255, 180, 0))
    (107, 76, 0)
    """
    red, green, blue = np.floor(np.array(border, np.float32) * np.float32(0.42) + np.float32(0.5))
    return int(red), int(green), int(blue)


def _pixel(colour: tuple[int, ...]) -> Pixels:
    """Four bytes as one number with the same layout in memory."""
    return np.array(colour, np.uint8).view(np.uint32).reshape(())


_BORDERS = np.array([_pixel((*colour, 255)) for colour in COLOURS.values()])
_FILLS = np.array([_pixel((*fill_colour(colour), 255)) for colour in COLOURS.values()])
_BLACK = _pixel((0, 0, 0, 255))
_CLEAR = _pixel((0, 0, 0, 0))


def mask_panel(frame: Image, fixations: Fixations, settings: Visualization) -> Image:
    """The mask panel of a frame.

    Args:
        frame: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        fixations: The gazed cells of the frame.
        settings: Style, geometry, cell scale and blend weight.

    Returns:
        uint8 ``[height, width, 4]``, RGBA. A frame without alpha counts as opaque.

    Source: visualization spec 3.
    """
    height, width = frame.shape[:2]
    style, geometry = settings.mask_visualization, settings.mask_geometry
    cells, cell_scale = fixations.active(), settings.mask_cell_scale
    if geometry == "deduplicated":
        cells = deduplicate(cells, width, height, cell_scale)
    on_image = style in ("image-overlay", "image-mask-only")
    canvas = np.full((height, width), _CLEAR if on_image else _BLACK, np.uint32)
    if style == "scale-rows" and geometry != "effective":
        _draw_bands(canvas, cells, cell_scale)
    else:
        place = _effective_cells if geometry == "effective" else _native_cells
        _draw_cells(canvas, *place(cells, width, height, cell_scale))
    drawn = canvas.view(np.uint8).reshape(height, width, 4)
    if not on_image:
        return drawn
    blend = compiled.blend_cells if compiled.library() else blend_cells
    return blend(frame, drawn, settings.blend_alpha, keep_image=style == "image-overlay")


def blend_cells(frame: Image, cells: Image, alpha: float, *, keep_image: bool) -> Image:
    """An image panel: drawn cells mixed into a frame.

    This is the reference; :func:`autogaze_cli.visualize.compiled.blend_cells` gives the same bytes
    faster.

    Args:
        frame: uint8 ``[height, width, 3 or 4]``; its alpha is kept where a cell is.
        cells: Drawn cells on a clear canvas, RGBA uint8 ``[height, width, 4]``.
        alpha: Weight of the cells, clamped to 0..1.
        keep_image: Whether pixels without a cell keep the frame; otherwise they become clear.

    Source: visualization spec 3.6.
    """
    panel = to_rgba(frame)
    mixed = mix(panel, cells, alpha)
    mixed[..., 3] = panel[..., 3]
    if not keep_image:
        panel[:] = 0
    covered = cells[..., 3] > 0
    panel[covered] = mixed[covered]
    return panel


def _native_cells(
    cells: Fixations, width: int, height: int, cell_scale: float
) -> tuple[Ints, Ints]:
    """Rectangles and grids of all cells, coarse ones first. Source: visualization spec 3.4."""
    cells = cells.select(coarse_first(cells))
    return fixation_rects(cells, width, height, cell_scale), display_grid(cells)


def _effective_cells(
    cells: Fixations, width: int, height: int, cell_scale: float
) -> tuple[Ints, Ints]:
    """Those of the distinct cells of the effective grid. Source: visualization spec 3.4."""
    cells = cells.select(coarse_first(cells))
    rects, grids = effective_rects(cells, width, height, cell_scale), display_grid(cells)
    # A stable sort by (x0, x1, y0, y1): of equal rectangles the finest, the last, is drawn.
    order = np.lexsort(rects.T[::-1])
    rects, grids = rects[order], grids[order]
    last = np.ones(len(rects), bool)
    last[:-1] = (rects[1:] != rects[:-1]).any(axis=1)
    return rects[last], grids[last]


def _draw_bands(canvas: Pixels, cells: Fixations, cell_scale: float) -> None:
    """One band per grid, with the whole frame reduced to fit. Source: visualization spec 3.5."""
    height, width = canvas.shape
    grids = display_grid(cells)
    present = np.unique(grids)
    for band, grid in enumerate(present):
        top = band * height // len(present)
        rows = -(-(band + 1) * height // len(present)) - top
        columns = min(max(int(np.floor(rows * width / height + 0.5)), 1), width)
        left = (width - columns) // 2
        # Bands overlap by one row where they do not divide the height: the later band wins.
        canvas[top : top + rows] = _BLACK
        view = canvas[top : top + rows, left : left + columns]
        _draw_cells(view, *_native_cells(cells.select(grids == grid), columns, rows, cell_scale))


def _draw_cells(canvas: Pixels, rects: NDArray[np.integer[Any]], grids: Ints) -> None:
    """Draw each cell in turn, with a border of one pixel inside it. Source: visualization spec 3.3.

    The loop is the reference, the compiled code the fast version of it.
    """
    colours = np.searchsorted(NATIVE_GRIDS[:-1], grids)
    if compiled.library():
        compiled.draw_cells(canvas, rects, colours, _BORDERS, _FILLS)
        return
    for (x0, x1, y0, y1), colour in zip(rects.tolist(), colours.tolist(), strict=True):
        canvas[y0:y1, x0:x1] = _BORDERS[colour]
        canvas[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = _FILLS[colour]


def mix(base: Image, over: Image | int, alpha: float) -> Image:
    """``base * (1 - alpha) + over * alpha``, each step in float32, halves rounded up.

    Args:
        base: uint8, any shape.
        over: uint8 of the same shape, or one value for all.
        alpha: Weight of ``over``, clamped to 0..1.

    Returns:
        uint8 of the shape of ``base``.

    Source: visualization spec 3.6.
    """
    weight = np.clip(np.float32(alpha), np.float32(0), np.float32(1))
    mixed = base * (np.float32(1) - weight)
    mixed += np.multiply(over, weight, dtype=np.float32)
    mixed += _ROUNDING
    return mixed.astype(np.uint8)


def to_rgba(frame: Image) -> Image:
    """The frame as uint8 ``[height, width, 4]``, opaque when it has no alpha; a new array."""
    rgba = np.full((*frame.shape[:2], 4), 255, np.uint8)
    rgba[..., : frame.shape[2]] = frame
    return rgba
