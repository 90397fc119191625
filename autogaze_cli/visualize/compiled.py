"""The fast version of drawing, in C: see ``draw.c``.

The reference is plain numpy, in ``panels``, ``rects`` and ``geometry``; tests hold the two equal to
the byte. The C code is built when the package is installed and a C compiler is available; without
it, or with ``AUTOGAZE_NATIVE=0`` in the environment, numpy draws.
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
    corners, which = np.ascontiguousarray(rects, np.int64), np.ascontiguousarray(colours, np.int64)
    _call(
        "draw_cells", canvas, ctypes.c_int64(canvas.strides[0] // 4), corners, which,
        ctypes.c_int64(len(corners)), borders, fills,
    )  # fmt: skip


def paint(mask: NDArray[np.bool_], rects: NDArray[np.integer[Any]]) -> None:
    """Set the pixels of ``mask``, ``[height, width]`` in C order, that some rectangle covers."""
    corners = np.ascontiguousarray(rects, np.int64)
    _call("paint", mask, ctypes.c_int64(mask.shape[1]), corners, ctypes.c_int64(len(corners)))


def blend_cells(frame: Image, cells: Image, alpha: float, *, keep_image: bool) -> Image:
    """The fast version of :func:`autogaze_cli.visualize.panels.blend_cells`."""
    height, width, channels = frame.shape
    panel = np.empty((height, width, 4), np.uint8)
    weight = np.clip(np.float32(alpha), np.float32(0), np.float32(1))
    _call(
        "blend_cells", panel, np.ascontiguousarray(frame), ctypes.c_int64(channels), cells,
        ctypes.c_int64(height * width), ctypes.c_float(float(weight)), int(keep_image),
    )  # fmt: skip
    return panel


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the library; arrays are passed as the addresses of their data."""
    getattr(library(), name)(
        *(
            ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else value
            for value in arguments
        )
    )
