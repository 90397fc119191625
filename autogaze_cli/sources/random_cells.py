"""The gaze source that chooses cells at random: what any other has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cells import CellSource, Scores


class RandomSource(CellSource):
    """Gazes at distinct cells drawn from ``seed`` and the frame's number: a tenth by default."""

    mask_source = "random"
    threshold = -np.inf

    @property
    def default_tokens(self) -> int:
        """A tenth of the cells, at least 1."""
        return max(1, self.grid**2 // 10)

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``: a shuffled order, whatever is in the frame."""
        for frame in frames:
            shuffle = np.random.default_rng([self.settings.seed, frame.index])
            yield frame, shuffle.permutation(self.grid**2).astype(np.float64)

    def confidence(self, scores: Scores) -> NDArray[np.floating]:
        """Always 1: no choice is better than another."""
        return np.ones(len(scores))
