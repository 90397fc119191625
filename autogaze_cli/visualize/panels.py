"""Mask panels: the coloured pictures of which cells were gazed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Floats
from autogaze_cli.visualize.geometry import (
    NATIVE_GRIDS,
    coarse_first,
    deduplicate,
    display_grid,
    effective_rects,
)
from autogaze_cli.visualize.rects import Image, fixation_rects, row_blocks
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
    """Four bytes as one number that is laid out in memory as they are."""
    return np.array(colour, np.uint8).view(np.uint32).reshape(())


_BORDERS = [_pixel((*colour, 255)) for colour in COLOURS.values()]
_FILLS = [_pixel((*fill_colour(colour), 255)) for colour in COLOURS.values()]
_BLACK = _pixel((0, 0, 0, 255))
_CLEAR = _pixel((0, 0, 0, 0))
_RGB_BYTES = _pixel((255, 255, 255, 0))


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
    on_image = style in ("image-overlay", "image-mask-only")
    canvas = np.full((height, width), _CLEAR if on_image else _BLACK, np.uint32)
    cells = fixations.active()
    if geometry == "deduplicated":
        cells = deduplicate(cells, width, height, settings.mask_cell_scale)
    if geometry == "effective":
        _draw_effective(canvas, cells, settings.mask_cell_scale)
    elif style == "scale-rows":
        _draw_bands(canvas, cells, settings.mask_cell_scale)
    else:
        _draw_native(canvas, cells, settings.mask_cell_scale)
    if on_image:
        keep_image = style == "image-overlay"
        _mix_into_canvas(canvas, frame, settings.blend_alpha, keep_image=keep_image)
    return canvas.view(np.uint8).reshape(height, width, 4)


def _draw_native(canvas: Pixels, cells: Fixations, cell_scale: float) -> None:
    """Every cell where it stands, coarse ones first. Source: visualization spec 3.4."""
    height, width = canvas.shape
    cells = cells.select(coarse_first(cells))
    _draw_cells(canvas, fixation_rects(cells, width, height, cell_scale), display_grid(cells))


def _draw_effective(canvas: Pixels, cells: Fixations, cell_scale: float) -> None:
    """The distinct cells of the effective grid. Source: visualization spec 3.4."""
    height, width = canvas.shape
    cells = cells.select(coarse_first(cells))
    rects, grids = effective_rects(cells, width, height, cell_scale), display_grid(cells)
    # A stable sort by (x0, x1, y0, y1): of equal rectangles the finest, the last, is drawn.
    order = np.lexsort(rects.T[::-1])
    rects, grids = rects[order], grids[order]
    last = np.ones(len(rects), bool)
    last[:-1] = (rects[1:] != rects[:-1]).any(axis=1)
    _draw_cells(canvas, rects[last], grids[last])


def _draw_bands(canvas: Pixels, cells: Fixations, cell_scale: float) -> None:
    """A band with the whole frame, reduced, for each grid. Source: visualization spec 3.5."""
    height, width = canvas.shape
    grids = display_grid(cells)
    present = np.unique(grids)
    for band, grid in enumerate(present):
        top = band * height // len(present)
        rows = -(-(band + 1) * height // len(present)) - top
        columns = min(max(int(np.floor(rows * width / height + 0.5)), 1), width)
        left = (width - columns) // 2
        # Bands overlap by a row where they do not divide the height: the later one has it.
        canvas[top : top + rows] = _BLACK
        view = canvas[top : top + rows, left : left + columns]
        _draw_native(view, cells.select(grids == grid), cell_scale)


def _draw_cells(canvas: Pixels, rects: NDArray[np.int32], grids: NDArray[np.int32]) -> None:
    """Each cell in turn, with a border of one pixel inside it. Source: visualization spec 3.3."""
    colours = np.searchsorted(NATIVE_GRIDS[:-1], grids).tolist()
    # Few cells differ in size and colour, and copying a drawn one is quicker than drawing it.
    drawn: dict[tuple[int, int, int], Pixels] = {}
    for (x0, x1, y0, y1), colour in zip(rects.tolist(), colours, strict=True):
        key = (y1 - y0, x1 - x0, colour)
        cell = drawn.get(key)
        if cell is None:
            cell = drawn[key] = np.full(key[:2], _BORDERS[colour], np.uint32)
            cell[1:-1, 1:-1] = _FILLS[colour]
        canvas[y0:y1, x0:x1] = cell


def mix(
    base: Image,
    over: Image | int,
    alpha: float,
    *,
    out: Image | None = None,
    scratch: Floats | None = None,
) -> Image:
    """``base * (1 - alpha) + over * alpha``, each step in float32, halves rounded up.

    Args:
        base: uint8, any shape, C order.
        over: uint8 of the same shape, or one value for all.
        alpha: Weight of ``over``, clamped to 0..1.
        out: Where the result goes; ``base`` and ``over`` are allowed. None = a new array.
        scratch: float32 ``[2, n]`` to compute in, ``n`` values at a time; None = a new one.

    Returns:
        uint8 of the shape of ``base``.

    Source: visualization spec 3.6.
    """
    weight = np.clip(np.float32(alpha), np.float32(0), np.float32(1))
    result = np.empty(base.shape, np.uint8) if out is None else out
    flat_base, flat_result = base.reshape(-1), result.reshape(-1)
    flat_over = np.broadcast_to(np.asarray(over, np.uint8), base.shape).reshape(-1)
    values, shares = mixing_scratch() if scratch is None else scratch
    for start in range(0, base.size, len(values)):
        chunk = slice(start, start + len(values))
        part = flat_base[chunk]
        value, share = values[: part.size], shares[: part.size]
        np.copyto(value, part)
        value *= np.float32(1) - weight
        np.copyto(share, flat_over[chunk])
        share *= weight
        value += share
        value += _ROUNDING
        np.copyto(flat_result[chunk], value, casting="unsafe")
    return result


def mixing_scratch() -> Floats:
    """Working space of :func:`mix`: small enough to stay in the cache."""
    return np.empty((2, 1 << 16), np.float32)


def _mix_into_canvas(canvas: Pixels, frame: Image, alpha: float, *, keep_image: bool) -> None:
    """Turn cells on clear ground into an image panel, in place. Source: visualization spec 3.6.

    Mixing a value with itself gives that value. So where a byte is not to be mixed, image and
    cells are made equal, and then all of it is mixed. Working space is allocated once: new pages
    from the system cost more than the arithmetic.
    """
    height, width, channels = frame.shape
    blocks = list(row_blocks(height, 4 * width))
    image, bits = np.empty((2, blocks[0].stop, width), np.uint32)
    scratch = mixing_scratch()
    for block in blocks:
        cells = canvas[block]
        pixels, covered = image[: len(cells)], bits[: len(cells)]
        if not (keep_image or cells.any()):
            continue
        _copy_rgba(frame[block], pixels)
        np.minimum(cells, 1, out=covered)
        np.negative(covered, out=covered)  # all bits of a covered pixel, none of any other
        if not keep_image:
            pixels &= covered
        if channels == 4:
            cells &= _RGB_BYTES
            cells |= pixels & covered & _BLACK
        if keep_image:
            np.invert(covered, out=covered)
            covered &= pixels
            cells |= covered
        result = cells.view(np.uint8)
        mix(pixels.view(np.uint8), result, alpha, out=result, scratch=scratch)


def to_rgba(frame: Image) -> Image:
    """The frame as uint8 ``[height, width, 4]``, opaque when it has no alpha; a new array."""
    height, width = frame.shape[:2]
    pixels = np.empty((height, width), np.uint32)
    _copy_rgba(frame, pixels)
    return pixels.view(np.uint8).reshape(height, width, 4)


def _copy_rgba(frame: Image, pixels: Pixels) -> None:
    if frame.shape[2] == 4:
        np.copyto(pixels.view(np.uint8).reshape(frame.shape), frame)
        return
    # Read four bytes at each pixel, the fourth being the next one's red, and overwrite that. In
    # numpy this is three times as fast as copying channels; the last pixel has no next one.
    flat, source = pixels.reshape(-1), np.ascontiguousarray(frame)
    words: NDArray[Any] = np.ndarray(flat.size - 1, np.uint32, source, strides=(3,))
    flat[:-1] = words
    flat[-1] = _pixel((*source[-1, -1], 0))
    flat |= _BLACK
