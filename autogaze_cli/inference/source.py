"""Opens the gaze source of some settings, and describes what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.sources.registry import source_class
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import TraceHeader
from autogaze_cli.version import __version__

_OPTIONAL = ("coverage_ratio", "target_scales", "target_patch_size")
"""Settings of the gaze source that a trace records only where they are given."""


def open_source(settings: GazeSettings) -> GazeSource:
    """Open the gaze source of ``settings``, loading its model if it has one.

    Raises:
        ConfigError: There is no such source, or the package that adds it is broken.
        ModelError: The model is missing or not a checkpoint.
        DeviceError: This machine has no such device.
    """
    return source_class(settings.mask_source)(settings)


def header_of(
    source: GazeSource,
    *,
    name: str,
    size: tuple[int, int],
    fps: Fraction,
    source_size: tuple[int, int] | None = None,
    settings: Mapping[str, Any],
) -> TraceHeader:
    """The header of a trace that ``source`` makes.

    Args:
        source: The gaze source.
        name: The video's name.
        size: Width and height of the frames in pixels.
        fps: Frames per second.
        source_size: Width and height of the video before it was scaled; None = ``size``.
        settings: How the frames were read, as JSON values; those of the gaze are added.
    """
    gaze = asdict(source.settings) | {
        "max_gaze_tokens_each_frame": source.max_gaze_tokens_each_frame,
        "task_loss_requirement": source.task_loss_requirement,
        "device": source.device.partition(":")[0],  # the index of the GPU does not matter
    }
    del gaze["threads"]  # results do not depend on them
    gaze = {n: v for n, v in gaze.items() if v is not None or n not in _OPTIONAL}
    (width, height), (source_width, source_height) = size, source_size or size
    return TraceHeader(
        source=name,
        source_width=source_width,
        source_height=source_height,
        width=width,
        height=height,
        fps=fps,
        mask_source=source.mask_source,
        model=source.model,
        model_sha256=source.model_sha256,
        scales=source.scales,
        num_vision_tokens_each_frame=source.num_vision_tokens_each_frame,
        mode=source.settings.mode,
        tile_size=source.settings.tile_size,
        stride=source.settings.stride or source.settings.tile_size,
        tile_count=source.tile_count(width, height),
        settings=gaze | dict(settings),
        tool_version=__version__,
    )
