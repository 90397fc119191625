"""``AutoGazeConfig``. Source: upstream interface 1, 2; inference spec 1.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from autogaze_cli.model.catalog import CONFIG
from autogaze_cli.model.checkpoint import find_checkpoint
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.files import read_json
from autogaze_cli.upstream.records import Record, record_of


class AutoGazeConfig(Record):
    """A checkpoint's ``config.json``: every value of it, by key or as an attribute."""

    def __init__(self, **values: Any) -> None:
        super().__init__(record_of({"scales": "224", "max_num_frames": 16, **values}))

    @classmethod
    def from_pretrained(cls, name: str | Path, **values: Any) -> Self:
        """Load a checkpoint's configuration.

        Args:
            name: A folder, a Hub id in the local cache, or a bundled model's name.
            values: What replaces the file's.
        """
        return cls(**{**read_json(find_checkpoint(name) / CONFIG), **values})

    def checked(self) -> GazeConfig:
        """The values that the network is built from.

        Raises:
            ConfigError: A value is missing, of the wrong type, or contradicts another.
        """
        return GazeConfig.from_mapping(self)
