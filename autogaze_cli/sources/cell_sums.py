"""Exact sums over the cells of a grid on two 8-bit frames.

Cell ``i`` of ``grid`` covers the pixels from ``floor(i * size / grid)`` up to, not including,
``ceil((i + 1) * size / grid)``: where the grid does not divide the frame, neighbours share pixels.
The sums run in C (``cells.c``), or in numpy where that was not built or ``AUTOGAZE_NATIVE=0`` is
set; they are whole numbers, and so the same in both.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Image = NDArray[np.uint8]

_MOST_ROWS = 66_051
"""Of a cell: the sum of so many products of two bytes fits 32 bits."""


def difference_sums(a: Image | Tensor, b: Image | Tensor, grid: int) -> NDArray[np.integer]:
    """The sum of ``|a - b|`` in each cell and channel.

    Args:
        a: A frame, uint8 ``[h, w, c]``, an array, or a tensor on any device.
        b: Another of the same size.
        grid: Cells per side.

    Returns:
        Whole numbers, ``[grid, grid, c]``.

    Raises:
        ValueError: The frames differ in size, are not uint8, or have over 66,051 rows per cell.
    """
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return _sums_of_tensors(a, b, grid)
    _check(a, b, grid)
    if library() is None:
        return _plain(lambda a, b: np.maximum(a, b) - np.minimum(a, b), a, b, grid)
    (sums,) = _call("cell_differences", a, b, grid, planes=1)
    return sums


def product_sums(a: Image, b: Image, grid: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The sums of ``a * b`` and of ``b * b`` in each cell and channel.

    Args:
        a: A frame, uint8 ``[h, w, c]``.
        b: Another of the same size.
        grid: Cells per side.

    Returns:
        Two arrays, uint64 ``[grid, grid, c]``.

    Raises:
        ValueError: As for ``difference_sums``.
    """
    _check(a, b, grid)
    if library() is None:
        multiply = partial(np.multiply, dtype=np.uint16)
        return _plain(multiply, a, b, grid), _plain(multiply, b, b, grid)
    products, squares = _call("cell_products", a, b, grid, planes=2)
    return products, squares


def cell_areas(height: int, width: int, grid: int) -> NDArray[np.int64]:
    """The pixels of each cell, int64 ``[grid, grid]``."""
    heights, widths = (np.diff(bins(side, grid))[:, 0] for side in (height, width))
    return np.outer(heights, widths)


def bins(length: int, grid: int) -> list[tuple[int, int]]:
    """First and one past the last pixel of each cell; neighbours may share one.

    >>> bins(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]


def _check(a: Image, b: Image, grid: int) -> None:
    """C reads as much as the first frame's shape says, and adds up rows in 32 bits."""
    if a.shape != b.shape or a.ndim != 3 or not a.dtype == b.dtype == np.uint8:
        raise ValueError(f"frames must be uint8 of one size, not {_shown(a)} and {_shown(b)}")
    if grid < 1 or a.shape[0] // grid > _MOST_ROWS - 2:  # a cell may have 2 more
        raise ValueError(f"a grid of {grid} does not serve frames of {a.shape[0]} rows")


def _shown(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _sums_of_tensors(a: Any, b: Any, grid: int) -> NDArray[np.integer]:
    """``difference_sums`` of tensors, on their device; only the sums are read back."""
    difference = (a.int() - b.int()).abs_()
    height, width, channels = difference.shape
    bands = difference.new_empty((grid, width, channels))
    for i, (top, end) in enumerate(bins(height, grid)):
        bands[i] = difference[top:end].sum(0)
    sums = difference.new_empty((grid, grid, channels))
    for i, (left, end) in enumerate(bins(width, grid)):
        sums[:, i] = bands[:, left:end].sum(1)
    return np.asarray(sums.cpu())


def _plain(
    combine: Callable[[Image, Image], NDArray[Any]], a: Image, b: Image, grid: int
) -> NDArray[np.uint64]:
    """The sums of what ``combine`` makes of two images over each cell: the plain version."""
    height, width, _ = a.shape
    # By bands of rows, which are still in the cache when they are summed.
    bands = [combine(a[top:end], b[top:end]).sum(0, np.uint32) for top, end in bins(height, grid)]
    rows = np.stack(bands)
    columns = [rows[:, left:right].sum(1, np.uint64) for left, right in bins(width, grid)]
    return np.stack(columns, axis=1)


def _call(name: str, a: Image, b: Image, grid: int, *, planes: int) -> list[NDArray[np.uint64]]:
    """The same in C: as many sums ``[grid, grid, c]`` as ``planes``."""
    height, width, channels = a.shape
    images: list[NDArray[Any]] = [np.ascontiguousarray(a), np.ascontiguousarray(b)]
    spans: list[NDArray[Any]] = [np.array(bins(side, grid), np.int64) for side in (height, width)]
    scratch = np.empty((planes, width * channels), np.uint32)
    cells = np.zeros((planes, grid, grid, channels), np.uint64)
    sizes = (ctypes.c_int64(size) for size in (width * channels, channels, grid))
    addresses = [ctypes.c_void_p(array.ctypes.data) for array in (*images, *spans, scratch, cells)]
    getattr(library(), name)(*addresses[:2], *sizes, *addresses[2:])
    return list(cells)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None where it was not built or is switched off."""
    if os.environ.get("AUTOGAZE_NATIVE") == "0":
        return None
    for path in sorted(Path(__file__).parent.glob("_cells.*")):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None
