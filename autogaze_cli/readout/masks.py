"""Masks of fixations as tensors ``float32 [b, 1, h, w]``, and masks laid over images.

Source: readout spec 14.1 to 14.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.points import TraceLike, points_of_frame, scaled_bounds

Device = torch.device | str


def fixation_image_mask_tensor(
    batch: int, height: int, width: int, points: Fixations, device: Device = "cpu"
) -> Tensor:
    """The pixels that points cover: 1 there, otherwise 0; the same for every item of the batch.

    A point of confidence above 0 covers at least one pixel, and may reach one pixel to the left of
    or above its cell: no tolerance here, unlike in tokens.

    Returns:
        float32 ``[batch, 1, height, width]``.

    Raises:
        ConfigError: ``batch`` or a side is below 1.
    """
    if batch < 1:
        raise ConfigError(f"mask batch must be at least 1, not {batch}")
    mask = torch.from_numpy(_paint(points, height, width)).to(device)
    return mask.expand(batch, 1, height, width).clone()


def frame_fixation_masks_tensor(
    traces: Sequence[TraceLike], frame: int, height: int, width: int, device: Device = "cpu"
) -> Tensor:
    """The mask of one frame of each trace; zeros for a trace without that frame.

    Returns:
        float32 ``[traces, 1, height, width]``.

    Raises:
        ConfigError: There is no trace, or a side is below 1.
    """
    if not len(traces):
        raise ConfigError("masks need at least one trace, not 0")
    masks = [_paint(points_of_frame(trace, frame), height, width) for trace in traces]
    return torch.from_numpy(np.stack(masks)[:, None]).to(device)


def pixel_span(
    low: NDArray[np.float32], high: NDArray[np.float32], extent: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last pixel of spans given as fractions; at least one pixel each.

    Source: readout spec 14.1, each operation rounded to float32.
    """
    n = np.float32(extent)
    first = np.minimum(np.floor(low.clip(0, 1) * n).astype(np.int64), extent - 1)
    last = np.minimum(np.ceil(high.clip(0, 1) * n).astype(np.int64), extent)
    return first, np.where(last <= first, np.minimum(first + 1, extent), last)


def _paint(points: Fixations, height: int, width: int) -> NDArray[np.float32]:
    if height < 1 or width < 1:
        raise ConfigError(f"mask dimensions must be at least 1, not {height} x {width}")
    bounds = scaled_bounds(points)
    bounds = bounds[(points.confidence > 0) & np.isfinite(bounds).all(axis=1)]
    left, right = pixel_span(bounds[:, 0], bounds[:, 2], width)
    top, bottom = pixel_span(bounds[:, 1], bounds[:, 3], height)
    mask = np.zeros((height, width), np.float32)
    for y0, y1, x0, x1 in zip(top, bottom, left, right, strict=True):
        mask[y0:y1, x0:x1] = 1
    return mask


def normalised_mask(mask: Tensor, batch: int, height: int, width: int) -> Tensor:
    """A mask of the size of an image: ``float32 [batch, 1, height, width]`` in 0..1.

    Args:
        mask: ``[1 or batch, channels, h, w]``.
        batch: Of the image, as are the next two.
        height: In pixels.
        width: In pixels.

    Raises:
        ConfigError: The batches differ, or the mask has no channels or pixels.

    Source: readout spec 14.2; the integer resize it proposes.
    """
    if mask.shape[0] not in (1, batch):
        raise ConfigError(f"mask batch must be 1 or {batch}, as the image's, not {mask.shape[0]}")
    if mask.shape[1] == 0:
        raise ConfigError("mask channels must be nonzero, not 0")
    rows, cols = mask.shape[2:]
    if rows == 0 or cols == 0:
        raise ConfigError(f"mask dimensions must be at least 1, not {rows} x {cols}")
    mask = mask.float().mean(dim=1, keepdim=True)
    if (rows, cols) != (height, width):
        y = torch.arange(height, device=mask.device) * rows // height
        x = torch.arange(width, device=mask.device) * cols // width
        mask = mask[:, :, y[:, None], x]
    return mask.expand(batch, -1, -1, -1).clamp(0, 1)


def check_image(image: Tensor) -> None:
    """Refuse an image ``[b, c, h, w]`` with nothing in it.

    Raises:
        ConfigError: Naming what is missing.
    """
    batch, channels, height, width = image.shape
    if batch == 0:
        raise ConfigError("image batch must be nonzero, not 0")
    if channels == 0:
        raise ConfigError("image channels must be nonzero, not 0")
    if height == 0 or width == 0:
        raise ConfigError(f"image dimensions must be nonzero, not {height} x {width}")


def apply_image_mask(image: Tensor, mask: Tensor, fill_value: float = 0.0) -> Tensor:
    """The image where the mask is 1, ``fill_value`` where it is 0, and a blend in between.

    Args:
        image: float32 ``[b, c, h, w]``. A NaN stays, even where the mask is 0.
        mask: ``[1 or b, any channels, any size]``, see ``normalised_mask``.
        fill_value: What replaces pixels.

    Raises:
        ConfigError: The image is empty, or the mask does not fit.
    """
    check_image(image)
    batch, _, height, width = image.shape
    weight = normalised_mask(mask, batch, height, width)
    return image * weight + fill_value * (1 - weight)
