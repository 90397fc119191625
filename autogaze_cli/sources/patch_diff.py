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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cell_sums import cell_areas, difference_sums
from autogaze_cli.sources.cells import EPSILON, CellSource, Scores, cell_fixations

if TYPE_CHECKING:
    from torch import Tensor


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
        sums = difference_sums(previous, current, self.grid)
        weights = 1 / (127.5 * np.asarray(self.std, np.float64) * channels)
        scores: NDArray[np.float64] = sums @ weights / cell_areas(height, width, self.grid)
        return scores.astype(np.float32)

    def select(self, scores: NDArray[np.float32]) -> Fixations:
        """The cells whose score is finite and above the threshold, as fixations.

        Their confidence is 1; at threshold 0 it is the score, within float32 epsilon to 1.
        """
        flat = scores.ravel()
        chosen = np.flatnonzero(np.isfinite(flat) & (flat > np.float32(self.threshold)))
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
        return cell_fixations(self.grid, chosen, self.confidence(flat[chosen]))

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """The confidence of chosen cells: 1, or at threshold 0 the score, epsilon to 1."""
        return np.ones(len(scores)) if self.threshold > 0 else np.clip(scores, EPSILON, 1)


class PatchDiffSource(CellSource):
    """Gazes at the cells that differ from the frame before. Source: inference spec 9."""

    mask_source = "patch-diff"

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self._patch_diff = PatchDiff(
            grid=settings.patch_diff_grid, threshold=settings.patch_diff_threshold
        )
        self.threshold = float(np.float32(settings.patch_diff_threshold))

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``; a stream's first frame has nothing to differ from."""
        previous: NDArray[np.uint8] | None = None
        for frame in frames:
            if previous is None:
                scores = np.zeros(self.grid**2)
            else:
                scores = self._patch_diff.scores(previous, frame.rgb).ravel().astype(np.float64)
            previous = frame.rgb
            yield frame, scores

    def confidence(self, scores: Scores) -> NDArray[np.floating]:
        """See ``PatchDiff.confidence``."""
        return self._patch_diff.confidence(scores)
