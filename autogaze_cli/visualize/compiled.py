"""The compiled drawing of cells and image panels, where it was built: see ``draw.c``.

It is built when the package is installed and a C compiler is there; without it numpy does the same
in a few times the time. Setting ``AUTOGAZE_NATIVE=0`` leaves it out.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint32]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None when it was not built."""
    if os.environ.get("AUTOGAZE_NATIVE") == "0":
        return None
    for path in sorted(Path(__file__).parent.glob("_draw*.so")):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None


def draw_cells(
    code: ctypes.CDLL,
    canvas: Pixels,
    rects: NDArray[np.integer[Any]],
    colours: NDArray[np.integer[Any]],
    borders: Pixels,
    fills: Pixels,
) -> None:
    """Each cell in turn, with a border of one pixel inside it.

    Args:
        code: The library.
        canvas: ``[height, width]``, rows of contiguous pixels.
        rects: ``[n, 4]``, columns ``(x0, x1, y0, y1)``.
        colours: Which of ``borders`` and ``fills`` each has, ``[n]``.
        borders: Colours of borders.
        fills: Colours inside.
    """
    corners, which = np.ascontiguousarray(rects, np.int64), np.ascontiguousarray(colours, np.int64)
    code.draw_cells(
        _address(canvas), ctypes.c_int64(canvas.strides[0] // 4), _address(corners),
        _address(which), ctypes.c_int64(len(corners)), _address(borders), _address(fills),
    )  # fmt: skip


def paint(code: ctypes.CDLL, mask: NDArray[np.bool_], rects: NDArray[np.integer[Any]]) -> None:
    """Set the pixels of ``mask``, ``[height, width]`` in C order, that some rectangle covers."""
    corners = np.ascontiguousarray(rects, np.int64)
    code.paint(
        _address(mask), ctypes.c_int64(mask.shape[1]), _address(corners),
        ctypes.c_int64(len(corners)),
    )  # fmt: skip


def mark(code: ctypes.CDLL, numbers: Pixels, marks: NDArray[np.bool_]) -> None:
    """Set ``marks[number]`` for each of ``numbers``, in C order."""
    code.mark(_address(numbers), ctypes.c_int64(numbers.size), _address(marks))


def mix_panel(
    code: ctypes.CDLL,
    panel: Pixels,
    rows: Pixels,
    row_of: NDArray[np.intp],
    weight: np.float32,
    *,
    keep_image: bool,
) -> None:
    """Mix cells into a frame, in place.

    Args:
        code: The library.
        panel: The frame, ``[height, width]``, C order.
        rows: Distinct rows of cells on clear ground, ``[k, width]``, C order.
        row_of: Which of them each row of the frame has, ``[height]``.
        weight: Of the cells, 0 to 1.
        keep_image: Whether pixels without a cell stay.
    """
    height, width = panel.shape
    work = np.empty(2 * width, np.uint32)
    places = np.ascontiguousarray(row_of, np.int64)
    code.mix_panel(
        _address(panel), _address(rows), _address(places), ctypes.c_int64(height),
        ctypes.c_int64(width), ctypes.c_float(float(weight)), int(keep_image), _address(work),
    )  # fmt: skip


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
