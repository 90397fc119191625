"""The gaze source that chooses evenly spaced cells, others in each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cells import CellSource, Scores


class UniformSource(CellSource):
    """Gazes at every n-th cell in row-major order, one cell further in each frame.

    With K tokens of ``cells``, n is ``cells / K``: the cells are ``floor(i * cells / K) + frame``.
    """

    mask_source = "uniform"
    threshold = 0.0

    @property
    def default_tokens(self) -> int:
        """A tenth of the cells, at least 1."""
        return max(1, self.grid**2 // 10)

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``: 1 for the cells of a frame's turn, 0 for the others."""
        cells, count = self.grid**2, self.max_gaze_tokens_each_frame
        spaced = np.arange(count) * cells // count
        for frame in frames:
            scores = np.zeros(cells)
            scores[(spaced + frame.index) % cells] = 1
            yield frame, scores
