"""The five colours of a mask GIF, and the sampling that never mixes two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.media.filters import Pixels

MASK_PALETTE: Pixels = np.array(
    [(0, 0, 0), (255, 180, 0), (60, 220, 120), (0, 185, 255), (230, 110, 255)], np.uint8
)
"""The colours by index, uint8 ``[5, 3]``: nothing, then the borders of grids 2, 4, 7 and 14."""

_FILLS = np.array([(107, 76, 0), (25, 92, 50), (0, 78, 107), (97, 46, 107)], np.uint8)


def floor_sample(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize by taking pixel ``(x * w // width, y * h // height)``, without any mixing.

    Args:
        image: uint8 ``[h, w, ...]``.
        width: Columns of the result.
        height: Rows of the result.

    >>> floor_sample(np.arange(10, dtype=np.uint8)[None], 4, 1).tolist()
    [[0, 2, 5, 7]]

    Source: visualization spec 6.8.
    """
    rows = np.arange(height) * image.shape[0] // height
    columns = np.arange(width) * image.shape[1] // width
    sampled: NDArray[np.uint8] = image[rows[:, None], columns]
    return sampled


def mask_indices(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Palette index of every pixel of a mask panel.

    Borders and fills of the four cell colours take their colour's entry, black takes 0, and any
    other colour takes the nearest entry that is not black.

    Args:
        rgb: uint8 ``[h, w, 3 or more]``; further channels are ignored.

    Returns:
        uint8 ``[h, w]`` in 0..4.

    Source: visualization spec 6.8.
    """
    codes = packed(rgb)
    indices = np.zeros(codes.shape, np.uint8)
    known = codes == 0
    # The fills must be named, for two of them are nearer to another entry than to their own.
    for index, (full, fill) in enumerate(zip(MASK_PALETTE[1:], _FILLS, strict=True), start=1):
        here = (codes == packed(full)) | (codes == packed(fill))
        indices[here] = index
        known |= here
    if not known.all():
        other = rgb[~known][:, None, :3].astype(np.int32)
        distance = ((other - MASK_PALETTE[1:]) ** 2).sum(-1)
        indices[~known] = 1 + distance.argmin(-1)
    return indices


def packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours as numbers 0xRRGGBB, uint32 ``[...]``, of uint8 ``[..., 3 or more]``."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] * np.uint32(1 << 16) + wide[..., 1] * np.uint32(1 << 8) + wide[..., 2]
