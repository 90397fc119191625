"""PSNR between two images."""

from __future__ import annotations

import math

import numpy as np

from autogaze_cli.errors import ConfigError
from autogaze_cli.visualize.rects import Image

PEAK = 255
"""The largest value of a pixel."""

# The squares of this many bytes sum to less than 2**32; a multiple of the four bytes of RGBA.
_CHUNK = 1 << 16


def squared_error(reference: Image, candidate: Image) -> int:
    """The sum of squared differences over R, G and B.

    Args:
        reference: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        candidate: Of the same shape.

    Raises:
        ConfigError: The shapes differ, or are not of images with pixels.
    """
    shape = reference.shape
    if shape != candidate.shape or len(shape) != 3 or shape[2] not in (3, 4) or not reference.size:
        raise ConfigError(f"no PSNR between images of shapes {shape} and {candidate.shape}")
    total = 0
    a, b = reference.reshape(-1), candidate.reshape(-1)
    larger, smaller = np.empty((2, min(a.size, _CHUNK)), np.uint8)
    squares = np.empty(larger.size, np.uint16)
    for start in range(0, a.size, _CHUNK):
        x, y = a[start : start + _CHUNK], b[start : start + _CHUNK]
        difference, square = larger[: x.size], squares[: x.size]
        np.maximum(x, y, out=difference)
        difference -= np.minimum(x, y, out=smaller[: x.size])
        if shape[2] == 4:
            difference[3::4] = 0
        np.copyto(square, difference)
        square *= square
        total += int(square.sum(dtype=np.uint32))
    return total


def psnr(reference: Image, candidate: Image) -> float:
    """Peak signal-to-noise ratio over R, G and B, in dB; infinite for equal images.

    Args:
        reference: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        candidate: Of the same shape.

    Raises:
        ConfigError: The shapes differ, or are not of images with pixels.

    Source: visualization spec 5.1.
    """
    return psnr_of(squared_error(reference, candidate), reference.shape[0] * reference.shape[1])


def psnr_of(error: int, pixels: int) -> float:
    """The PSNR in dB of images of so many pixels with this ``squared_error``."""
    return 10 * math.log10(PEAK**2 / (error / (3 * pixels))) if error else math.inf
