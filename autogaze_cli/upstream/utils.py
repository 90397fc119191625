"""What scripts import from ``autogaze.utils``. Source: upstream interface 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PLAIN_RESCALE = 1 / 255
"""The rescale factor that maps pixels to 0..1; the checkpoint's, twice that, maps to -1..1."""


@dataclass(frozen=True, slots=True)
class UnNormalize:
    """Turns normalised frames back into pictures.

    Attributes:
        mean: Of each channel, as the processor subtracted it.
        std: Of each channel, as the processor divided by it.
        rescale_factor: The processor's; None and 1/255 stand for values in 0..1 before ``mean`` and
            ``std``, any other for -1..1.
    """

    mean: Sequence[float]
    std: Sequence[float]
    rescale_factor: float | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Normalised ``[..., 3, h, w]`` to values in 0..1 of the same shape."""
        mean, std = (
            torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None]
            for values in (self.mean, self.std)
        )
        picture = image * std + mean
        if self.rescale_factor is not None and abs(self.rescale_factor - PLAIN_RESCALE) > 1e-6:
            picture = (picture + 1) / 2
        return picture.clamp(0, 1)


def get_gazing_pos_from_gazing_mask(gazing_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The ids that a mask selects.

    Args:
        gazing_mask: 1 where gazed, ``[b, n]``, of any type.

    Returns:
        Ids in ascending order, ``int64 [b, k]``, -1 where padded, and the padding flags,
        ``bool [b, k]``; ``k`` is the largest number of ids in a row.
    """
    gazed = gazing_mask.bool()
    counts = gazed.sum(dim=1, keepdim=True)  # [b, 1]
    longest = int(counts.max()) if gazed.numel() else 0
    order = (~gazed).to(torch.uint8).argsort(dim=1, stable=True)  # gazed ids first, ascending
    padded = torch.arange(longest, device=gazed.device) >= counts  # [b, k]
    return order[:, :longest].masked_fill(padded, -1), padded
