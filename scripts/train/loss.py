"""What training minimises: scores towards the gazes that gain most, and predicted losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """Of the training loss.

    Attributes:
        temperature: How much worse than the best a gaze may be and still be a label: the labels
            are the softmax of gain over greatest gain, divided by this.
        regret: Weight of the gain that gazing by the model's own odds would miss.
        head: Weight of the loss head.
        floor: Gazes whose greatest gain is far below this hardly count.
    """

    temperature: float = 0.06
    regret: float = 0.0
    head: float = 8.0
    floor: float = 3e-4


def training_loss(
    logits: Tensor, predicted: Tensor, gains: Tensor, losses: Tensor, s: LossSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its parts for the log.

    Args:
        logits: ``[b, chunks, k, N]``.
        predicted: ``[b, chunks, k]``.
        gains: What each id would have gained, minus infinity where gazed, ``[b, chunks, k, N]``.
        losses: Of the canvas before each gaze, ``[b, chunks, k]``.
        s: Weights.
    """
    used = gains.isneginf()
    best = gains.amax(-1, keepdim=True)
    share = gains / best.clamp_min(1e-7)
    labels = (share / s.temperature).softmax(-1)
    odds = logits.masked_fill(used, -torch.inf).log_softmax(-1).masked_fill(used, 0)
    weight = (best / (best + s.floor))[..., 0]
    weight = weight / weight.mean()
    divergence = -(labels * (odds - labels.clamp_min(1e-9).log())).sum(-1)
    missed = 1 - share.clamp_min(-1)
    regret = (odds.exp() * missed).masked_fill(used, 0).sum(-1)
    head = F.smooth_l1_loss(predicted, losses, beta=0.01)
    parts = {
        "labels": (weight * divergence).mean(),
        "regret": (weight * regret).mean(),
        "head": head,
    }
    total = parts["labels"] + s.regret * parts["regret"] + s.head * head
    return total, {name: part.detach() for name, part in parts.items()}
