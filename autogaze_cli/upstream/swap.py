"""``accelerate``: a loaded published model that decodes with this project's engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.model.autogaze import Rows
from autogaze_cli.upstream.config import AutoGazeConfig
from autogaze_cli.upstream.model import AutoGaze

Model = TypeVar("Model", bound=torch.nn.Module)


def accelerate(model: Model, *, rows: Rows | None = None) -> Model:
    """Swap in this project's decoding.

    Args:
        model: A loaded published model, or any module with its ``state_dict`` keys and ``config``.
            It keeps its weights, which are not copied; it may be moved, converted, or loaded anew.
        rows: As for ``AutoGaze.from_pretrained``.

    Returns:
        ``model`` itself.

    Raises:
        ModelError: It is no AutoGaze model.
    """
    config: Any = getattr(model, "config", None)
    values = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(values, Mapping):
        raise ModelError(f"a {type(model).__name__} without an AutoGaze configuration")
    try:
        with torch.device("meta"):
            ours = AutoGaze(AutoGazeConfig(**values), rows=rows)
    except ConfigError as error:
        raise ModelError(f"the {type(model).__name__} is not an AutoGaze model: {error}") from error
    forward = _Forward(model, ours)
    forward.follow()
    model.forward = forward
    return model


class _Forward:
    """The ``forward`` of an accelerated model; a copy of that model gets a copy of this."""

    def __init__(self, model: torch.nn.Module, ours: AutoGaze) -> None:
        self.model, self.ours = model, ours

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.follow()
        return self.ours.forward(*args, **kwargs)

    def follow(self) -> None:
        """Take over the model's present weights and mode."""
        weights = self.model.state_dict(keep_vars=True)
        if any(
            name not in weights or mine.data_ptr() != weights[name].data_ptr()
            for name, mine in self.ours.named_parameters()
        ):
            self.ours.share({name: weight.detach() for name, weight in weights.items()})
        for name, mine in self.ours.named_parameters():
            mine.requires_grad_(weights[name].requires_grad)
        self.ours.train(self.model.training)
