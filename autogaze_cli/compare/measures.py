"""How close pictures are: PSNR, and SSIM as it was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from autogaze_cli.model.preprocess import IMAGE_MEAN, IMAGE_STD

MAX_PSNR_DB = 100.0
"""The PSNR of equal pictures."""

_WINDOW, _SIGMA = 11, 1.5
_GREY = 128.0
_LUMA = (0.299, 0.587, 0.114)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def to_pixels(
    values: Tensor, mean: Sequence[float] = IMAGE_MEAN, std: Sequence[float] = IMAGE_STD
) -> Tensor:
    """Normalised values ``[..., 3, h, w]`` as pixels, clipped to 0..255, not rounded."""
    shape = (-1, 1, 1)
    scale = torch.tensor(std).view(shape) * 127.5
    offset = (torch.tensor(mean).view(shape) + 1) * 127.5
    return torch.addcmul(offset, values, scale).clamp_(0, 255)


def psnr_db(error: float) -> float:
    """The PSNR of pictures with that mean squared error of pixels in 0..255, at most 100 dB.

    >>> round(psnr_db(65.025), 3)
    30.0
    """
    return MAX_PSNR_DB if error == 0 else min(MAX_PSNR_DB, 10 * math.log10(255**2 / error))


class Ssim:
    """The structural similarity of pictures to the frames of a clip.

    On luma (0.299 R + 0.587 G + 0.114 B), with a Gaussian window of 11 x 11 (sigma 1.5), K1 0.01
    and K2 0.03; the mean over all places where the window lies within the picture. Source: Wang,
    Bovik, Sheikh, Simoncelli, "Image quality assessment", 2004.

    Args:
        frames: Pixels in 0..255, ``[t, 3, h, w]``.
    """

    def __init__(self, frames: Tensor) -> None:
        self._x = luma(frames)
        self._mean = windowed(self._x)
        self._variance = windowed(self._x * self._x) - self._mean**2

    def of(self, pictures: Tensor, first: int = 0) -> Tensor:
        """The SSIM of pictures ``[n, 3, h, w]`` to the frames from ``first`` on, ``[n]``."""
        y = luma(pictures)
        at = slice(first, first + len(y))
        x, mean_x, variance_x = self._x[at], self._mean[at], self._variance[at]
        mean_y = windowed(y)
        variance_y = windowed(y * y) - mean_y**2
        covariance = windowed(x * y) - mean_x * mean_y
        structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
        bright_x, bright_y = mean_x + _GREY, mean_y + _GREY
        light = (2 * bright_x * bright_y + _C1) / (bright_x**2 + bright_y**2 + _C1)
        return (light * structure).mean((1, 2))


def luma(pixels: Tensor) -> Tensor:
    """``[n, 3, h, w]`` as ``[n, h, w]``, less grey: variances are differences of squares."""
    return torch.einsum("nchw,c->nhw", pixels, torch.tensor(_LUMA)).sub_(_GREY)


def windowed(values: Tensor) -> Tensor:
    """The Gaussian mean around each place of ``[n, h, w]`` that has a whole window."""
    down, across = (_window_matrix(side).to(values.dtype) for side in values.shape[1:])
    return down @ values @ across.T


@lru_cache(maxsize=8)
def _window_matrix(side: int) -> Tensor:
    """The window as a matrix on one axis, ``[side - 10, side]``: far faster than a convolution."""
    at = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * _SIGMA**2))
    matrix = torch.zeros(side - _WINDOW + 1, side, dtype=torch.float64)
    for start, row in enumerate(matrix):
        row[start : start + _WINDOW] = weights / weights.sum()
    return matrix
