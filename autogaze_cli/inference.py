"""The core that every command shares: opens a gaze source once; frames stream through it."""

from __future__ import annotations

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.sources.registry import source_class
from autogaze_cli.sources.source import GazeSource


def open_source(settings: GazeSettings) -> GazeSource:
    """Open the gaze source of ``settings``, loading its model if it has one.

    Raises:
        ConfigError: There is no such source, or the package that adds it is broken.
        ModelError: The model is missing or not a checkpoint.
        DeviceError: This machine has no such device.
    """
    return source_class(settings.mask_source)(settings)
