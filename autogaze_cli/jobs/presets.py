"""Named sets of settings: above the defaults, and below whatever is given."""

from __future__ import annotations

from autogaze_cli.jobs.values import Values

PRESETS: dict[str, Values] = {
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
