"""The gap closed between random gazing and the teacher, and the loss head's error.

A clip's budgets are ``[100, n, n, ...]``; its loss is the mean at the end of frames 1, 2, ...

    gap closed = (random - model) / (random - teacher)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry
from scripts.train.forward import Runner
from scripts.train.play import Player
from scripts.train.simulate import Canvas

FIRST = 100
DRAWS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bounds:
    """Losses of a set of clips that no model is needed for, ``[clips]`` each."""

    teacher: Tensor
    random: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A model's figures on a set of clips.

    Attributes:
        model: Mean loss of each clip, ``[clips]``.
        bounds: Of the teacher and random gazing.
        head_error: Mean absolute error of the predicted losses, a clip.
    """

    model: Tensor
    bounds: Bounds
    head_error: Tensor

    @property
    def each(self) -> Tensor:
        """Gap closed, a clip."""
        b = self.bounds
        return (b.random - self.model) / (b.random - b.teacher)

    @property
    def gap(self) -> float:
        """Gap closed, of the means over the clips."""
        b = self.bounds
        mean = b.random.mean()
        return float((mean - self.model.mean()) / (mean - b.teacher.mean()))

    def line(self) -> str:
        """The figures of the set in a line."""
        b = self.bounds
        return (
            f"teacher {float(b.teacher.mean()):.3f}  random {float(b.random.mean()):.3f}  "
            f"model {float(self.model.mean()):.3f}  gap closed {self.gap:.3f}  "
            f"worst clip {float(self.each.min()):.3f}  "
            f"head error {float(self.head_error.mean()):.4f}"
        )


def budgets(n: int, frames: int) -> list[int]:
    """``[100, n, n, ...]``."""
    return [FIRST] + [n] * (frames - 1)


def bounds(geometry: Geometry, video: Tensor, n: int, k: int = 10, seed: int = 0) -> Bounds:
    """Teacher and random gazing on normalised clips ``[b, t, 3, side, side]``."""
    each = budgets(n, video.shape[1])
    teacher = Player(geometry, len(video), k).play(video, each, labels=False).ends
    random = torch.stack([random_ends(geometry, video, each, seed + i) for i in range(DRAWS)])
    return Bounds(teacher=teacher[:, 1:].mean(1), random=random[:, :, 1:].mean((0, 2)))


@torch.no_grad()
def random_ends(geometry: Geometry, video: Tensor, each: Sequence[int], seed: int) -> Tensor:
    """Loss at the end of every frame with uniformly random distinct ids, ``[b, t]``."""
    draw = torch.Generator().manual_seed(seed)
    canvas = Canvas(geometry, len(video))
    ends = []
    for t, n in enumerate(each):
        canvas.look(video[:, t])
        ids = torch.rand(len(video), geometry.tokens, generator=draw).argsort(1)[:, :n]
        for token in ids.to(video.device).unbind(1):
            canvas.gaze(token)
        ends.append(canvas.loss())
    return torch.stack(ends, dim=1)


def measure(player: Player, runner: Runner, video: Tensor, n: int, known: Bounds) -> Measured:
    """A model on its own canvases, greedy; ``player`` is for as many clips as ``video`` has."""
    played = player.play(video, budgets(n, video.shape[1]), runner, labels=False)
    error = (played.predicted - played.losses).abs().mean((1, 2))
    return Measured(model=played.ends[:, 1:].mean(1), bounds=known, head_error=error)
