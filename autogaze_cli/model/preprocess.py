"""From pixels to the model's input: the published processor, tiles, and the resize in the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.tiles import TileLayout

Frames = TypeVar("Frames", NDArray[np.uint8], Tensor)

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def resize_shortest(
    frames: NDArray[np.uint8],
    size: Mapping[str, int] | tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> NDArray[np.uint8]:
    """Resize frames as the published processor does: Pillow, antialiased, on 8 bits.

    Args:
        frames: RGB, uint8 ``[..., h, w, 3]``.
        size: ``{"shortest_edge": n}`` keeps the aspect ratio, the longer side truncated;
            ``(height, width)`` or ``{"height": h, "width": w}`` stretches.
        resample: Pillow's filter; checkpoints use bilinear.

    Returns:
        RGB, uint8 ``[..., h', w', 3]``; ``frames`` itself when it has that size.

    Source: inference spec 2.1 steps 1 and 2.
    """
    *leading, source_height, source_width, _ = frames.shape
    height, width = target_size(source_height, source_width, size)
    if (height, width) == (source_height, source_width):
        return frames
    resized = np.empty((*leading, height, width, 3), np.uint8)
    for at in np.ndindex(*leading):
        image = Image.fromarray(np.ascontiguousarray(frames[at]))
        resized[at] = np.asarray(image.resize((width, height), resample))
    return resized


def target_size(
    height: int, width: int, size: Mapping[str, int] | tuple[int, int]
) -> tuple[int, int]:
    """Height and width of frames after ``resize_shortest``. Source: inference spec 2.1 step 1."""
    if isinstance(size, tuple):
        return size
    if "shortest_edge" not in size:
        return size["height"], size["width"]
    short = size["shortest_edge"]
    long = int(short * max(height, width) / min(height, width))
    return (short, long) if height <= width else (long, short)


def center_crop(frames: Frames, size: tuple[int, int]) -> Frames:
    """The middle of frames; of an odd remainder the right and bottom lose one pixel more.

    Args:
        frames: ``[..., h, w, 3]``, an array or a tensor.
        size: Height and width in pixels.

    Returns:
        A view, ``[..., height, width, 3]``.

    Raises:
        ConfigError: The frames are smaller than that.
    """
    height, width = frames.shape[-3:-1]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    if min(top, left) < 0:
        raise ConfigError(
            f"crop_size {size[1]} x {size[0]} is larger than the frames, {width} x {height}",
            hint="resize them to a larger size first",
        )
    return frames[..., top : top + size[0], left : left + size[1], :]


def normalise(
    frames: Tensor, mean: Sequence[float] = IMAGE_MEAN, std: Sequence[float] = IMAGE_STD
) -> Tensor:
    """Pixels to the values that the model reads, exact on every device.

    Args:
        frames: RGB, uint8 ``[..., h, w, 3]``, 0..255.
        mean: Subtracted from values in -1..1, per channel.
        std: Divides the result, per channel.

    Returns:
        float32 ``[..., 3, h, w]``, about -6.5 to 2.6.

    Source: inference spec 2.1 steps 3 to 5.
    """
    table = _value_table(tuple(mean), tuple(std)).to(frames.device)
    shape = frames.shape[:-1]
    # A channel has 256 values, so looking them up is exact, and faster than float64 arithmetic.
    return torch.stack(
        [
            values.index_select(0, frames[..., c].reshape(-1).int()).view(shape)
            for c, values in enumerate(table)
        ],
        dim=-3,
    )


@lru_cache(maxsize=8)
def _value_table(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What each of the 256 pixel values becomes in each channel: float32 ``[3, 256]``."""
    scaled = (np.arange(256, dtype=np.float64) * (1 / 127.5)).astype(np.float32) - np.float32(1)
    means, stds = np.array(mean, np.float32)[:, None], np.array(std, np.float32)[:, None]
    return torch.from_numpy((scaled - means) / stds)


def square(video: Tensor, side: int) -> Tensor:
    """The resize inside the model: bicubic, half-pixel centres, not antialiased.

    Args:
        video: Normalised, float32 ``[..., 3, h, w]``.
        side: Side of the model's input in pixels.

    Returns:
        float32 ``[..., 3, side, side]``; ``video`` itself when it has that size.

    Source: inference spec 2.2.
    """
    if video.shape[-2:] == (side, side):
        return video
    flat = video.reshape(-1, *video.shape[-3:])
    resized = F.interpolate(flat, size=(side, side), mode="bicubic", align_corners=False)
    return resized.view(*video.shape[:-2], side, side)


def cut_tiles(
    frames: Tensor,
    layout: TileLayout,
    tiles: Sequence[int] | None = None,
    *,
    mean: Sequence[float] = IMAGE_MEAN,
    std: Sequence[float] = IMAGE_STD,
) -> Tensor:
    """Cut a clip into normalised tiles; a tile's pixels never depend on which others are cut.

    Args:
        frames: RGB, uint8 ``[t, h, w, 3]``, at full resolution.
        layout: For frames of this size, in mode ``tiled`` or ``tiled-full``.
        tiles: Indices of the tiles wanted; None = all, 10 MB per tile of 16 frames.
        mean: As in ``normalise``.
        std: As in ``normalise``.

    Returns:
        float32 ``[tiles, t, 3, side, side]``; 0 where a tile reaches beyond the frame.

    Source: inference spec 2.3, 6.2.
    """
    if layout.mode == "resize" or frames.shape[1:3] != (layout.height, layout.width):
        raise ConfigError(f"tiles of {layout} cannot be cut from frames {tuple(frames.shape)}")
    side = layout.tile_size
    wanted = range(len(layout)) if tiles is None else tiles
    if frames.is_cuda and layout.mode == "tiled":
        # A GPU would wait for the host at every tile; it has room for the canvas.
        canvas = _stretched(frames, layout, (0, 0), layout.canvas, mean, std)
        cut = canvas.view(len(frames), 3, layout.rows, side, layout.cols, side)
        return cut.permute(2, 4, 0, 1, 3, 5).flatten(0, 1)[list(wanted)]
    out = torch.zeros(len(wanted), len(frames), 3, side, side, device=frames.device)
    for tile, index in zip(out, wanted, strict=True):
        y, x = (int(edge) for edge in layout.origins[index])
        if layout.mode == "tiled":
            tile.copy_(_stretched(frames, layout, (y, x), (side, side), mean, std))
        else:
            part = normalise(frames[:, y : y + side, x : x + side], mean, std)
            tile[..., : part.shape[-2], : part.shape[-1]] = part
    return out


def _stretched(
    frames: Tensor,
    layout: TileLayout,
    start: tuple[int, int],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """A part of the frames stretched to the canvas, bilinear, half-pixel centres.

    Only the pixels that the part shows are read, so memory does not grow with the canvas.

    Args:
        frames: RGB, uint8 ``[t, h, w, 3]``.
        layout: Of the canvas.
        start: Top and left of the part on the canvas.
        size: Its height and width.
        mean: As in ``normalise``.
        std: As in ``normalise``.

    Returns:
        float32 ``[t, 3, height, width]``.
    """
    source = layout.height, layout.width
    (y_lo, y_hi, down), (x_lo, x_hi, right) = map(_taps, source, layout.canvas, start, size)
    top, left = int(y_lo[0]), int(x_lo[0])
    part = normalise(frames[:, top : int(y_hi[-1]) + 1, left : int(x_hi[-1]) + 1], mean, std)
    rows, cols = (
        [index.to(part.device) for index in pair]
        for pair in ((y_lo - top, y_hi - top), (x_lo - left, x_hi - left))
    )
    down, right = down[:, None].to(part.device), right.to(part.device)
    mixed = part[..., cols[0]] * (1 - right) + part[..., cols[1]] * right
    return mixed[..., rows[0], :] * (1 - down) + mixed[..., rows[1], :] * down


def _taps(source: int, canvas: int, start: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each canvas pixel from ``start`` on: its two source pixels, the second one's weight."""
    at = (torch.arange(start, start + count, dtype=torch.float64) + 0.5) * (source / canvas) - 0.5
    at = at.clamp(0, source - 1)
    low = at.long()
    return low, (low + 1).clamp(max=source - 1), (at - low).float()


def cut_square_tiles(video: Tensor, layout: AdaptLayout) -> Tensor:
    """Pad square pictures and cut them into the tiles of a target resolution.

    Args:
        video: Normalised, float32 ``[b, t, 3, size, size]``.
        layout: Of the target resolution.

    Returns:
        float32 ``[b * tiles ** 2, t, 3, tile_size, tile_size]``: video, tile row, tile column, the
        last running fastest.

    Raises:
        ConfigError: The pictures have another size than the largest target scale.

    Source: inference spec 8.4.
    """
    b, t, c, height, width = video.shape
    if (height, width) != (layout.size, layout.size):
        raise ConfigError(
            f"target_scales need pictures of {layout.size} x {layout.size}, not {width} x {height}",
            hint="resize the video to the largest target scale",
        )
    n, side = layout.tiles, layout.tile_size
    padded = F.pad(video, (0, layout.pad, 0, layout.pad))
    cut = padded.view(b, t, c, n, side, n, side).permute(0, 3, 5, 1, 2, 4, 6)
    return cut.reshape(b * n * n, t, c, side, side)
