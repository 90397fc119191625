"""The fast version of drawing, in C: see ``draw.c``.

The reference is plain numpy, in ``panels``, ``rects`` and ``geometry``; tests hold the two equal to
the byte. The C code is built when the package is installed and a C compiler is available; without
it, or with ``AUTOGAZE_NATIVE=0`` in the environment, numpy draws.

C reads and writes where it is told to, so each function here refuses, with ``ValueError``, arrays
that are not what it says.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pixels = NDArray[np.uint32]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None where it was not built or is switched off."""
    if os.environ.get("AUTOGAZE_NATIVE") == "0":
        return None
    for path in sorted(Path(__file__).parent.glob("_draw.*")):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None


def draw_cells(
    canvas: Pixels,
    rects: NDArray[np.integer[Any]],
    colours: NDArray[np.integer[Any]],
    borders: Pixels,
    fills: Pixels,
) -> None:
    """The fast version of :func:`autogaze_cli.visualize.rects.draw_cells`."""
    height, width = canvas.shape
    corners, which = _corners(rects, height, width), np.ascontiguousarray(colours, np.int64)
    _require(_is(canvas, np.uint32, (height, width), whole=False), "canvas")
    _require(_is(borders, np.uint32, (len(fills),)), "borders")
    _require(_is(fills, np.uint32, (len(fills),)), "fills")
    _require(which.shape == (len(corners),), "colours")
    _require(not len(which) or bool(which.min() >= 0 and which.max() < len(fills)), "colours")
    _call(
        "draw_cells", canvas, ctypes.c_int64(canvas.strides[0] // 4), corners, which,
        ctypes.c_int64(len(corners)), borders, fills,
    )  # fmt: skip


def paint(mask: NDArray[np.bool_], rects: NDArray[np.integer[Any]]) -> None:
    """Set the pixels of ``mask``, ``[height, width]`` in C order, that some rectangle covers."""
    corners = _corners(rects, *mask.shape)
    _require(_is(mask, np.bool_, mask.shape), "mask")
    _call("paint", mask, ctypes.c_int64(mask.shape[1]), corners, ctypes.c_int64(len(corners)))


def blend_cells(frame: Image, cells: Image, alpha: float, *, keep_image: bool) -> Image:
    """The fast version of :func:`autogaze_cli.visualize.panels.blend_cells`."""
    height, width, channels = frame.shape
    _require(frame.dtype == np.uint8 and channels in (3, 4), "frame")
    _require(_is(cells, np.uint8, (height, width, 4)), "cells")
    _require(alpha == alpha, "alpha")  # is a number
    panel = np.empty((height, width, 4), np.uint8)
    weight = np.clip(np.float32(alpha), np.float32(0), np.float32(1))
    _call(
        "blend_cells", panel, np.ascontiguousarray(frame), ctypes.c_int64(channels), cells,
        ctypes.c_int64(height * width), ctypes.c_float(float(weight)), int(keep_image),
    )  # fmt: skip
    return panel


def _require(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(f"{name}: of a wrong type, shape or layout, or out of range")


def _is(array: NDArray[Any], dtype: Any, shape: tuple[int, ...], *, whole: bool = True) -> bool:
    """Whether an array has this type and shape, and its rows, or all of it, lie in one piece."""
    strides = array.strides if array.size else ()
    in_pieces = bool(strides) and (strides[-1] != array.itemsize or strides[0] % array.itemsize)
    layout = array.flags.c_contiguous if whole else not in_pieces
    return array.dtype == dtype and array.shape == shape and bool(layout)


def _corners(rects: NDArray[np.integer[Any]], height: int, width: int) -> NDArray[np.int64]:
    """Rectangles ``[n, 4]`` for C: each within the image, none empty."""
    _require(rects.ndim == 2 and rects.shape[1] == 4, "rects")
    corners = np.ascontiguousarray(rects, np.int64)
    x0, x1, y0, y1 = corners.T
    within = (x0 >= 0) & (x0 < x1) & (x1 <= width) & (y0 >= 0) & (y0 < y1) & (y1 <= height)
    _require(bool(within.all()), "rects")
    return corners


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the library; arrays are passed as the addresses of their data."""
    getattr(library(), name)(
        *(
            ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else value
            for value in arguments
        )
    )
