"""The live viewer of a model by name."""

from __future__ import annotations

from pathlib import Path

from autogaze_cli.errors import ModelError
from autogaze_cli.model.catalog import (
    CONFIG,
    FILES,
    PREPROCESSOR,
    WEIGHTS,
    default_model,
    find,
    sha256_of,
)
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.player.viewer import Checkpoint

HEAD_DIM = 32
"""Channels of a head in the page's compiled code."""


def read_checkpoint(name: str | None) -> Checkpoint:
    """The files of a model that can run in a browser; PyTorch is not needed.

    Args:
        name: As ``--model`` takes it; None = the default among the bundled models.

    Raises:
        ModelError: There is none, a file is missing or damaged, or its sizes cannot run there.
    """
    name = name or default_model()
    if name is None:
        raise ModelError("no model was named, and none is bundled", hint="give --model")
    model = find(name)
    assert model.folder is not None  # what is found is here
    if model.kind == "bundled":
        model.verify()
    _check(model.folder)
    return Checkpoint(
        name=model.name,
        sha256=sha256_of(model.folder / WEIGHTS),
        config=(model.folder / CONFIG).read_text("utf-8"),
        processor=(model.folder / PREPROCESSOR).read_text("utf-8"),
        weights=(model.folder / WEIGHTS).read_bytes(),
    )


def _check(folder: Path) -> None:
    for name in FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: {name} is missing",
                hint=f"a checkpoint folder contains {', '.join(FILES)}",
            )
    config = GazeConfig.from_file(folder / CONFIG)
    if config.head_dim != HEAD_DIM or config.num_key_value_heads != config.num_attention_heads:
        raise ModelError(
            f"{folder}: its {config.num_attention_heads} heads of {config.head_dim} channels "
            f"cannot run in a browser, only heads of {HEAD_DIM} with keys of their own",
            hint="use the other commands for this model",
        )
