"""Mask panels: the coloured pictures of which cells were gazed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Floats, Ints
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
    """Four bytes as one number that is laid out in memory as they are."""
    return np.array(colour, np.uint8).view(np.uint32).reshape(())


_BORDERS = np.array([_pixel((*colour, 255)) for colour in COLOURS.values()])
_FILLS = np.array([_pixel((*fill_colour(colour), 255)) for colour in COLOURS.values()])
_BLACK = _pixel((0, 0, 0, 255))
_CLEAR = _pixel((0, 0, 0, 0))
_EACH_BYTE = _pixel((1, 1, 1, 1))
# As many values are mixed at a time as stay in the cache.
_MIXED_VALUES = 1 << 17
_ROWS_AT_A_TIME = 8


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
    if style == "scale-rows" and geometry != "effective":
        canvas = np.full((height, width), _BLACK, np.uint32)
        _draw_bands(canvas, cells, cell_scale)
        return canvas.view(np.uint8).reshape(height, width, 4)
    place = _effective_cells if geometry == "effective" else _native_cells
    rects, grids = place(cells, width, height, cell_scale)
    if style in ("image-overlay", "image-mask-only"):
        keep_image = style == "image-overlay"
        rows, row_of = _drawn_rows(rects, grids, width, height)
        if code := compiled.library():
            panel = to_rgba(frame)
            weight = np.clip(np.float32(settings.blend_alpha), np.float32(0), np.float32(1))
            pixels = panel.view(np.uint32)[..., 0]
            compiled.mix_panel(code, pixels, rows, row_of, weight, keep_image=keep_image)
            return panel
        return _mix_rows(frame, rows, row_of, settings.blend_alpha, keep_image=keep_image)
    canvas = np.full((height, width), _BLACK, np.uint32)
    _draw_cells(canvas, rects, grids)
    return canvas.view(np.uint8).reshape(height, width, 4)


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


def _drawn_rows(
    rects: Ints, grids: Ints, width: int, height: int
) -> tuple[Pixels, NDArray[np.intp]]:
    """The distinct rows of a picture of cells on clear ground, and which each of its rows is.

    Cells have few different edges, so there are far fewer of them than the picture has rows.
    """
    x0, x1, y0, y1 = rects.T
    starts = np.zeros(height + 1, bool)
    starts[0] = True
    for edges in (y0, y0 + 1, y1 - 1, y1):  # a border is a row of its own
        starts[edges] = True
    row_of = np.cumsum(starts[:height]) - 1
    rows = np.full((int(row_of[-1]) + 1, width), _CLEAR, np.uint32)
    _draw_cells(rows, np.stack([x0, x1, row_of[y0], row_of[y1 - 1] + 1], axis=1), grids)
    return rows, row_of


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
        _draw_cells(view, *_native_cells(cells.select(grids == grid), columns, rows, cell_scale))


def _draw_cells(canvas: Pixels, rects: NDArray[np.integer[Any]], grids: Ints) -> None:
    """Each cell in turn, with a border of one pixel inside it. Source: visualization spec 3.3."""
    colours = np.searchsorted(NATIVE_GRIDS[:-1], grids)
    if code := compiled.library():
        compiled.draw_cells(code, canvas, rects, colours, _BORDERS, _FILLS)
        return
    # Few cells differ in size and colour, and copying a drawn one is quicker than drawing it.
    drawn: dict[tuple[int, int, int], Pixels] = {}
    for (x0, x1, y0, y1), colour in zip(rects.tolist(), colours.tolist(), strict=True):
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


def _mix_rows(
    frame: Image, rows: Pixels, row_of: NDArray[np.intp], alpha: float, *, keep_image: bool
) -> Image:
    """An image panel from the distinct rows of its cells. Source: visualization spec 3.6.

    As :func:`mix`, with weights that leave a byte as it is (``base * 1 + 0``) or take it away
    (``base * 0 + 0``) where there is no cell.
    """
    height, width, channels = frame.shape
    panel = np.empty((height, width), np.uint32)
    values = panel.view(np.uint8)
    step = max(1, _MIXED_VALUES // (4 * width))
    scratch = np.empty((step, 4 * width), np.float32)
    edges = [*np.flatnonzero(np.diff(row_of, prepend=-1)).tolist(), height]
    copied = 0
    # A few rows at a time: new memory for all of them would cost more than the sums.
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        few = rows[first : first + _ROWS_AT_A_TIME]
        weights, shares = _weights_and_shares(few, alpha, channels, keep_image=keep_image)
        for top, end, own in _runs(edges[first : first + len(few) + 1], row_of - first, step):
            if end > copied:  # rows that are still in the cache when their turn comes
                ahead = slice(copied, max(end, copied + step))
                _copy_rgba(frame[ahead], panel[ahead])
                copied = ahead.stop
            block = values[top:end]
            mixed = scratch[: end - top]
            np.copyto(mixed, block)
            mixed *= weights[own]
            mixed += shares[own]
            mixed += _ROUNDING
            np.copyto(block, mixed, casting="unsafe")
    return values.reshape(height, width, 4)


def _runs(
    edges: list[int], row_of: NDArray[np.intp], step: int
) -> Iterator[tuple[int, int, int | slice | NDArray[np.intp]]]:
    """Rows of the frame that are dealt with at once: their ends, and their distinct row or rows.

    Args:
        edges: Where the distinct rows begin in the frame, and where the last one ends.
        row_of: Which of them each row of the frame is.
        step: Rows at most.
    """
    count = edges[-1] - edges[0]
    if count <= min(step, 2 * len(edges)):  # hardly two rows alike
        alike = count >= len(edges)
        yield edges[0], edges[-1], row_of[edges[0] : edges[-1]] if alike else slice(None)
        return
    for own, (top, end) in enumerate(itertools.pairwise(edges)):
        for start in range(top, end, step):
            yield start, min(start + step, end), own


def _weights_and_shares(
    rows: Pixels, alpha: float, channels: int, *, keep_image: bool
) -> tuple[Floats, Floats]:
    """What each byte of rows of cells is multiplied with, and what is then added to it.

    Args:
        rows: Cells on clear ground, ``[k, width]``.
        alpha: Weight of the cells, clamped to 0..1.
        channels: Of the frame: 4 when it has alpha, which cells leave alone.
        keep_image: Whether pixels without a cell stay.

    Returns:
        Two of float32 ``[k, 4 * width]``.
    """
    weight = np.clip(np.float32(alpha), np.float32(0), np.float32(1))
    shares = np.multiply(rows.view(np.uint8), weight, dtype=np.float32)
    choice: Pixels = np.array([keep_image, np.float32(1) - weight], np.float32).view(np.uint32)
    outside, inside = choice
    ones: Pixels = np.minimum(rows, np.uint32(1)) * _EACH_BYTE
    covered = ones.view(np.uint8)  # 1 or 0
    # One of two numbers, chosen by their bits: several times as fast as ``np.where``.
    bits = np.multiply(covered, outside ^ inside, dtype=np.uint32)
    bits ^= outside
    weights = bits.view(np.float32)
    if channels == 4:
        weights[:, 3::4] = np.maximum(covered[:, 3::4], np.float32(keep_image))
        shares[:, 3::4] = 0
    return weights, shares


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
