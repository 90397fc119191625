"""What sources without a model share: scores for the cells of one grid, and a choice among them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.budget import ratio_budget
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace

Scores = NDArray[np.float64]
"""A score for each cell of a frame, in row-major order, ``[grid * grid]``; infinity is allowed."""

EPSILON = float(np.finfo(np.float32).eps)
"""The lowest confidence of a chosen cell: a fixation counts if its confidence is above 0."""

_HALF = np.float32(0.5)


class CellSource(GazeSource):
    """Gazes at whole frames, by cells of a square grid.

    A source says how cells score and which scores are enough; the budget is then the same for all:

    * as it is: the cells whose score is above ``threshold``, at most
      ``max_gaze_tokens_each_frame`` of them, the highest first;
    * ``exact``: that many cells in every frame, the highest;
    * ``pruning_rate``: the highest scores of the whole clip, whichever frames they are in.

    Equal scores are taken in the order of frames, rows and columns.

    Attributes:
        grid: Cells per side.
        threshold: The score above which a cell is chosen.
    """

    threshold: float

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self.grid = settings.patch_diff_grid
        self.max_gaze_tokens_each_frame = self._tokens()
        self._capped = self.max_gaze_tokens_each_frame < self.grid**2

    def _tokens(self) -> int:
        """The maximum tokens per frame, by the rules of a model's budget."""
        s, cells = self.settings, self.grid**2
        if s.gazing_ratio is not None:
            return ratio_budget(s.gazing_ratio, cells)
        return min(max(s.max_gaze_tokens_each_frame or self.default_tokens, s.top_k), cells)

    @property
    def default_tokens(self) -> int:
        """The maximum tokens per frame where none is given."""
        return self.grid**2

    @property
    def whole_clip(self) -> bool:
        """Whether no frame's gaze is known before all frames have been seen."""
        return self.settings.pruning_rate is not None

    def tile_count(self, width: int, height: int) -> int:
        """Always 1: frames are seen whole."""
        return 1

    @abstractmethod
    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """Score the cells of frames of one size, in order.

        Yields:
            Every frame once, in order, with its scores.
        """

    def confidence(self, scores: Scores) -> NDArray[np.floating]:
        """The confidence of chosen cells: the score, within float32 epsilon to 1."""
        return np.clip(scores, EPSILON, 1)

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """See ``GazeSource.trace``; with ``pruning_rate`` all frames are held at once."""
        if self.whole_clip:
            held = list(frames)
            yield from self.gaze_again(held, self.clip_scores(held))
            return
        for frame, scores in self.scores(frames):
            yield frame, self._gaze(frame, scores, self.choose(scores))

    def clip_scores(self, frames: Iterable[Frame]) -> list[Scores]:
        """The scores of all frames, which take far less memory than the frames."""
        return [scores for _, scores in self.scores(frames)]

    def gaze_again(
        self, frames: Iterable[Frame], clip_scores: list[Scores]
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """Gaze at the frames that ``clip_scores`` was made of, by ``pruning_rate``."""
        assert self.settings.pruning_rate is not None
        kept = kept_cells(np.stack(clip_scores), self.settings.pruning_rate)
        for frame, scores, keep in zip(frames, clip_scores, kept, strict=True):
            chosen = best_first(scores)
            yield frame, self._gaze(frame, scores, self._cap(chosen[keep[chosen]]))

    def choose(self, scores: Scores) -> NDArray[np.int64]:
        """The chosen cells of a frame, best first."""
        order = best_first(scores)
        if not self.settings.exact:
            order = order[: np.count_nonzero(scores > self.threshold)]
        return self._cap(order)

    def _cap(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        return chosen[: self.max_gaze_tokens_each_frame]

    def _gaze(self, frame: Frame, scores: Scores, chosen: NDArray[np.int64]) -> FrameTrace:
        full = len(chosen) == self.max_gaze_tokens_each_frame
        return FrameTrace(
            index=frame.index,
            time=frame.time,
            fixations=cell_fixations(self.grid, chosen, self.confidence(scores[chosen])),
            stop_probability=float(not (full and (self._capped or self.settings.exact))),
            num_gazing=np.array([len(chosen)], np.int32),
        )


def best_first(scores: Scores) -> NDArray[np.int64]:
    """The cells by falling score; equal ones in row-major order."""
    return np.argsort(-scores, kind="stable")


def kept_cells(scores: Scores, pruning_rate: float) -> NDArray[np.bool_]:
    """The highest scores of a clip; equal ones in the order of frames, rows and columns.

    Args:
        scores: Of all frames, ``[frames, cells]``.
        pruning_rate: The fraction to leave out; at least one frame's worth of cells is kept.

    >>> kept_cells(np.array([[255.0, 255.0], [0.5, 0.1], [0.2, 0.5]]), 0.5).tolist()
    [[True, True], [True, False], [False, False]]
    """
    frames, cells = scores.shape
    count = max(cells, int(cells * frames * (1 - pruning_rate)))
    kept = np.zeros(frames * cells, bool)
    kept[best_first(scores.ravel())[:count]] = True
    return kept.reshape(frames, cells)


def cell_fixations(
    grid: int, chosen: NDArray[np.integer], confidence: NDArray[np.floating]
) -> Fixations:
    """Cells of a square grid as fixations, in the order given; ids are row-major."""
    row, col = np.divmod(chosen, grid)
    side = np.float32(grid)
    n = len(chosen)
    return Fixations.from_columns(
        {
            "x": (col.astype(np.float32) + _HALF) / side,
            "y": (row.astype(np.float32) + _HALF) / side,
            "width": np.full(n, np.float32(1) / side),
            "height": np.full(n, np.float32(1) / side),
            "confidence": confidence,
            "grid": np.full(n, grid),
            "token": chosen,
        }
    )
