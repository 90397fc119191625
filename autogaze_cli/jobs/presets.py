"""Named sets of settings: above the defaults, and below whatever is given.

Source: visualization spec 7.3 and inference spec 6.7, which list what the reference's viewer runs
with; which gaze source runs is not part of a preset.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from autogaze_cli.jobs.values import Preset, Values

PRESETS: dict[Preset, Values] = {
    "realtime": {
        "inference_width": 640,
        "mode": "resize",
        "horizon_frames": 16,
        "top_k": 10,
        "max_gaze_tokens_each_frame": 16,
        "coverage_ratio": 0.45,
        "task_loss_requirement": 0.45,
        "mask_geometry": "deduplicated",
        "mask_visualization": "image-mask-only",
        "keyframe_duration": 0,
    },
    "tiled": {
        "inference_width": 1920,
        "inference_height": 1080,
        "mode": "tiled",
        "tile_batch_size": 4,
        "top_k": 2,
        "coverage_ratio": 0.45,
        "task_loss_requirement": 0.45,
        "mask_visualization": "scale-rows",
        "blend_alpha": 0.55,
        "keyframe_duration": 0,
    },
    "assets": {
        "frames": 16,
        "fps": 8,
        "inference_width": 1920,
        "inference_height": 1080,
        "mode": "tiled",
        "top_k": 10,
        "blend_alpha": 0.55,
        "keyframe_duration": 12,
        "gif_width": 384,
        "gif_height": 216,
    },
}
"""Their settings by name; ``assets`` are the defaults of ``render-assets``."""

_INSTEAD = {
    "max_gaze_tokens_each_frame": "gazing_ratio",
    "inference_width": "inference_height",
    "inference_height": "inference_width",
    "gif_width": "gif_height",
    "gif_height": "gif_width",
}
"""Settings of presets, and the one whose being given makes each of no use."""


def preset_values(name: object, known: Collection[str], given: Collection[str]) -> dict[str, Any]:
    """The settings of a preset that take effect; none if there is no such preset.

    Args:
        name: The preset.
        known: The settings that the command has.
        given: Those that were given.
    """
    known_name = isinstance(name, str) and name in PRESETS
    values: Mapping[str, Any] = PRESETS[cast("Preset", name)] if known_name else {}
    return {
        setting: value
        for setting, value in values.items()
        if setting in known and setting not in given and _INSTEAD.get(setting) not in given
    }
