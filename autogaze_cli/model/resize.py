"""Pillow's bilinear resize on tensors, exact on every device.

Integer arithmetic alone, so a GPU gives the bytes that Pillow gives on a CPU, and with them the
same tokens. Source: inference spec 2.1 step 2.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_PRECISION_BITS = 22


def resize_bilinear(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize RGB frames, antialiased, on 8 bits.

    Args:
        frames: uint8 ``[..., h, w, 3]``.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        uint8 ``[..., height, width, 3]`` on the same device; ``frames`` itself if it has that size.
    """
    across = _resize_axis(frames, -2, width)
    return _resize_axis(across, -3, height)


def _resize_axis(frames: Tensor, axis: int, length: int) -> Tensor:
    source = frames.shape[axis]
    if source == length:
        return frames
    first, weights = _taps(source, length)
    shape = [1] * frames.ndim
    shape[axis] = length
    rounding = 1 << (_PRECISION_BITS - 1)
    total = torch.full((), rounding, dtype=torch.int32, device=frames.device)
    for tap, weight in enumerate(weights.T):
        # Beyond the last pixel a weight is 0, and the pixel does not matter.
        index = torch.from_numpy(np.minimum(first + tap, source - 1)).to(frames.device)
        factor = torch.from_numpy(np.ascontiguousarray(weight)).to(frames.device).view(shape)
        total = total + frames.index_select(axis, index) * factor
    return (total >> _PRECISION_BITS).clamp(0, 255).to(torch.uint8)


def _taps(source: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The first source pixel of each result pixel, ``[length]``, and weights ``[length, taps]``."""
    scale = source / length
    support = max(scale, 1.0)
    centre = (np.arange(length) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), source)
    pixels = first[:, None] + np.arange((end - first).max())
    distance = (pixels - centre[:, None] + 0.5) * (1 / support)
    weights = np.where(pixels < end[:, None], np.maximum(0, 1 - np.abs(distance)), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return first, (0.5 + weights * (1 << _PRECISION_BITS)).astype(np.int32)
