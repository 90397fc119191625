"""Fixations to pixel rectangles, and rectangles to the union of their pixels.

A rectangle is ``(x0, x1, y0, y1)``: it covers ``x0 <= x < x1`` and ``y0 <= y < y1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations, Floats, Ints
from autogaze_cli.visualize import compiled

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint32]

_SMALLEST = np.float32(1e-6)
_HALF = np.float32(0.5)
# Rows are processed in blocks of about this many bytes, so that temporaries stay in the cache.
_BLOCK_BYTES = 1 << 17


def cell_extents(fixations: Fixations) -> tuple[Floats, Floats]:
    """Widths and heights clamped to 1e-6..1. Source: visualization spec 0.3."""
    one = np.float32(1)
    return np.clip(fixations.width, _SMALLEST, one), np.clip(fixations.height, _SMALLEST, one)


def fixation_rects(
    fixations: Fixations, width: int, height: int, cell_scale: float = 1.0
) -> NDArray[np.int32]:
    """The pixel rectangles of the active fixations, in their order, duplicates kept.

    Every step is one float32 operation: cell edges that are whole pixels in exact arithmetic
    may miss them, and outputs that must match byte for byte need the same rounding.

    Args:
        fixations: Cells as fractions of the frame.
        width: Frame width in pixels, at least 1.
        height: Frame height in pixels, at least 1.
        cell_scale: Factor on the extents of every cell.

    Returns:
        int32 ``[n, 4]``, columns ``(x0, x1, y0, y1)``, none of them empty.

    Source: visualization spec 1.
    """
    active = fixations.active()
    cell_w, cell_h = cell_extents(active)
    x0, x1 = _axis(active.x, cell_w, width, cell_scale)
    y0, y1 = _axis(active.y, cell_h, height, cell_scale)
    return np.stack([x0, x1, y0, y1], axis=1)


def _axis(centre: Floats, extent: Floats, size: int, cell_scale: float) -> tuple[Ints, Ints]:
    scale = max(np.float32(cell_scale), _SMALLEST)
    half = np.minimum((extent * scale) * _HALF, _HALF)
    zero, one = np.float32(0), np.float32(1)
    low, high = np.clip(centre - half, zero, one), np.clip(centre + half, zero, one)
    return pixel_span(low, high, size)


def pixel_span(low: NDArray[Any], high: NDArray[Any], size: int) -> tuple[Ints, Ints]:
    """First and past-the-last pixel of spans given as fractions, in the precision given.

    Source: visualization spec 1.2.
    """
    extent = low.dtype.type(size)
    start = np.minimum(np.floor(low * extent).astype(np.int32), size - 1)
    end = np.minimum(np.ceil(high * extent).astype(np.int32), size)
    return start, np.maximum(end, start + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """The pixels covered by at least one rectangle, stored as the distinct rows of the mask.

    Cells have few distinct edges, so this is much smaller than the mask of a frame.

    Attributes:
        rows: bool ``[k, width]``; the distinct rows.
        row_of: int ``[height]``; which of them each row of the frame is, ascending.
        pixel_count: Covered pixels.
    """

    rows: Mask
    row_of: NDArray[np.intp]
    pixel_count: int

    def mask(self) -> Mask:
        """The mask, bool ``[height, width]``."""
        return self.rows[self.row_of]

    def select(self, inside: Image, outside: Image) -> Image:
        """A new image: ``inside`` where covered, ``outside`` elsewhere.

        Args:
            inside: uint8 ``[height, width, channels]``.
            outside: Of the same shape.
        """
        height, width, channels = outside.shape
        # 0 or 255 for each byte of a row: the choice is then three bitwise passes, whatever the
        # shape of the mask, where a masked copy takes the pixels one by one.
        chooser = np.empty((len(self.rows), width, channels), np.uint8)
        for channel in range(channels):
            np.negative(self.rows.view(np.uint8), out=chooser[..., channel])
        choosers = chooser.reshape(len(self.rows), -1)
        result = np.empty(outside.shape, np.uint8)
        a, b = inside.reshape(height, -1), outside.reshape(height, -1)
        flat = result.reshape(height, -1)
        blocks = list(row_blocks(height, width * channels))
        scratch = np.empty_like(flat[blocks[0]])
        for block in blocks:
            chosen, changed = flat[block], scratch[: len(flat[block])]
            np.take(choosers, self.row_of[block], axis=0, out=chosen, mode="clip")
            np.bitwise_xor(a[block], b[block], out=changed)
            changed &= chosen
            np.bitwise_xor(changed, b[block], out=chosen)
        return result


def union(rects: NDArray[np.int32], width: int, height: int) -> Union:
    """The union of rectangles within a frame. Source: visualization spec 2.

    Args:
        rects: int32 ``[n, 4]``, columns ``(x0, x1, y0, y1)``, within the frame and not empty.
        width: Frame width in pixels.
        height: Frame height in pixels.
    """
    run_of = runs(rects[:, 2:], height)
    row_of = run_of[:height]
    count = int(row_of[-1]) + 1
    covered = paint(np.concatenate([rects[:, :2], run_of[rects[:, 2:]]], axis=1), width, count)
    pixel_count = int(np.count_nonzero(covered, axis=1) @ np.bincount(row_of, minlength=count))
    return Union(covered, row_of, pixel_count)


def runs(edges: NDArray[np.integer[Any]], size: int) -> NDArray[np.intp]:
    """Numbers the runs of pixels between edges on one axis, from 0.

    What is drawn from edge to edge looks the same all along a run.

    Args:
        edges: Positions 0..size, any shape; the first pixel of each run except the first.
        size: Number of pixels.

    Returns:
        int ``[size + 1]``: the run of each pixel, ascending. The last element is the number of
        runs, if ``size`` is an edge: rectangles with these edges can be indexed whole.
    """
    marks = np.zeros(size + 1, bool)
    marks[0] = True
    marks[edges] = True
    return np.cumsum(marks) - 1


def draw_cells(
    canvas: Pixels,
    rects: NDArray[np.integer[Any]],
    colours: NDArray[np.integer[Any]],
    borders: Pixels,
    fills: Pixels,
) -> None:
    """Draw each cell in turn, with a border of one pixel inside it. Source: visualization spec 3.3.

    The loop is the reference, the compiled code the fast version of it.

    Args:
        canvas: ``[height, width]``, rows of contiguous pixels.
        rects: ``[n, 4]``, columns ``(x0, x1, y0, y1)``, within the canvas and not empty.
        colours: Index into ``borders`` and ``fills`` of each cell, ``[n]``.
        borders: Colours of borders.
        fills: Colours inside.
    """
    if compiled.library():
        compiled.draw_cells(canvas, rects, colours, borders, fills)
        return
    for (x0, x1, y0, y1), colour in zip(rects.tolist(), colours.tolist(), strict=True):
        canvas[y0:y1, x0:x1] = borders[colour]
        canvas[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = fills[colour]


def paint(rects: NDArray[Any], width: int, height: int) -> Mask:
    """The union of rectangles as a mask, bool ``[height, width]``.

    The loop is the reference, the compiled code the fast version of it.
    """
    covered = np.zeros((height, width), bool)
    if compiled.library():
        compiled.paint(covered, rects)
        return covered
    for x0, x1, y0, y1 in rects.tolist():
        covered[y0:y1, x0:x1] = True
    return covered


def row_blocks(height: int, row_bytes: int) -> Iterator[slice]:
    """Slices of rows that cover an image, each about a cache's worth of bytes."""
    step = max(1, _BLOCK_BYTES // row_bytes)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))
