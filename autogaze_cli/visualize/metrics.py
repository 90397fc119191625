"""Numbers about composed frames: PSNR, moving averages, their text, and a render's summary."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.visualize.geometry import nearest_native_grid
from autogaze_cli.visualize.panels import COLOURS
from autogaze_cli.visualize.rects import Image, cell_extents

if TYPE_CHECKING:
    from autogaze_cli.visualize.compositor import FrameView

EMA_ALPHA = 0.15
"""Weight of the newest value in a moving average. Source: visualization spec 5.2, 5.3."""

MASK_PALETTE: dict[str, list[int]] = {
    f"{grid}x{grid}": list(COLOURS[grid]) for grid in sorted(COLOURS, key=str)
}
"""Native grid to RGB, in the order of the metrics document. Source: visualization spec 6.7."""

# The squares of this many bytes sum to less than 2**32; a multiple of the four bytes of RGBA.
_CHUNK = 1 << 16


def squared_error(reference: Image, candidate: Image) -> int:
    """The sum of squared differences over R, G and B.

    Args:
        reference: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        candidate: Of the same shape.

    Raises:
        ConfigError: The shapes differ, or are not of images with pixels.
    """
    shape = reference.shape
    if shape != candidate.shape or len(shape) != 3 or shape[2] not in (3, 4) or not reference.size:
        raise ConfigError(f"no PSNR between images of shapes {shape} and {candidate.shape}")
    total = 0
    a, b = reference.reshape(-1), candidate.reshape(-1)
    larger, smaller = np.empty((2, min(a.size, _CHUNK)), np.uint8)
    squares = np.empty(larger.size, np.uint16)
    for start in range(0, a.size, _CHUNK):
        x, y = a[start : start + _CHUNK], b[start : start + _CHUNK]
        difference, square = larger[: x.size], squares[: x.size]
        np.maximum(x, y, out=difference)
        difference -= np.minimum(x, y, out=smaller[: x.size])
        if shape[2] == 4:
            difference[3::4] = 0
        np.copyto(square, difference)
        square *= square
        total += int(square.sum(dtype=np.uint32))
    return total


def psnr(reference: Image, candidate: Image) -> float:
    """Peak signal-to-noise ratio over R, G and B, in dB; infinite for equal images.

    Args:
        reference: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        candidate: Of the same shape.

    Raises:
        ConfigError: The shapes differ, or are not of images with pixels.

    Source: visualization spec 5.1.
    """
    error = squared_error(reference, candidate)
    if error == 0:
        return math.inf
    samples = 3 * reference.shape[0] * reference.shape[1]
    return 10 * math.log10(255**2 / (error / samples))


@dataclass(slots=True)
class Ema:
    """A moving average that starts again at every infinite value. Source: visualization spec 5.2.

    Attributes:
        alpha: Weight of the newest value, clamped to 0..1.
        current: The newest value; None before the first.
        ema: The average; None before the first value.
    """

    alpha: float = EMA_ALPHA
    current: float | None = None
    ema: float | None = None

    def record(self, value: float) -> None:
        """Take in the next value."""
        self.current = value
        if self.ema is not None and math.isfinite(self.ema) and math.isfinite(value):
            alpha = min(max(self.alpha, 0.0), 1.0)
            self.ema = self.ema * (1 - alpha) + value * alpha
        else:
            self.ema = value


class RatioEma(Ema):
    """An average of ratios, each made one by :func:`sanitise_ratio` first."""

    __slots__ = ()

    def record(self, value: float) -> None:
        """Take in the next ratio."""
        super().record(sanitise_ratio(value))


class PsnrEma(Ema):
    """An average of PSNR values that passes over what is none: NaN and minus infinity."""

    __slots__ = ()

    def record(self, value: float) -> None:
        """Take in the next PSNR in dB."""
        if value > -math.inf:
            super().record(value)


class RenderEma(Ema):
    """An average that infinite values leave alone once it is finite.

    Source: visualization spec 5.3.
    """

    __slots__ = ()

    def record(self, value: float) -> None:
        """Take in the next value."""
        if self.ema is None or not math.isfinite(self.ema) or math.isfinite(value):
            super().record(value)


def sanitise_ratio(value: float) -> float:
    """The ratio clamped to 0..1; 0 when it is no number. Source: visualization spec 5.4."""
    return max(0.0, min(value, 1.0)) if math.isfinite(value) else 0.0


def fps_from_ms(milliseconds: float) -> float:
    """Frames a second at a time for one; 0 for no time. Source: visualization spec 5.4."""
    return 1000 / milliseconds if milliseconds > 0 else 0.0


def format_fps(value: float) -> str:
    """Five characters, ``030.0``. Source: visualization spec 5.4."""
    return f"{max(0.0, min(value, 999.9)):05.1f}" if math.isfinite(value) else "---.-"


def format_gaze_ratio(value: float) -> str:
    """Six characters, ``051.2%``. Source: visualization spec 5.4."""
    return f"{sanitise_ratio(value) * 100:05.1f}%" if math.isfinite(value) else "---.-%"


def format_psnr(value: float) -> str:
    """Five characters, ``042.2``; 999.9 for infinity. Source: visualization spec 5.4."""
    return "999.9" if value == math.inf else format_fps(value)


def format_psnr_db(value: float) -> str:
    """Two decimals and the unit, ``42.25 dB``. Source: visualization spec 5.4."""
    if value == math.inf:
        return "inf dB"
    return f"{value:.2f} dB" if math.isfinite(value) else "nan dB"


def frame_line(number: int, frames: int, view: FrameView) -> str:
    """The progress line of one rendered frame.

    Args:
        number: Of the frame, counted from 1.
        frames: How many there are.
        view: What was made of the frame.

    Source: visualization spec 6.6.
    """
    return (
        f"frame {number:02}/{frames}: points={len(view.fixations)} "
        f"mask={view.mask_ratio * 100:.2f}% update={view.update_ratio * 100:.2f}% "
        f"psnr={format_psnr_db(view.psnr_db)}"
    )


class RenderMetrics:
    """Collects the numbers of a render frame by frame; memory does not grow with the frames.

    Args:
        tile_size: Side of a tile in pixels, to guess the grid of cells that name none.
    """

    def __init__(self, tile_size: int = 224) -> None:
        self._tile_size = tile_size
        self._mask = _Series()
        self._update = _Series()
        self._psnr = _Series()
        self._update_ema = RenderEma()
        self._psnr_ema = RenderEma()
        self._grids: Counter[int] = Counter()

    def add(self, view: FrameView) -> None:
        """Take in the next frame."""
        self._mask.add(view.mask_ratio)
        self._update.add(view.update_ratio)
        self._update_ema.record(view.update_ratio)
        if math.isfinite(view.psnr_db):
            self._psnr.add(view.psnr_db)
        self._psnr_ema.record(view.psnr_db)
        self._grids.update(_histogram_grids(view, self._tile_size))

    def summary(self) -> dict[str, Any]:
        """The keys ``average_mask_ratio`` to ``cell_grid_histogram`` of the metrics document.

        Raises:
            InputError: No frame was added.

        Source: visualization spec 6.7.
        """
        if not self._mask.count:
            raise InputError("no metrics of a render without frames")
        psnr_ema = self._psnr_ema.ema
        histogram = {f"{grid}x{grid}": count for grid, count in self._grids.items()}
        return {
            "average_mask_ratio": self._mask.mean,
            "average_update_ratio": self._update.mean,
            "final_update_ratio_ema": self._update_ema.ema,
            "min_update_ratio": self._update.least,
            "max_update_ratio": self._update.most,
            "average_output_psnr_db": self._psnr.mean,
            "final_output_psnr_ema_db": (
                psnr_ema if psnr_ema is not None and math.isfinite(psnr_ema) else None
            ),
            "min_output_psnr_db": self._psnr.least,
            "max_output_psnr_db": self._psnr.most,
            "positive_fixations": self._grids.total(),
            "cell_grid_histogram": dict(sorted(histogram.items())),
        }


@dataclass(slots=True)
class _Series:
    """A sum in the order of the values, as the metrics document wants it, and their extremes."""

    count: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = value if self.least is None else min(self.least, value)
        self.most = value if self.most is None else max(self.most, value)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


def _histogram_grids(view: FrameView, tile_size: int) -> list[int]:
    """The grid of each active cell; the nearest to its size in tiles where it names none.

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
