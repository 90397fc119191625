"""The gaze source of Run-Length Tokenization: the tubelets that differ from the one before.

Frames are normalised with mean 0.5 and standard deviation 0.5 in every channel, so that pixels lie
in -1 to 1. The score of a patch in tubelet ``k >= 1`` is the mean, over its pixels and channels, of
``|last frame of tubelet k - first frame of tubelet k - 1|``; it is kept where that is above the
threshold. Tubelet 0 is kept whole. The mean of the normalisation cancels, so that the score is one
division of whole numbers: the sum of ``|difference|`` by 127.5 times the values of the patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cell_sums import cell_areas, difference_sums
from autogaze_cli.sources.cells import CellSource, Scores
from autogaze_cli.trace import Trace


class RltSource(CellSource):
    """Gazes at the patches whose run of like tubelets ends.

    All frames of a tubelet have the same gaze, and a tubelet's frames are held until its last one
    has come. A last tubelet that is not full ends with the last frame there is.
    """

    mask_source = "rlt"

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self.threshold = settings.rlt_threshold

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``."""
        frames, before = iter(frames), None
        while tubelet := list(islice(frames, self.settings.rlt_tubelet)):
            if before is None:
                scores = np.full(self.grid**2, np.inf)
            else:
                scores = rlt_scores(before, tubelet[-1].rgb, self.grid)
            before = tubelet[0].rgb
            for frame in tubelet:
                yield frame, scores


def rlt_scores(first: NDArray[np.uint8], last: NDArray[np.uint8], grid: int) -> Scores:
    """Every patch's mean absolute difference, row-major, of frames normalised to -1 to 1.

    Args:
        first: The first frame of the tubelet before, RGB, uint8 ``[h, w, 3]``.
        last: The last frame of the tubelet.
        grid: Patches per side.
    """
    height, width, channels = last.shape
    sums = difference_sums(first, last, grid).sum(2)
    scores: Scores = sums / (127.5 * channels * cell_areas(height, width, grid))
    return scores.ravel()


def run_lengths(trace: Trace, tubelet: int) -> NDArray[np.int64]:
    """How many tubelets each kept patch stands for, itself included.

    Args:
        trace: Of this source.
        tubelet: Frames per tubelet, as it was traced with.

    Returns:
        The run length of every fixation of the trace, in its order.
    """
    tubelets = -(-len(trace) // tubelet)
    at = np.repeat(np.arange(len(trace)), np.diff(trace.offsets)) // tubelet
    pairs = np.stack([trace.fixations.token.astype(np.int64), at], axis=1)
    kept, which = np.unique(pairs, axis=0, return_inverse=True)
    token, start = kept.T
    following = np.append(start, tubelets)[1:]
    following[:-1][token[1:] != token[:-1]] = tubelets
    lengths: NDArray[np.int64] = (following - start)[which.ravel()]
    return lengths
