"""The gaze source of Efficient Video Sampling: the patches least like those of the frame before.

A patch's score is 1 - the cosine similarity of its pixels (RGB, 0 to 255) to those of the same
patch in the frame before; every patch of the first frame scores 255. Over the whole clip the
``max(cells, int(cells * frames * (1 - pruning_rate)))`` highest scores are kept. A patch of zeros
(black) has no direction; its similarity counts as 0, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cell_sums import product_sums
from autogaze_cli.sources.cells import CellSource, Scores

FIRST_FRAME = 255.0
"""The score of every patch of a clip's first frame."""

PRUNING_RATE = 0.75
"""The fraction of a clip's patches that is left out, unless another is given."""


class EvsSource(CellSource):
    """Keeps the patches of a clip that changed direction most; exact counts need no whole clip."""

    mask_source = "evs"
    threshold = 0.0

    def __init__(self, settings: GazeSettings) -> None:
        if settings.pruning_rate is None and not settings.exact:
            settings = replace(settings, pruning_rate=PRUNING_RATE)
        super().__init__(settings)

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``."""
        previous: NDArray[np.uint8] | None = None
        squares = np.zeros((self.grid, self.grid))
        for frame in frames:
            if previous is None:
                _, squares = _products(frame.rgb, frame.rgb, self.grid)
                scores = np.full(self.grid**2, FIRST_FRAME)
            else:
                before = squares
                products, squares = _products(previous, frame.rgb, self.grid)
                scores = 1 - _cosine(products, before, squares).ravel()
            previous = frame.rgb
            yield frame, scores


def _cosine(
    products: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cosine similarity from sums of products and of squares; exactly 1 for equal vectors."""
    lengths = np.sqrt(a * b)
    return np.divide(products, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _products(a: NDArray[np.uint8], b: NDArray[np.uint8], grid: int) -> list[NDArray[np.float64]]:
    """The sums of ``a * b`` and of ``b * b`` over each cell, all channels together."""
    return [sums.sum(2).astype(np.float64) for sums in product_sums(a, b, grid)]
