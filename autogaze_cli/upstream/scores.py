"""Teacher-forced scores for the published interface, and gazes that are given.

Source: inference spec 3.12; upstream interface 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from autogaze_cli.errors import AutogazeError, ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.autogaze import AutoGaze as Engine
from autogaze_cli.model.output import GazeOutput

SCORES = ("log_action_probs", "task_loss_prediction")
"""The entries of the result that hold scores."""

ROWS_TOGETHER = 8
"""Rows scored in one pass, which takes the memory of 2,660 logits per token of each row."""


def score(engine: Engine, video: Tensor, gaze: GazeOutput, weight: Tensor) -> dict[str, Tensor]:
    """``log_action_probs`` and ``task_loss_prediction`` of a gaze, float32 ``[b, n]`` each.

    They need gradients where the published ones do, but refuse to give any.

    Args:
        engine: The engine.
        video: The frames that were gazed at, ``[b, t, 3, h, w]``.
        gaze: The gaze at them.
        weight: One of the model's weights, which tells whether gradients are wanted.
    """
    parts = []
    for first in range(0, len(video), ROWS_TOGETHER):
        rows = slice(first, first + ROWS_TOGETHER)
        part: Any = SimpleNamespace(
            gazing_pos=gaze.gazing_pos[rows],
            if_padded_gazing=gaze.if_padded_gazing[rows],
            num_gazing_each_frame=gaze.num_gazing_each_frame,
        )
        parts.append(engine.score(video[rows], part))
    scores = {}
    for name in SCORES:
        values = torch.cat([getattr(part, name) for part in parts]).to(weight.device)
        if torch.is_grad_enabled() and weight.requires_grad:
            values = _WithoutGradient.apply(values, weight)  # type: ignore[no-untyped-call]
        scores[name] = values
    return scores


def given_gaze(layout: ScaleLayout, info: Mapping[str, Tensor]) -> GazeOutput:
    """A gaze that a script holds in the published names.

    Raises:
        ConfigError: Its parts do not fit each other.
    """
    ids, padded, counts = (
        torch.as_tensor(info[name]).detach().cpu()
        for name in ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
    )
    padded = padded.bool()
    if ids.ndim != 2 or ids.shape != padded.shape or int(counts.sum()) != ids.shape[1]:
        raise ConfigError(
            f"gazing_info has gazing_pos {list(ids.shape)}, if_padded_gazing {list(padded.shape)} "
            f"and {int(counts.sum())} tokens in num_gazing_each_frame"
        )
    masks = layout.masks(ids.numpy(), padded.numpy(), len(counts))
    return GazeOutput(
        gazing_pos=ids,
        if_padded_gazing=padded,
        num_gazing_each_frame=counts,
        gazing_masks=[torch.from_numpy(mask) for mask in masks],
        confidences=(~padded).float(),
        num_gazing_each_row=counts.expand(len(ids), -1),
        scales=layout.scales,
        num_vision_tokens_each_frame=layout.num_tokens,
    )


class _WithoutGradient(torch.autograd.Function):
    """Passes values on, and ends a backward pass with a clear error."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise AutogazeError(
            "this package gazes and does not train: its scores have no gradients",
            hint="train with the published package, or score under torch.no_grad()",
        )
