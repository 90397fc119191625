"""Mask panels: coloured pictures of the gazed cells."""

from __future__ import annotations

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
from autogaze_cli.visualize.rects import Image, Pixels, draw_cells, fixation_rects
from autogaze_cli.visualize.settings import Visualization

COLOURS: dict[int, tuple[int, int, int]] = {
    2: (255, 180, 0),
    4: (60, 220, 120),
    7: (0, 185, 255),
    14: (230, 110, 255),
}
"""Native grid to the RGB of its cells' borders. Source: visualization spec 3.1."""

ON_IMAGE = ("image-overlay", "image-mask-only")
"""The styles that show the frame."""

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


_BLACK = _pixel((0, 0, 0, 255))
BORDERS = np.array([_BLACK, *(_pixel((*colour, 255)) for colour in COLOURS.values())])
"""The colours of borders: black for the ground, then those of ``COLOURS``; opaque RGBA pixels."""
FILLS = np.array([_BLACK, *(_pixel((*fill_colour(colour), 255)) for colour in COLOURS.values())])
"""The colours inside cells, in the same order."""
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
    style = settings.mask_visualization
    on_image = style in ON_IMAGE
    canvas = np.full((height, width), _CLEAR if on_image else _BLACK, np.uint32)
    draw_cells(canvas, *panel_cells(fixations, width, height, settings), BORDERS, FILLS)
    drawn = canvas.view(np.uint8).reshape(height, width, 4)
    if not on_image:
        return drawn
    blend = compiled.blend_cells if compiled.library() else blend_cells
    return blend(frame, drawn, settings.blend_alpha, keep_image=style == "image-overlay")


def panel_cells(
    fixations: Fixations, width: int, height: int, settings: Visualization
) -> tuple[Ints, NDArray[np.intp]]:
    """What a panel shows: rectangles in the order in which they are drawn, and their colours.

    Args:
        fixations: The gazed cells of the frame.
        width: Frame width in pixels.
        height: Frame height in pixels.
        settings: Style, geometry and cell scale.

    Returns:
        int32 ``[n, 4]``, columns ``(x0, x1, y0, y1)``, and the index of each one's colour in
        ``BORDERS`` and ``FILLS``, int ``[n]``.

    Source: visualization spec 3.
    """
    cells, cell_scale = fixations.active(), settings.mask_cell_scale
    if settings.mask_geometry == "effective":
        return _effective_cells(cells, width, height, cell_scale)
    if settings.mask_geometry == "deduplicated":
        cells = deduplicate(cells, width, height, cell_scale)
    if settings.mask_visualization == "scale-rows":
        return _band_cells(cells, width, height, cell_scale)
    return _native_cells(cells, width, height, cell_scale)


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
) -> tuple[Ints, NDArray[np.intp]]:
    """All cells, coarse ones first. Source: visualization spec 3.4."""
    cells = cells.select(coarse_first(cells))
    return fixation_rects(cells, width, height, cell_scale), _colours(display_grid(cells))


def _effective_cells(
    cells: Fixations, width: int, height: int, cell_scale: float
) -> tuple[Ints, NDArray[np.intp]]:
    """The distinct cells of the effective grid. Source: visualization spec 3.4."""
    cells = cells.select(coarse_first(cells))
    rects, grids = effective_rects(cells, width, height, cell_scale), display_grid(cells)
    # A stable sort by (x0, x1, y0, y1): of equal rectangles the finest, the last, is drawn.
    order = np.lexsort(rects.T[::-1])
    rects, grids = rects[order], grids[order]
    last = np.ones(len(rects), bool)
    last[:-1] = (rects[1:] != rects[:-1]).any(axis=1)
    return rects[last], _colours(grids[last])


def _band_cells(
    cells: Fixations, width: int, height: int, cell_scale: float
) -> tuple[Ints, NDArray[np.intp]]:
    """One band per grid, with the whole frame reduced to fit. Source: visualization spec 3.5."""
    grids = display_grid(cells)
    present = np.unique(grids)
    rects, colours = [np.empty((0, 4), np.int32)], [np.empty(0, np.intp)]
    for band, grid in enumerate(present):
        top = band * height // len(present)
        rows = -(-(band + 1) * height // len(present)) - top
        columns = min(max(int(np.floor(rows * width / height + 0.5)), 1), width)
        left = (width - columns) // 2
        drawn, colour = _native_cells(cells.select(grids == grid), columns, rows, cell_scale)
        # Bands overlap by one row where they do not divide the height: the later band wins.
        ground = np.array([[0, width, top, top + rows]], np.int32)
        rects += [ground, drawn + np.array([left, left, top, top], np.int32)]
        colours += [np.zeros(1, np.intp), colour]
    return np.concatenate(rects), np.concatenate(colours)


def _colours(grids: Ints) -> NDArray[np.intp]:
    """The index of each grid's colour in ``BORDERS``. Source: visualization spec 3.1."""
    return np.searchsorted(NATIVE_GRIDS[:-1], grids) + 1


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
