"""Cutting gazed patches: each output pixel is computed from the few input pixels it needs.

A picture reduced to a scale is never made. Resizing is separable, and so is stretching a frame over
its tiles; both are weighted sums of a few pixels along an axis, and so is one after the other.
``Taps`` holds these sums for every pixel of an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tiles import TileLayout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AT_ONCE = 1 << 24
"""Input pixels that are gathered at once."""

_CUBIC = -0.75
"""The parameter of PyTorch's cubic filter."""


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """Every pixel of an axis as a weighted sum of input pixels.

    Attributes:
        index: Which input pixels, ``[pixels, k]``.
        weight: Their weights, ``[pixels, k]``; those of pixels beyond the input are 0.
    """

    index: Ints
    weight: Floats

    @classmethod
    def identity(cls, pixels: int) -> Taps:
        """The input as it is."""
        return cls(np.arange(pixels)[:, None], np.ones((pixels, 1)))

    @classmethod
    def bicubic(cls, source: int, target: int) -> Taps:
        """PyTorch's bicubic resize: half-pixel centres, edges repeated, not antialiased.

        Positions are float32, as PyTorch computes them. Source: encoder spec 1.
        """
        if source == target:
            return cls.identity(source)
        step, half = np.float32(source) / np.float32(target), np.float32(0.5)
        at = step * (np.arange(target, dtype=np.float32) + half) - half
        low = np.floor(at)
        t = (at - low)[:, None].astype(np.float64)
        distance = np.abs(np.concatenate([t + 1, t, 1 - t, 2 - t], axis=1))
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = (((distance - 5) * distance + 8) * distance - 4) * _CUBIC
        index = low[:, None].astype(np.int64) + np.arange(-1, 3)
        return cls(index.clip(0, source - 1), np.where(distance <= 1, near, far))

    @classmethod
    def bilinear(cls, source: int, target: int) -> Taps:
        """A bilinear stretch with half-pixel centres, as tiles are cut for the gaze model.

        Source: inference spec 6.2.
        """
        if source == target:
            return cls.identity(source)
        at = ((np.arange(target) + 0.5) * (source / target) - 0.5).clip(0, source - 1)
        low = at.astype(np.int64)
        index = np.stack([low, (low + 1).clip(max=source - 1)], axis=1)
        right = at - low
        return cls(index, np.stack([1 - right, right], axis=1))

    def at(self, pixels: Ints) -> Taps:
        """Those of some pixels; a pixel beyond the axis has no input."""
        inside = pixels < len(self.index)
        found = np.where(inside, pixels, 0)
        return Taps(self.index[found], self.weight[found] * inside[:, None])

    def then(self, second: Taps) -> Taps:
        """This, and ``second`` on its result, as one."""
        index = self.index[second.index]
        weight = self.weight[second.index] * second.weight[:, :, None]
        index, weight = index.reshape(len(index), -1), weight.reshape(len(index), -1)
        used = (weight != 0).any(axis=0)
        used[0] |= not used.any()
        return Taps(index[:, used], weight[:, used])

    def distinct(self) -> tuple[Ints, Floats]:
        """The input pixels that are needed, ``[u]``, and their weights, ``[pixels, u]``."""
        index, inverse = np.unique(self.index, return_inverse=True)
        weight = np.zeros((len(self.index), len(index)))
        rows = np.arange(len(self.index))[:, None]
        np.add.at(weight, (rows, inverse.reshape(self.index.shape)), self.weight)
        return index, weight


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """What the patches of each scale need along an axis, on the device.

    A place is a patch of a tile: tile by tile, patch by patch. ``u`` is how many different input
    pixels a patch needs at most; weights of places that need fewer are 0.

    Attributes:
        index: For each scale which input pixels, int64 ``[places, u]``.
        weight: For each scale their weights, float32 ``[places, p, u]``.
    """

    index: tuple[Tensor, ...]
    weight: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        canvas: Taps,
        starts: Sequence[int],
        tile: int,
        scales: Sequence[int],
        patch: int,
        device: torch.device,
    ) -> Axis:
        """For tiles that start at ``starts`` on a canvas, of ``tile`` pixels each."""
        tiles = [canvas.at(start + np.arange(tile)) for start in starts]
        tables = []
        for scale in scales:
            resize = Taps.bicubic(tile, scale)
            needs = [
                taps.at(first + np.arange(patch)).distinct()
                for taps in (part.then(resize) for part in tiles)
                for first in range(0, scale, patch)
            ]
            most = max(len(index) for index, _ in needs)
            index = np.stack([np.pad(i, (0, most - len(i))) for i, _ in needs])
            weight = np.stack([np.pad(w, ((0, 0), (0, most - w.shape[1]))) for _, w in needs])
            tables.append((index, weight.astype(np.float32)))
        return cls(
            tuple(torch.from_numpy(index).to(device) for index, _ in tables),
            tuple(torch.from_numpy(weight).to(device) for _, weight in tables),
        )


class Cutter:
    """Cuts patches out of pictures of one size.

    Attributes:
        layout: The tiles of a picture.
        scales: The encoder's scales, ascending.
        patch: Side of a patch in pixels.
    """

    def __init__(
        self, layout: TileLayout, scales: Sequence[int], patch: int, device: torch.device
    ) -> None:
        self.layout, self.scales, self.patch = layout, tuple(scales), patch
        tile = layout.height if layout.mode == "resize" else layout.tile_size
        size, axes = (layout.height, layout.width), []
        for axis, tiles in enumerate((layout.rows, layout.cols)):
            stretched = layout.canvas[axis]
            canvas = Taps.bilinear(size[axis], stretched)
            starts = [n * layout.step for n in range(tiles)]
            axes.append(Axis.of(canvas, starts, tile, self.scales, patch, device))
        self._down, self._across = axes

    def cut(
        self,
        pictures: Tensor,
        picture: Ints,
        tile: Ints,
        scale: int,
        row: Ints,
        col: Ints,
        factor: Tensor,
        offset: Tensor,
    ) -> Tensor:
        """Patches of one scale.

        Args:
            pictures: ``[m, 3, h, w]``, any number type.
            picture: Which picture each patch is of, ``[n]``.
            tile: Which tile of it, ``[n]``.
            scale: Index of the scale.
            row: Row in the scale's grid, ``[n]``.
            col: Column in the scale's grid, ``[n]``.
            factor: Multiplies pixels, per channel, float32 ``[3]``.
            offset: Added then, inside the picture, float32 ``[3]``.

        Returns:
            float32 ``[n, 3, p, p]``.
        """
        grid = self.scales[scale] // self.patch
        tile_row, tile_col = np.divmod(tile, self.layout.cols)
        place = np.stack([picture, tile_row * grid + row, tile_col * grid + col])
        at = torch.from_numpy(place).to(pictures.device)
        needed = 3 * self._down.index[scale].shape[1] * self._across.index[scale].shape[1]
        parts = [
            self._cut(pictures, part, scale, factor, offset)
            for part in torch.split(at, max(1, _AT_ONCE // needed), dim=1)
        ]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _cut(
        self, pictures: Tensor, at: Tensor, scale: int, factor: Tensor, offset: Tensor
    ) -> Tensor:
        p = self.patch
        y, down = self._down.index[scale][at[1]], self._down.weight[scale][at[1]]
        x, across = self._across.index[scale][at[2]], self._across.weight[scale][at[2]]
        (n, u), v = y.shape, x.shape[1]
        found = pictures[at[0][:, None, None], :, y[:, :, None], x[:, None, :]].float()
        found = found.transpose(2, 3).reshape(n, u * 3, v) @ across.transpose(1, 2)
        found = (down @ found.view(n, u, 3 * p)).view(n, p, 3, p)
        inside = down.sum(2)[:, :, None] * across.sum(2)[:, None, :]  # [n, p, p]
        found = found.transpose(1, 2) * factor[:, None, None]
        return found + inside[:, None] * offset[:, None, None]


def resize_frames(frames: NDArray[np.uint8], side: int, resample: int) -> NDArray[np.uint8]:
    """Frames ``[t, h, w, 3]`` stretched to squares, as an encoder's processor resizes."""
    if frames.shape[1:3] == (side, side):
        return frames
    out = np.empty((len(frames), side, side, 3), np.uint8)
    for frame, to in zip(frames, out, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(frame))
        to[:] = np.asarray(picture.resize((side, side), Image.Resampling(resample)))
    return out


def as_pictures(frames: Tensor | NDArray[np.uint8]) -> Tensor:
    """Frames as a tensor, where they are.

    Raises:
        ConfigError: They are no RGB frames.
    """
    pictures = (
        frames if isinstance(frames, Tensor) else torch.from_numpy(np.ascontiguousarray(frames))
    )
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        kind = str(pictures.dtype).removeprefix("torch.")
        raise ConfigError(f"frames must be uint8 [t, h, w, 3], not {kind} {list(pictures.shape)}")
    return pictures
