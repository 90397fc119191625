"""The gaze source without a model: the cells that changed since the last frame.

A cell's score is the mean absolute difference of two *normalised* frames over its pixels and its
channels. Normalisation is ``((pixel / 127.5 - 1) - mean) / std``. In a difference all of it cancels
but the factor ``1 / (127.5 * std)``, so for 8-bit frames the score is::

    sum over channels of (sum of |current - previous| in the cell) / (127.5 * std)
    ------------------------------------------------------------------------------
                            3 * pixels of the cell

with exact integer sums: no float image is ever made. Source: inference spec 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings, MaskSource
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = float(np.finfo(np.float32).eps)
_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchDiff:
    """Finds the cells of a square grid whose score is above a threshold.

    Attributes:
        grid: Cells per side.
        threshold: In normalised units; a change of one grey level in all channels scores 0.0347.
        std: Standard deviation of the normalisation, per channel.
    """

    grid: int = 14
    threshold: float = 0.45
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def fixations(
        self, previous: NDArray[np.uint8] | Tensor | None, current: NDArray[np.uint8] | Tensor
    ) -> Fixations:
        """The cells that changed, highest score first, equal scores in row-major order.

        Args:
            previous: The frame before, RGB, uint8 ``[h, w, 3]``, an array or a tensor on any
                device; None for the first frame, which has no fixations.
            current: The frame, of the same size.
        """
        if previous is None:
            return Fixations.empty()
        return self.select(self.scores(previous, current))

    def scores(
        self, previous: NDArray[np.uint8] | Tensor, current: NDArray[np.uint8] | Tensor
    ) -> NDArray[np.float32]:
        """Every cell's score, float32 ``[grid, grid]``, from RGB frames, uint8 ``[h, w, 3]``."""
        height, width, channels = current.shape
        rows, cols = _bins(height, self.grid), _bins(width, self.grid)
        if isinstance(previous, np.ndarray) and isinstance(current, np.ndarray):
            # By bands of rows, so that the differences are still in the cache when summed.
            bands = np.stack(
                [
                    _absolute_difference(previous[a:b], current[a:b]).sum(0, np.uint32)
                    for a, b in rows
                ]
            )
            sums = _sums(bands.swapaxes(0, 1), cols).swapaxes(0, 1)  # [grid, grid, channels]
        else:
            sums = _sums_of_tensors(previous, current, rows, cols)
        weights = 1 / (127.5 * np.asarray(self.std, np.float64) * channels)
        scores: NDArray[np.float64] = sums @ weights / _areas(rows, cols)
        return scores.astype(np.float32)

    def select(self, scores: NDArray[np.float32]) -> Fixations:
        """The cells whose score is finite and above the threshold, as fixations.

        Their confidence is 1; at threshold 0 it is the score, within float32 epsilon to 1.
        """
        flat = scores.ravel()
        chosen = np.flatnonzero(np.isfinite(flat) & (flat > np.float32(self.threshold)))
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
        row, col = np.divmod(chosen, self.grid)
        side = np.float32(self.grid)
        n = len(chosen)
        return Fixations.from_columns(
            {
                "x": (col.astype(np.float32) + _HALF) / side,
                "y": (row.astype(np.float32) + _HALF) / side,
                "width": np.full(n, np.float32(1) / side),
                "height": np.full(n, np.float32(1) / side),
                "confidence": (
                    np.ones(n) if self.threshold > 0 else np.clip(flat[chosen], _EPSILON, 1)
                ),
                "grid": np.full(n, self.grid),
                "token": chosen,
            }
        )


class PatchDiffSource(GazeSource):
    """Gazes at the cells that differ from the frame before. Source: inference spec 9."""

    mask_source: MaskSource = "patch-diff"

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self.max_gaze_tokens_each_frame = settings.patch_diff_grid**2
        self._patch_diff = PatchDiff(
            grid=settings.patch_diff_grid, threshold=settings.patch_diff_threshold
        )

    def tile_count(self, width: int, height: int) -> int:
        """Always 1: frames are compared whole."""
        return 1

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """See ``GazeSource.trace``; a stream's first frame has nothing to differ from."""
        previous: NDArray[np.uint8] | None = None
        for frame in frames:
            if previous is None:
                fixations = Fixations.empty()
            else:
                fixations = self._patch_diff.fixations(previous, frame.rgb)
            previous = frame.rgb
            yield (
                frame,
                FrameTrace(
                    index=frame.index,
                    time=frame.time,
                    fixations=fixations,
                    stop_probability=1.0,
                    num_gazing=np.array([len(fixations)], np.int32),
                ),
            )


def _absolute_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(a, b) - np.minimum(a, b)


def _bins(length: int, grid: int) -> list[tuple[int, int]]:
    """First and one past the last pixel of each cell; neighbours may share one.

    >>> _bins(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]


def _sums(values: NDArray[Any], bins: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Sums over the bins of the first axis, ``[len(bins), ...]``; exact for whole numbers."""
    return np.stack([values[a:b].sum(axis=0, dtype=np.float64) for a, b in bins])


def _sums_of_tensors(
    previous: Any,
    current: Any,
    rows: Sequence[tuple[int, int]],
    cols: Sequence[tuple[int, int]],
) -> NDArray[np.float64]:
    """Absolute differences of tensors, summed on their device over each cell: ``[rows, cols, 3]``.

    Whole numbers, so exact; only they are read back.
    """
    difference = (previous.int() - current.int()).abs_()
    bands = difference.new_empty((len(rows), *difference.shape[1:]))
    for i, (a, b) in enumerate(rows):
        bands[i] = difference[a:b].sum(0)
    sums = difference.new_empty((len(rows), len(cols), difference.shape[2]))
    for i, (a, b) in enumerate(cols):
        sums[:, i] = bands[:, a:b].sum(1)
    return np.asarray(sums.cpu(), np.float64)


def _areas(rows: Sequence[tuple[int, int]], cols: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Pixels of each cell."""
    heights, widths = np.diff(rows)[:, 0], np.diff(cols)[:, 0]
    return np.outer(heights, widths)
