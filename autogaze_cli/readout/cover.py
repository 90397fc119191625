"""Which cells of a grid rectangles cover, each cell once, in the order rectangles reach them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.reading import DOCUMENT_VARIABLE, most_document_bytes
from autogaze_cli.readout.ragged import Ragged, offsets_of

Cells = NDArray[np.int32]
Spans = NDArray[np.int32]
"""``[4, n]``: first row, past the last row, first column, past the last column."""

_EPS = np.float32(1e-6)
# Cells that are looked at together: tables of this size stay in the cache.
_BATCH = 1 << 20
# Rectangles of as many cells are faster painted one by one than listed cell by cell.
_PAINTED = 64
# A readout of as many tokens fits in an npz file of the size that is read, four times the limit of
# a document: its ids and coordinates are 48 bytes for each token.
_TOKEN_BYTES = 16
# How often all tokens of the largest readout may be reached, by rectangles that overlap.
_OVERLAP = 256


def most_tokens() -> int:
    """Of the frames of a readout, and of its clip: 2**24, or as many as the limit of a file allows.

    Raises:
        ConfigError: See ``most_document_bytes``.
    """
    return min(most_document_bytes() // _TOKEN_BYTES, 2**31 - 1)  # ids are counted in int32


def require_tokens_fit(count: int, what: str, times: int = 1) -> None:
    """Refuse more tokens than ``most_tokens``.

    Args:
        count: How many there are.
        what: What has them, for the message.
        times: How many times as many are taken.

    Raises:
        ConfigError: It has too many.
    """
    if count > (most := times * most_tokens()):
        raise ConfigError(
            f"{what}, more than {most}",
            hint="give larger patches (--patch-size), fewer --frames or --max-tokens-per-frame, "
            f"or raise {DOCUMENT_VARIABLE}",
        )


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


def first_cells(
    spans: Spans,
    offsets: NDArray[np.int64],
    height: int,
    width: int,
    cap: int | None = None,
    enough: int | None = None,
) -> Ragged:
    """The cells of each group of spans: spans in order, rows and columns ascending, each cell once.

    Args:
        spans: ``[4, n]``, see ``covered_spans``.
        offsets: Where the spans of each group begin, int64 ``[groups + 1]``.
        height: Rows of the grid.
        width: Columns of the grid.
        cap: At most the first so many of each group; None = all.
        enough: The groups after these many cells may be left empty; None = none are.

    Returns:
        Ids ``row * width + col``, int64, a list for each group.

    Raises:
        ConfigError: There are more than ``most_tokens``, or very many in several spans.

    Source: readout spec 7.2.
    """
    groups, plane, most = len(offsets) - 1, height * width, most_tokens()
    require_tokens_fit(plane, f"a grid of {height} x {width} tokens is too large")
    high, wide = (spans[1] - spans[0]).clip(0), (spans[3] - spans[2]).clip(0)
    reached = int((high * wide).sum(dtype=np.int64))
    require_tokens_fit(reached, f"rectangles that overlap reach {reached} tokens", _OVERLAP)
    stop = most + 1 if enough is None else min(enough, most + 1)
    corner = spans[0] * width + spans[2]
    group = np.repeat(np.arange(groups, dtype=np.int32), np.diff(offsets))
    found, counts, total = [np.empty(0, np.int32)], [np.empty(0, np.int64)], 0
    for first, end in pairwise(_batches(high * wide, offsets, plane)):
        at = slice(offsets[first], offsets[end])
        # One table for all groups of the batch, a plane each.
        start = corner[at] + (group[at] - np.int32(first)) * np.int32(plane)
        cells = _distinct(start, high[at], wide[at], width, (end - first) * plane)
        count = np.bincount(cells // max(1, plane), minlength=end - first)
        part = Ragged(cells % max(1, plane), offsets_of(count)).first(cap)
        found.append(part.values)
        counts.append(part.counts)
        total += len(part.values)
        if total >= stop:
            counts.append(np.zeros(groups - end, np.int64))
            break
    require_tokens_fit(min(total, stop), f"a readout of {total} tokens or more is too large")
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
    large = len(start) > 1 and int(areas.sum(dtype=np.int64)) > _BATCH  # one group alone
    if large and areas.mean() > _PAINTED:
        return _painted(start, high, wide, width, size)
    if large:  # half at a time
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


def _painted(start: Cells, high: Cells, wide: Cells, width: int, size: int) -> Cells:
    """``_distinct`` where rectangles overlap much: each cell is marked by the first of them."""
    none = len(start)
    first = np.full((size // width, width), none, np.int32)
    row, col = np.divmod(start, width)
    corners = np.stack([row, row + high, col, col + wide], axis=1)
    for i, (y0, y1, x0, x1) in zip(range(none - 1, -1, -1), corners[::-1].tolist(), strict=True):
        first[y0:y1, x0:x1] = i
    flat = first.reshape(-1)
    cells = np.flatnonzero(flat < none).astype(np.int32)
    ordered: Cells = cells[np.argsort(flat[cells], kind="stable")]
    return ordered


def _ranges(starts: Cells, lengths: Cells) -> Cells:
    """``arange(start, start + length)`` of each pair, one after the other."""
    before = offsets_of(lengths)
    shifts = starts - before[:-1].astype(np.int32)
    return np.repeat(shifts, lengths) + np.arange(before[-1], dtype=np.int32)
