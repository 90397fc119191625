"""Playing clips: a batch is gazed at by the model, the teacher or both, with a label a gaze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry
from scripts.train.forward import Runner
from scripts.train.simulate import Canvas, ChunkStep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mix:
    """Who gazes at each row of a batch.

    Attributes:
        teacher: Chance that a chunk is the teacher's, ``[b]``.
        noise: Scale of the Gumbel noise on the model's scores: 0 = greedy, 1 = as likely as it
            says, ``[b]``.
    """

    teacher: Tensor
    noise: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What was gazed at, and what the best gaze would have been at every point.

    Attributes:
        ids: Gazes, frame after frame, ``int64 [b, sum(budgets)]``.
        picks: The ``k`` gazes of every chunk, also those past a frame's budget, which were only
            tried, ``int64 [b, chunks, k]``.
        gains: Before each pick, what every id would have gained; minus infinity where it had been
            gazed in the frame, ``[b, chunks, k, N]``.
        losses: The loss before each pick, ``[b, chunks, k]``.
        predicted: What the model took it for; empty if the teacher alone gazed.
        ends: The loss at the end of every frame, ``[b, t]``.
    """

    ids: Tensor
    picks: Tensor
    gains: Tensor
    losses: Tensor
    predicted: Tensor
    ends: Tensor


class Player:
    """Plays batches of one size, so that its chunk step is captured once."""

    def __init__(self, geometry: Geometry, batch: int, k: int) -> None:
        self.geometry, self.batch, self.k = geometry, batch, k
        self.canvas = Canvas(geometry, batch)
        self.step = ChunkStep(self.canvas, k)

    @torch.no_grad()
    def play(
        self,
        video: Tensor,
        budgets: Sequence[int],
        runner: Runner | None = None,
        mix: Mix | None = None,
        *,
        labels: bool = True,
    ) -> Played:
        """Gaze at clips.

        Args:
            video: Normalised frames ``[batch, t, 3, side, side]``.
            budgets: Gazes a frame.
            runner: The model; None = only the teacher gazes.
            mix: Who gazes; None = the model, greedily, if there is one.
            labels: Keep ``gains``, which are large; else they are empty.
        """
        step, canvas = self.step, self.canvas
        canvas.forget()
        step.teacher.fill_(runner is None)
        reader = runner.reader(video, budgets) if runner is not None else None
        pending = video.new_empty((self.batch, 0), dtype=torch.int64)
        ids, picks, gains, losses, predicted, ends = ([] for _ in range(6))
        for t, budget in enumerate(budgets):
            canvas.look(video[:, t])
            for start in range(0, budget, self.k):
                count = min(self.k, budget - start)
                if reader is not None:
                    scores, loss = reader.read(pending, t if start == 0 else None)
                    predicted.append(loss)
                    step.scores.copy_(scores)
                    if mix is not None:
                        step.scores.add_(_gumbel(step.scores) * mix.noise[:, None, None])
                        step.teacher.copy_(torch.rand_like(mix.teacher) < mix.teacher)
                step(count)
                pending = step.ids[:, :count].clone()
                ids.append(pending)
                picks.append(step.ids.clone())
                losses.append(step.losses[:, :-1].clone())
                if labels:
                    gains.append(step.gains.clone())
            ends.append(canvas.loss())
        empty = video.new_empty(0)
        return Played(
            ids=torch.cat(ids, dim=1),
            picks=torch.stack(picks, dim=1),
            gains=torch.stack(gains, dim=1) if gains else empty,
            losses=torch.stack(losses, dim=1),
            predicted=torch.stack(predicted, dim=1) if predicted else empty,
            ends=torch.stack(ends, dim=1),
        )


def _gumbel(like: Tensor) -> Tensor:
    return -torch.empty_like(like).exponential_().clamp_min_(1e-20).log()
