"""Frames of a clip beside each other, as one small picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

from autogaze_cli.compare.measures import to_pixels
from autogaze_cli.player.html import encoded

SHOWN = 4
"""How many frames of a clip are shown, evenly spaced from the first to the last."""


def strip(frames: Tensor) -> str:
    """Normalised frames ``[t, 3, h, w]`` as a JPEG in base64."""
    at = np.unique(np.linspace(0, len(frames) - 1, SHOWN).round().astype(int))
    pixels = to_pixels(frames[at]).round().byte().permute(2, 0, 3, 1)
    buffer = io.BytesIO()
    picture = np.ascontiguousarray(pixels.flatten(1, 2).numpy())  # [h, n * w, 3]
    Image.fromarray(picture).save(buffer, "JPEG", quality=80)
    return encoded(buffer.getvalue())
