"""The core that every command shares: opens a gaze source once; frames stream through it."""

from __future__ import annotations

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.sources.patch_diff import PatchDiffSource
from autogaze_cli.sources.source import GazeSource


def open_source(settings: GazeSettings) -> GazeSource:
    """Open the gaze source of ``settings``, loading its model if it has one.

    Raises:
        ModelError: The model is missing or not a checkpoint.
        DeviceError: This machine has no such device.
    """
    if settings.mask_source == "patch-diff":
        return PatchDiffSource(settings)
    import torch  # only a model needs it

    from autogaze_cli.sources.model import AutoGazeSource

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    return AutoGazeSource(settings)
