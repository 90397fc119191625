"""Which cells of a grid rectangles cover, each cell once, in the order rectangles reach them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.readout.ragged import Ragged, offsets_of

Cells = NDArray[np.int32]
Spans = NDArray[np.int32]
"""``[4, n]``: first row, past the last row, first column, past the last column."""

_EPS = np.float32(1e-6)
# Cells that are looked at together: tables of this size stay in the cache.
_BATCH = 1 << 20


def covered_spans(rects: NDArray[np.float32], height: int, width: int, dilation: int) -> Spans:
    """The rows and columns that each rectangle overlaps, widened and cut at the border.

    Every step is one float32 operation. An empty rectangle, or one with a NaN, covers nothing.

    Args:
        rects: float32 ``[n, 4]``, columns x0, y0, x1, y1, as fractions.
        height: Rows of the grid.
        width: Columns of the grid.
        dilation: By how many cells spans are widened at both ends.

    Source: readout spec 7.1; NaN as 12 proposes.
    """
    x0, y0, x1, y1 = rects.T
    reach = min(dilation, max(height, width))
    axes = [*_axis(y0, y1, height, reach), *_axis(x0, x1, width, reach)]
    spans = np.array(axes, np.int32)
    spans[:, ~((x1 > x0) & (y1 > y0))] = 0
    return spans


def _axis(
    low: NDArray[np.float32], high: NDArray[np.float32], n: int, dilation: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    extent = np.float32(n)
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.nan_to_num(np.floor(low * extent + _EPS))
        last = np.nan_to_num(np.ceil(high * extent - _EPS))
    # Clipped before they become integers, to where the result cannot change.
    start = first.clip(0, n + dilation).astype(np.int64) - dilation
    end = last.clip(-dilation, n).astype(np.int64) + dilation
    return start.clip(0, n), end.clip(0, n)


def first_cells(spans: Spans, offsets: NDArray[np.int64], height: int, width: int) -> Ragged:
    """The cells of each group of spans: spans in order, rows and columns ascending, each cell once.

    Args:
        spans: ``[4, n]``, see ``covered_spans``.
        offsets: Where the spans of each group begin, int64 ``[groups + 1]``.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        Ids ``row * width + col``, int64, a list for each group.

    Source: readout spec 7.2.
    """
    groups, plane = len(offsets) - 1, height * width
    high, wide = (spans[1] - spans[0]).clip(0), (spans[3] - spans[2]).clip(0)
    corner = spans[0] * width + spans[2]
    group = np.repeat(np.arange(groups, dtype=np.int32), np.diff(offsets))
    found, counts = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for first, end in pairwise(_batches(high * wide, offsets, plane)):
        at = slice(offsets[first], offsets[end])
        # One table for all groups of the batch, a plane each.
        start = corner[at] + (group[at] - np.int32(first)) * np.int32(plane)
        cells = _distinct(start, high[at], wide[at], width, (end - first) * plane)
        counts.append(np.bincount(cells // max(1, plane), minlength=end - first))
        found.append(cells % max(1, plane))
    return Ragged(np.concatenate(found).astype(np.int64), offsets_of(np.concatenate(counts)))


def _batches(areas: Cells, offsets: NDArray[np.int64], plane: int) -> list[int]:
    """Where to split the groups: few cells and few planes at a time, but at least one group."""
    before = offsets_of(areas)[offsets]  # cells before each group
    groups, planes = len(offsets) - 1, max(1, _BATCH // max(1, plane))
    cuts = [0]
    while cuts[-1] < groups:
        by_cells = int(np.searchsorted(before, before[cuts[-1]] + _BATCH, side="right")) - 1
        cuts.append(max(cuts[-1] + 1, min(by_cells, cuts[-1] + planes, groups)))
    return cuts


def _distinct(start: Cells, high: Cells, wide: Cells, width: int, size: int) -> Cells:
    """The cells of rectangles of cells, given their top left ones, each where it comes first.

    Args:
        start: Id of each top left cell.
        high: Rows of each.
        wide: Columns of each.
        width: Columns of the grid.
        size: All ids are below.
    """
    areas = high * wide
    if len(start) > 1 and int(areas.sum()) > _BATCH:  # one group alone: half at a time
        half = len(start) // 2
        parts = [slice(None, half), slice(half, None)]
        cells = np.concatenate(
            [_distinct(start[part], high[part], wide[part], width, size) for part in parts]
        )
    elif (areas == 1).all():
        cells = start
    else:
        rows = _ranges(np.zeros_like(high), high) * np.int32(width) + np.repeat(start, high)
        cells = _ranges(rows, np.repeat(wide, high))
    place = np.arange(len(cells), dtype=np.int32)
    first = np.empty(size, np.int32)
    first[cells[::-1]] = place[::-1]  # of several assignments to one element the last one stays
    kept: Cells = cells[first[cells] == place]
    return kept


def _ranges(starts: Cells, lengths: Cells) -> Cells:
    """``arange(start, start + length)`` of each pair, one after the other."""
    before = offsets_of(lengths)
    shifts = starts - before[:-1].astype(np.int32)
    return np.repeat(shifts, lengths) + np.arange(before[-1], dtype=np.int32)
