"""Choosing tokens from a decoder step's scores, for many sequences at once.

Source: inference spec 3.6 steps 6 to 12, 3.9, 4.2, 8.3. Every sequence is judged by itself.
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
    """The gaze of ``b`` sequences at one frame, in order of choice.

    Attributes:
        ids: Ids within the frame, the padding id where ``padded``, ``int64 [b, n]``.
        padded: True for suppressed tokens and past a sequence's end, ``bool [b, n]``.
        confidences: 0 where padded, ``float32 [b, n]``.
        counts: Tokens that each sequence needed, ``int64 [b]``.
    """

    ids: Ids
    padded: NDArray[np.bool_]
    confidences: Scores
    counts: Ids


class Chooser:
    """Collects the tokens of ``count`` sequences in one frame, one decoder step at a time."""

    def __init__(
        self,
        config: GazeConfig,
        count: int,
        max_tokens: int,
        task_loss_requirement: float | None = None,
        coverage: float | None = None,
    ) -> None:
        self.eos = config.eos_token_id
        max_tokens = min(max_tokens, config.num_vision_tokens_each_frame)
        self.requirement = task_loss_requirement
        self.allowed = np.ones((count, config.vocab_size), bool)
        self.allowed[:, self.eos] = False
        self.ids = np.full((count, max_tokens), self.eos, np.int64)
        self.confidences = np.zeros((count, max_tokens), np.float32)
        self.counts = np.zeros(count, np.int64)
        self.coverage: list[CoverageTracker] = []
        if coverage is not None:
            self.coverage = [CoverageTracker(config.layout, coverage) for _ in range(count)]

    def step(
        self, active: Ids, logits: Scores, losses: Scores
    ) -> tuple[list[Ids], NDArray[np.bool_]]:
        """Choose up to ``K`` tokens for each of some sequences.

        Args:
            active: Indices of the sequences that have not ended, ``[a]``.
            logits: Their scores, ``[a, K, vocabulary]``.
            losses: Their predicted losses, ``[a, K]``.

        Returns:
            The valid tokens of each in this step, and which of them go on.
        """
        allowed = self.allowed[active][:, None] & np.isfinite(logits)
        scores = np.where(allowed, logits, -np.inf).astype(np.float32)  # [a, K, vocabulary]
        each = np.arange(len(active))
        k = losses.shape[1]
        tokens = np.empty((len(active), k), np.int64)
        for i in range(k):
            tokens[:, i] = scores[:, i].argmax(axis=1)  # the lowest id wins a tie
            scores[each, i + 1 :, tokens[:, i]] = -np.inf
        chosen = np.take_along_axis(scores, tokens[..., None], axis=2)[..., 0]
        # A chunk ends at the budget, or where no id is left.
        room = np.minimum(self.ids.shape[1] - self.counts[active], k)
        exhausted = np.isneginf(chosen)
        sizes = np.where(exhausted.any(axis=1), exhausted.argmax(axis=1), k)
        sizes = np.minimum(sizes, room)
        padded = self._padded(active, losses)
        confidences = np.where(padded, 0, _confidences(scores, chosen))
        chunks = []
        for index, size, ids, pad, confidence in zip(
            active, sizes, tokens, padded, confidences, strict=True
        ):
            at = slice(self.counts[index], self.counts[index] + size)
            self.ids[index, at] = np.where(pad, self.eos, ids)[:size]
            self.confidences[index, at] = confidence[:size]
            self.allowed[index, ids[:size]] = False
            chunks.append(ids[:size][~pad[:size]])
            if self.coverage:
                for token in chunks[-1]:
                    self.coverage[index].mark(int(token))
        self.counts[active] += sizes
        running = (sizes == k) & ~padded.any(axis=1)
        running &= self.counts[active] < self.ids.shape[1]
        if self.coverage:
            running &= ~np.array([self.coverage[index].done for index in active])
        return chunks, running

    def _padded(self, active: Ids, losses: Scores) -> NDArray[np.bool_]:
        """Which tokens are suppressed, each judged by itself; a frame's first token never is."""
        if self.requirement is None:
            return np.zeros(losses.shape, bool)
        padded = losses <= np.float32(self.requirement)
        padded[self.counts[active] == 0, 0] = False
        return padded

    def last_chunk(self, index: int, size: int) -> Ids:
        """The last ``size`` tokens of a sequence, the padding id where padded."""
        return self.ids[index, self.counts[index] - size : self.counts[index]]

    def gaze(self) -> FrameGaze:
        """What was chosen so far, cut to the longest sequence."""
        longest = self.counts.max()
        ids = self.ids[:, :longest]
        return FrameGaze(ids, ids == self.eos, self.confidences[:, :longest], self.counts)


def _confidences(scores: Scores, chosen: Scores) -> Scores:
    """The chosen ids' probabilities among those still allowed, ``[a, K]``.

    As in the reference the maximum is not subtracted; a probability that overflows or underflows
    counts as 1. Source: inference spec 4.2.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        probabilities = np.exp(chosen) / np.exp(scores).sum(axis=2, dtype=np.float32)
    return np.where(np.isfinite(probabilities) & (probabilities > 0), probabilities, np.float32(1))
