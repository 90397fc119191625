"""A masked image as a pyramid of tokens: means of regions, coarse to fine, weighted by the gaze.

Source: readout spec 14.4 to 14.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.grids import check_whole
from autogaze_cli.readout.masks import check_image, normalised_mask


@dataclass(frozen=True, slots=True)
class ImagePyramidLevel:
    """One grid of regions; a side of 0 counts as 1 where it is used.

    Raises:
        ConfigError: A side is not a whole number of at least 0.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse invalid sizes."""
        check_whole(height=self.height, width=self.width)

    @property
    def token_count(self) -> int:
        """Regions of the level."""
        return self.height * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePyramidMaskOptions:
    """Which regions count.

    Attributes:
        threshold: Those whose share of gazed pixels is above this.
    """

    threshold: float = 0.0


MASK_DEFAULTS = ImagePyramidMaskOptions()


class ImagePyramidMask(NamedTuple):
    """The mask of one level, both ``float32 [b, 1, h, w]``.

    Attributes:
        level: Its grid, sides of at least 1.
        density: Share of each region that the mask covers, 0..1.
        active: 1 where the density is above the threshold, else 0.
    """

    level: ImagePyramidLevel
    density: Tensor
    active: Tensor


class ImagePyramidTokens(NamedTuple):
    """The tokens of all levels, one level after the other, row by row.

    Attributes:
        tokens: ``float32 [b, n, c]``.
        weights: ``float32 [b, n, 1]``.
        levels: Their grids, sides of at least 1.
        ranges: First and past-the-last token of each level.
    """

    tokens: Tensor
    weights: Tensor
    levels: tuple[ImagePyramidLevel, ...]
    ranges: tuple[tuple[int, int], ...]


class SparseImagePyramidTokens(NamedTuple):
    """The tokens of the largest weights, largest first.

    Attributes:
        tokens: ``float32 [b, k, c]``.
        weights: ``float32 [b, k, 1]``.
        indices: Where they were among all tokens, ``int64 [b, k]``.
    """

    tokens: Tensor
    weights: Tensor
    indices: Tensor


def image_pyramid_masks(
    mask: Tensor,
    image_height: int,
    image_width: int,
    levels: Sequence[ImagePyramidLevel],
    options: ImagePyramidMaskOptions = MASK_DEFAULTS,
) -> list[ImagePyramidMask]:
    """The fraction of each region of each level that the mask covers.

    Args:
        mask: ``[b, any channels, any size]``.
        image_height: Of the image it belongs to, in pixels.
        image_width: Likewise.
        levels: Grids, in the order wanted; may be none.
        options: The threshold.

    Raises:
        ConfigError: A side of the image is below 1, or the mask is empty.
    """
    if image_height < 1 or image_width < 1:
        sizes = f"{image_height} x {image_width}"
        raise ConfigError(f"image dimensions must be nonzero, not {sizes}")
    if mask.shape[0] == 0:
        raise ConfigError("mask batch must be nonzero, not 0")
    whole = normalised_mask(mask, mask.shape[0], image_height, image_width)
    masks = []
    for level in map(_usable, levels):
        density = adaptive_avg_pool2d(whole, (level.height, level.width)).clamp(0, 1)
        masks.append(ImagePyramidMask(level, density, (density > options.threshold).float()))
    return masks


def tokenize_masked_image_pyramid(
    image: Tensor,
    mask: Tensor,
    levels: Sequence[ImagePyramidLevel],
    options: ImagePyramidMaskOptions = MASK_DEFAULTS,
) -> ImagePyramidTokens:
    """Each region's mean colour times its fraction of gazed pixels.

    The mean is that of the whole region, not of its visible pixels; a region at or below the
    threshold has weight 0.

    Args:
        image: float32 ``[b, c, h, w]``.
        mask: ``[1 or b, any channels, any size]``.
        levels: Grids, in the order wanted, at least one.
        options: The threshold.

    Raises:
        ConfigError: There is no level, the image is empty, or the mask does not fit.
    """
    if not len(levels):
        raise ConfigError("a pyramid needs at least one level, not 0")
    check_image(image)
    batch, _, height, width = image.shape
    mask = normalised_mask(mask, batch, height, width)
    tokens, weights, ranges, end = [], [], [], 0
    masks = image_pyramid_masks(mask, height, width, levels, options)
    for level, density, active in masks:
        weight = density * active
        mean = adaptive_avg_pool2d(image, (level.height, level.width))
        tokens.append((mean * weight).flatten(2).transpose(1, 2))
        weights.append(weight.flatten(2).transpose(1, 2))
        ranges.append((end, end + level.token_count))
        end += level.token_count
    return ImagePyramidTokens(
        torch.cat(tokens, dim=1),
        torch.cat(weights, dim=1),
        tuple(mask.level for mask in masks),
        tuple(ranges),
    )


def sparsify_image_pyramid_tokens(
    tokens: ImagePyramidTokens, max_tokens: int
) -> SparseImagePyramidTokens:
    """The ``max_tokens`` tokens (at least one) of the largest weights; of equal ones the first.

    Tokens of weight 0 are not left out.

    Raises:
        ConfigError: There are no tokens, or they have no channels.
    """
    check_whole(max_tokens=max_tokens)
    _, n, channels = tokens.tokens.shape
    if n == 0:
        raise ConfigError("pyramid tokens must be nonempty, not 0")
    if channels == 0:
        raise ConfigError("token channels must be nonzero, not 0")
    k = min(max(max_tokens, 1), n)
    order = torch.sort(tokens.weights[..., 0], dim=1, descending=True, stable=True).indices[:, :k]
    rows = torch.arange(len(order), device=order.device)[:, None]
    return SparseImagePyramidTokens(tokens.tokens[rows, order], tokens.weights[rows, order], order)


def _usable(level: ImagePyramidLevel) -> ImagePyramidLevel:
    return ImagePyramidLevel(max(level.height, 1), max(level.width, 1))
