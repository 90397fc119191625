"""Metrics of composed frames: moving averages, progress lines, the summary of a render."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from autogaze_cli.errors import InputError
from autogaze_cli.visualize.compositor import FrameView
from autogaze_cli.visualize.geometry import nearest_native_grid
from autogaze_cli.visualize.panels import COLOURS
from autogaze_cli.visualize.rects import cell_extents

SMOOTHING = 0.15
"""Weight of the newest value in a moving average. Source: visualization spec 5.2, 5.3."""

MASK_PALETTE: dict[str, list[int]] = {
    f"{grid}x{grid}": list(COLOURS[grid]) for grid in sorted(COLOURS, key=str)
}
"""Native grid to RGB, in the order of the metrics document. Source: visualization spec 6.7."""


@dataclass(slots=True)
class MovingAverage:
    """An exponential moving average that ignores infinite values once it is finite.

    Attributes:
        value: The average; None before the first value.

    Source: visualization spec 5.3.
    """

    value: float | None = None

    def add(self, value: float) -> None:
        """Include the next value."""
        if self.value is None or not math.isfinite(self.value):
            self.value = value
        elif math.isfinite(value):
            self.value = self.value * (1 - SMOOTHING) + value * SMOOTHING


def format_psnr_db(value: float) -> str:
    """Two decimals and the unit, ``42.25 dB``. Source: visualization spec 5.4."""
    if value == math.inf:
        return "inf dB"
    return f"{value:.2f} dB" if math.isfinite(value) else "nan dB"


def frame_line(number: int, frames: int, view: FrameView) -> str:
    """The progress line of one rendered frame.

    Args:
        number: Number of the frame, counted from 1.
        frames: Total number of frames.
        view: The composed frame.

    Source: visualization spec 6.6.
    """
    return (
        f"frame {number:02}/{frames}: points={len(view.fixations)} "
        f"mask={view.mask_ratio * 100:.2f}% update={view.update_ratio * 100:.2f}% "
        f"psnr={format_psnr_db(view.psnr_db)}"
    )


class RenderMetrics:
    """Accumulates the metrics of a render frame by frame, in constant memory.

    Args:
        tile_size: Tile size in pixels, to infer the grid of cells that have none.
    """

    def __init__(self, tile_size: int = 224) -> None:
        self._tile_size = tile_size
        self._mask = _Series()
        self._update = _Series()
        self._psnr = _Series()
        self._update_ema = MovingAverage()
        self._psnr_ema = MovingAverage()
        self._grids: Counter[int] = Counter()

    def add(self, view: FrameView) -> None:
        """Include the next frame."""
        self._mask.add(view.mask_ratio)
        self._update.add(view.update_ratio)
        self._update_ema.add(view.update_ratio)
        if math.isfinite(view.psnr_db):
            self._psnr.add(view.psnr_db)
        self._psnr_ema.add(view.psnr_db)
        self._grids.update(_histogram_grids(view, self._tile_size))

    def summary(self) -> dict[str, Any]:
        """The keys ``average_mask_ratio`` to ``cell_grid_histogram`` of the metrics document.

        Raises:
            InputError: No frame was added.

        Source: visualization spec 6.7.
        """
        if not self._mask.count:
            raise InputError("a render without frames has no metrics")
        psnr_ema = self._psnr_ema.value
        histogram = {f"{grid}x{grid}": count for grid, count in self._grids.items()}
        return {
            "average_mask_ratio": self._mask.mean,
            "average_update_ratio": self._update.mean,
            "final_update_ratio_ema": self._update_ema.value,
            "min_update_ratio": self._update.minimum,
            "max_update_ratio": self._update.maximum,
            "average_output_psnr_db": self._psnr.mean,
            "final_output_psnr_ema_db": (
                psnr_ema if psnr_ema is not None and math.isfinite(psnr_ema) else None
            ),
            "min_output_psnr_db": self._psnr.minimum,
            "max_output_psnr_db": self._psnr.maximum,
            "positive_fixations": self._grids.total(),
            "cell_grid_histogram": dict(sorted(histogram.items())),
        }


@dataclass(slots=True)
class _Series:
    """A sum in the order of the values, as the metrics document wants it, and their extremes."""

    count: int = 0
    total: float = 0.0
    minimum: float | None = None
    maximum: float | None = None

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.minimum = value if self.minimum is None else min(self.minimum, value)
        self.maximum = value if self.maximum is None else max(self.maximum, value)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


def _histogram_grids(view: FrameView, tile_size: int) -> list[int]:
    """The grid of each active cell; inferred from its size within a tile where it has none.

    Source: visualization spec 6.6.
    """
    height, width = view.frame.shape[:2]
    cell_w, cell_h = cell_extents(view.fixations)
    longest = np.maximum(cell_w * np.float32(width), cell_h * np.float32(height))
    cells = np.float32(tile_size) / np.maximum(longest, np.float32(1))
    grids: list[int] = np.where(
        view.fixations.grid > 0, view.fixations.grid, nearest_native_grid(cells)
    ).tolist()
    return grids
