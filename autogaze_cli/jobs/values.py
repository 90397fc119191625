"""From a command's values to the settings it needs, each validated once where it is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.model.catalog import MODELS, default_model
from autogaze_cli.visualize.settings import Visualization

if TYPE_CHECKING:
    from autogaze_cli.media.video import Sampling

Values = Mapping[str, Any]
"""A command's values by parameter name."""


def input_names(values: Values) -> list[str]:
    """What the user named, positional first."""
    return [*values["inputs"], *values["more_inputs"]]


def gaze_settings(values: Values, models: Path = MODELS) -> GazeSettings:
    """Which gaze source runs, and how: the model named, else the default one, else patch-diff.

    Args:
        values: A command's values.
        models: The bundled models; see ``catalog.default_model``.

    Raises:
        ConfigError: When they contradict each other.
    """
    fields = GazeSettings.__dataclass_fields__
    given = {name: value for name, value in values.items() if name in fields}
    if given["mask_source"] == "patch-diff":
        given["model"] = None
    elif given["model"] is None:
        given["model"] = default_model(models)
    if given["mask_source"] is None:
        given["mask_source"] = "patch-diff" if given["model"] is None else "autogaze"
    if values["task_loss_requirement_db"] is not None:
        from autogaze_cli.gaze.budget import requirement_from_db

        given["task_loss_requirement"] = requirement_from_db(values["task_loss_requirement_db"])
    return GazeSettings(**given)


def sampling(values: Values, otherwise: Sampling) -> Sampling:
    """Which frames to decode, and at what size.

    Args:
        values: A command's values.
        otherwise: What counts where the user gave no option.
    """
    from dataclasses import replace

    names = {"width": "inference_width", "height": "inference_height"}
    given = {
        field: values[names.get(field, field)]
        for field in ("start", "frames", "fps", "width", "height")
    }
    return replace(otherwise, **{name: v for name, v in given.items() if v is not None})


def visualization(values: Values) -> Visualization:
    """How to draw.

    Raises:
        ConfigError: For a value that cannot be drawn.
    """
    fields = Visualization.__dataclass_fields__
    return Visualization(**{name: value for name, value in values.items() if name in fields})
