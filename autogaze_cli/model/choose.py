"""Choosing tokens from a decoder step's scores, for many rows at once.

Source: inference spec 3.6 steps 6 to 12, 3.9, 4.2, 8.3. Every rule is a row's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.budget import CoverageTracker
from autogaze_cli.model.config import GazeConfig

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FrameGaze:
    """The gaze of ``b`` rows at one frame, in order of choice.

    Attributes:
        ids: Ids within the frame, the padding id where ``padded``, ``int64 [b, slots]``.
        padded: True for padded slots and past a row's end, ``bool [b, slots]``.
        confidences: 0 where padded, ``float32 [b, slots]``.
        counts: Slots each row needed, ``int64 [b]``.
    """

    ids: Ids
    padded: NDArray[np.bool_]
    confidences: Scores
    counts: Ids


class Chooser:
    """Collects the tokens of ``rows`` rows in one frame, a decoder step at a time."""

    def __init__(
        self,
        config: GazeConfig,
        rows: int,
        max_tokens: int,
        task_loss_requirement: float | None = None,
        coverage: float | None = None,
    ) -> None:
        self.eos = config.eos_token_id
        max_tokens = min(max_tokens, config.num_vision_tokens_each_frame)
        self.requirement = task_loss_requirement
        self.allowed = np.ones((rows, config.vocab_size), bool)
        self.allowed[:, self.eos] = False
        self.ids = np.full((rows, max_tokens), self.eos, np.int64)
        self.confidences = np.zeros((rows, max_tokens), np.float32)
        self.counts = np.zeros(rows, np.int64)
        self.coverage: list[CoverageTracker] = []
        if coverage is not None:
            self.coverage = [CoverageTracker(config.layout, coverage) for _ in range(rows)]

    def step(
        self, rows: Ids, logits: Scores, losses: Scores
    ) -> tuple[list[Ids], NDArray[np.bool_]]:
        """Choose up to ``K`` tokens for each of some rows.

        Args:
            rows: Indices of the rows that have not finished, ``[a]``.
            logits: Their scores, ``[a, K, vocabulary]``.
            losses: Their predicted losses, ``[a, K]``.

        Returns:
            Each row's valid tokens of this step, and which of the rows go on.
        """
        allowed = self.allowed[rows][:, None] & np.isfinite(logits)
        scores = np.where(allowed, logits, -np.inf).astype(np.float32)  # [a, K, vocabulary]
        each = np.arange(len(rows))
        k = losses.shape[1]
        tokens = np.empty((len(rows), k), np.int64)
        for i in range(k):
            tokens[:, i] = scores[:, i].argmax(axis=1)  # the lowest id wins a tie
            scores[each, i + 1 :, tokens[:, i]] = -np.inf
        chosen = np.take_along_axis(scores, tokens[..., None], axis=2)[..., 0]
        # A row's chunk ends at its budget, or where no id is left for it.
        room = np.minimum(self.ids.shape[1] - self.counts[rows], k)
        exhausted = np.isneginf(chosen)
        sizes = np.where(exhausted.any(axis=1), exhausted.argmax(axis=1), k)
        sizes = np.minimum(sizes, room)
        padded = self._padded(rows, losses)
        confidences = np.where(padded, 0, _confidences(scores, chosen))
        chunks = []
        for row, size, ids, pad, share in zip(
            rows, sizes, tokens, padded, confidences, strict=True
        ):
            at = slice(self.counts[row], self.counts[row] + size)
            self.ids[row, at] = np.where(pad, self.eos, ids)[:size]
            self.confidences[row, at] = share[:size]
            self.allowed[row, ids[:size]] = False
            chunks.append(ids[:size][~pad[:size]])
            if self.coverage:
                for token in chunks[-1]:
                    self.coverage[row].mark(int(token))
        self.counts[rows] += sizes
        running = (sizes == k) & ~padded.any(axis=1)
        running &= self.counts[rows] < self.ids.shape[1]
        if self.coverage:
            running &= ~np.array([self.coverage[row].done for row in rows])
        return chunks, running

    def _padded(self, rows: Ids, losses: Scores) -> NDArray[np.bool_]:
        """Which slots are suppressed, each judged by itself; a frame's first slot never is."""
        if self.requirement is None:
            return np.zeros(losses.shape, bool)
        padded = losses <= np.float32(self.requirement)
        padded[self.counts[rows] == 0, 0] = False
        return padded

    def gaze(self) -> FrameGaze:
        """What was chosen so far, cut to the longest row."""
        longest = self.counts.max()
        ids = self.ids[:, :longest]
        return FrameGaze(ids, ids == self.eos, self.confidences[:, :longest], self.counts)


def _confidences(scores: Scores, chosen: Scores) -> Scores:
    """The chosen ids' shares of those still allowed, ``[a, K]``, the maximum not subtracted.

    A share that overflows or underflows counts as 1. Source: inference spec 4.2.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shares = np.exp(chosen) / np.exp(scores).sum(axis=2, dtype=np.float32)
    return np.where(np.isfinite(shares) & (shares > 0), shares, np.float32(1))
