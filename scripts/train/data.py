"""Footage in memory, and clips drawn from it: moving cameras, objects, light, sharpness, noise.

All pictures lie in one flat ``uint8`` tensor. A clip's frame is one affine view of a picture: each
output pixel is the mean of 2 x 2 bilinear samples, so that pictures may be reduced (which makes
them sharp) up to about twice; outside a picture its mirror image goes on.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scripts.train.pack_data import centre_square, picture_names

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Item(NamedTuple):
    """One clip or still of the footage: where its pictures lie, and what it is."""

    name: str
    offset: int
    frames: int
    height: int
    width: int
    still: bool
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Pictures of one split.

    Attributes:
        pixels: RGB pictures one after another, ``uint8 [n]``.
        items: What lies there.
    """

    pixels: Tensor
    items: tuple[Item, ...]

    @classmethod
    def of_arrays(
        cls, arrays: dict[str, NDArray[np.uint8]], sources: Sequence[str] | None = None
    ) -> Footage:
        """Footage of arrays ``uint8 [frames, h, w, 3]``; one frame makes a still."""
        items = []
        offset = 0
        names = sources or list(arrays)
        for (name, array), source in zip(arrays.items(), names, strict=True):
            frames, height, width, _ = array.shape
            items.append(Item(name, offset, frames, height, width, frames == 1, source))
            offset += array.size
        flat = np.concatenate([array.ravel() for array in arrays.values()])
        return cls(torch.from_numpy(flat), tuple(items))

    def to(self, device: torch.device | str) -> Footage:
        """The same on another device."""
        return Footage(self.pixels.to(device), self.items)


def read_pack(path: Path, split: str, workers: int = 16) -> Footage:
    """Decode one split of a pack written by ``pack_data``."""
    with zipfile.ZipFile(path) as pack:
        rows = [json.loads(line) for line in pack.read("manifest.jsonl").splitlines()]
        rows = [row for row in rows if row["split"] == split]
        names = [picture_names(row["id"], row["kind"], row["frames"]) for row in rows]
        data = [[pack.read(name) for name in some] for some in names]
    with ThreadPoolExecutor(workers) as pool:
        arrays = list(pool.map(_decode, data))
    return Footage.of_arrays(
        {row["id"]: array for row, array in zip(rows, arrays, strict=True)},
        [row["source"] for row in rows],
    )


def _decode(pictures: list[bytes]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures])


def measured_clips(footage: Footage, frames: int = 16) -> Tensor:
    """The items as they are measured: first frames, centre square, ``uint8 [n, frames, 3, s, s]``.

    The last frame is repeated where an item is shorter.
    """
    clips = []
    pixels = footage.pixels.cpu().numpy()
    for item in footage.items:
        size = item.height * item.width * 3
        at = [item.offset + min(i, item.frames - 1) * size for i in range(frames)]
        pictures = [pixels[o : o + size].reshape(item.height, item.width, 3) for o in at]
        clips.append(np.stack([centre_square(picture) for picture in pictures]))
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).contiguous()


def normalise(clips: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """``uint8 [..., 3, h, w]`` as the model sees it, float32. Source: inference spec 2.1."""
    middle, spread = (torch.tensor(v, device=clips.device)[:, None, None] for v in (mean, std))
    return (clips.float() / 127.5 - 1 - middle) / spread


def sample(
    pixels: Tensor, base: Tensor, size: Tensor, view: Tensor, side: int, grid: int
) -> Tensor:
    """Affine views of pictures.

    Args:
        pixels: Flat footage, uint8.
        base: Where each picture starts, ``int64 [n]``.
        size: Height and width of each, ``[n, 2]``.
        view: Row and column in the picture of an output point ``(v, u)`` in -0.5..0.5, as
            ``[y0, yv, yu, x0, xv, xu]``, ``[n, 6]``.
        side: Output side in pixels.
        grid: Samples a pixel along each axis.

    Returns:
        0..255, float32 ``[n, 3, side, side]``.
    """
    n = len(base)
    height, width = (size[:, i, None, None] for i in (0, 1))
    y0, yv, yu, x0, xv, xu = (view[:, i, None, None] for i in range(6))
    line = torch.arange(side, device=pixels.device)
    channel = torch.arange(3, device=pixels.device)[:, None, None]
    start = base[:, None, None, None] + channel
    total = torch.zeros(n, 3, side, side, device=pixels.device)
    for i in range(grid):
        v = ((line + (i + 0.5) / grid) / side - 0.5)[None, :, None]
        for j in range(grid):
            u = ((line + (j + 0.5) / grid) / side - 0.5)[None, None, :]
            y = _mirror(y0 + yv * v + yu * u, height)
            x = _mirror(x0 + xv * v + xu * u, width)
            top, left = y.floor(), x.floor()
            dy, dx = (y - top)[:, None], (x - left)[:, None]
            row = top.long() * width
            below = torch.minimum(top + 1, height - 1).long() * width
            at, right = left.long(), torch.minimum(left + 1, width - 1).long()
            corner = [
                pixels[start + (a + b)[:, None] * 3].float()
                for a in (row, below)
                for b in (at, right)
            ]
            upper = corner[0] + (corner[1] - corner[0]) * dx
            lower = corner[2] + (corner[3] - corner[2]) * dx
            total = total + upper + (lower - upper) * dy
    return total / grid**2


def _mirror(x: Tensor, size: Tensor) -> Tensor:
    """Fold pixel coordinates (centres at .5) into 0..size-1 of pixel indices."""
    span = 2.0 * size
    x = x - torch.floor(x / span) * span
    x = torch.minimum(x, span - x) - 0.5
    return x.clamp_min(0).minimum(size - 1.0)


Sample = Callable[[Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


class Augmenter:
    """Draws training clips from footage.

    Args:
        footage: On the device where clips are wanted.
        seed: Of every random choice.
        side: Of the clips, pixels.
        sampler: ``sample``, perhaps compiled.
        part: Clips made at a time.
    """

    def __init__(
        self,
        footage: Footage,
        seed: int,
        side: int = 224,
        sampler: Sample = sample,
        part: int = 16,
    ) -> None:
        self.footage, self.side, self.sampler, self.part = footage, side, sampler, part
        self.seed = seed
        self.noise = torch.Generator(footage.pixels.device)
        self.reseed(0)
        items = footage.items
        self.sizes = np.array([(i.height, i.width) for i in items], np.float64)
        self.offsets = np.array([i.offset for i in items])
        self.frames = np.array([i.frames for i in items])
        self.stills = np.array([i.still for i in items])
        # Sources are drawn by the square root of their share, stills apart from videos.
        names = [(i.source, i.still) for i in items]
        chance = np.array([names.count(name) ** -0.5 for name in names])
        self.chance = [
            np.where(self.stills == kind, chance, 0) / max(chance[self.stills == kind].sum(), 1e-9)
            for kind in (False, True)
        ]
        if not self.stills.any() or self.stills.all():
            self.chance = [chance / chance.sum()] * 2

    def reseed(self, number: int) -> None:
        """Start another sequence of random choices."""
        self.rng = np.random.default_rng([self.seed, number])
        self.noise.manual_seed(self.seed + number)

    def clips(self, batch: int, frames: int) -> Tensor:
        """Draw clips, ``uint8 [batch, frames, 3, side, side]``."""
        parts = [self._part(self.part, frames) for _ in range(0, batch, self.part)]
        return torch.cat(parts)[:batch]

    def _part(self, n: int, t: int) -> Tensor:
        picture = self._view(self._draw(n, 0.4), t, 1.0)
        objects = -(-n // 4)
        front = self._view(self._draw(objects, 0.6), t, 3.0)
        mask = self._objects(objects, t)
        picture[:objects] = torch.lerp(picture[:objects], front, mask)
        return self._light(picture)

    def _draw(self, n: int, stills: float) -> NDArray[np.int64]:
        """Items: a share of stills, each source by the root of its size."""
        which = (self.rng.random(n) < stills).astype(int)
        return np.array([self.rng.choice(len(self.offsets), p=self.chance[w]) for w in which])

    def _view(self, items: NDArray[np.int64], t: int, speed: float) -> Tensor:
        """Clips ``[n, t, 3, side, side]`` of items, seen by cameras that may move."""
        view = self._cameras(items, t, speed)
        base, size = self._pictures(items, t)
        cut = self.rng.random(len(items)) < 0.04  # another scene comes in the middle of the clip
        if cut.any():
            others = self._draw(len(items), 0.4)
            at = (np.arange(t) >= self.rng.integers(1, t + 1, (len(items), 1))) & cut[:, None]
            view = np.where(at[..., None], self._cameras(others, t, speed), view)
            new_base, new_size = self._pictures(others, t)
            base = np.where(at, new_base, base)
            size = np.where(at[..., None], new_size, size)
        device = self.footage.pixels.device
        pictures = self.sampler(
            self.footage.pixels,
            torch.from_numpy(base.ravel()).to(device),
            torch.from_numpy(size.reshape(-1, 2)).long().to(device),
            torch.from_numpy(view.reshape(-1, 6)).float().to(device),
            self.side,
            2,
        )
        return pictures.view(len(items), t, *pictures.shape[1:])

    def _pictures(
        self, items: NDArray[np.int64], t: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Where the clips' pictures start ``[n, t]``, and their sizes ``[n, t, 2]``.

        Clips run forwards or backwards, now and then faster, and turn round at an item's ends.
        """
        n = len(items)
        stride = self.rng.choice([1, 1, 1, 1, 2, 2, 3], n)
        frames = self.frames[items]
        slack = np.maximum(frames - 1 - stride * (t - 1), 0)
        first = (self.rng.random(n) * (slack + 1)).astype(int)
        index = first[:, None] + stride[:, None] * np.arange(t)
        round_trip = np.maximum(2 * (frames - 1), 1)[:, None]
        index = index % round_trip
        index = np.minimum(index, round_trip - index) * (frames > 1)[:, None]
        backwards = self.rng.random(n) < 0.3
        index = np.where(backwards[:, None], frames[:, None] - 1 - index, index)
        size = self.sizes[items]
        base = self.offsets[items][:, None] + index * (size.prod(1) * 3).astype(int)[:, None]
        return base, size[:, None].repeat(t, axis=1)

    def _cameras(self, items: NDArray[np.int64], t: int, speed: float) -> NDArray[np.float64]:
        """Affine views ``[n, t, 6]``: never enlarged at first; stills, and some videos, move."""
        rng, n = self.rng, len(items)
        size, still = self.sizes[items], self.stills[items]
        short = size.min(1)
        # Source pixels that the output side shows: 1 to 1, or reduced up to about twice.
        wide = np.where(still, short * 1.15, short * 1.6)
        share = rng.random(n) * (rng.random(n) < np.where(still, 0.8, 0.5))
        span = self.side * (np.maximum(wide, self.side * 1.02) / self.side) ** share
        moving = rng.random(n) < np.where(still, 0.85, 0.3 * speed)
        pace = speed * 0.001 * 40 ** rng.random(n) * moving  # of the output side, a frame
        angle = rng.random(n) * 2 * math.pi
        shake = pace * rng.random(n) * 0.5
        steps = rng.normal(size=(n, t, 2)) * shake[:, None, None]
        bend = rng.normal(size=(n, 1, 2)) * pace[:, None, None] * 0.05 * np.arange(t)[:, None]
        velocity = np.stack([np.sin(angle), np.cos(angle)], -1) * pace[:, None]
        path = np.cumsum(velocity[:, None] + steps + bend, axis=1) - velocity[:, None]
        room = np.maximum(size - span[:, None], 0)
        # Half of the videos are seen as they are measured, from the middle.
        spread = np.where(still | (rng.random(n) < 0.5), 1.0, 0.0)[:, None]
        centre = size / 2 + room * (rng.random((n, 2)) - 0.5) * spread
        centre = centre[:, None] + path * span[:, None, None]
        zooming = moving & (rng.random(n) < 0.4)
        zoom = np.exp(np.arange(t) * (rng.normal(size=n) * 0.006 * zooming)[:, None])
        tilted, turning = rng.random((2, n)) < 0.25
        turn = rng.normal(size=n) * 0.1 * tilted
        turns = (
            turn[:, None] + np.arange(t) * (rng.normal(size=n) * 0.012 * turning * moving)[:, None]
        )
        width = span[:, None] * zoom
        flip = np.where(rng.random(n) < 0.5, -1.0, 1.0)[:, None]
        cos, sin = np.cos(turns) * width, np.sin(turns) * width
        return np.stack(
            [centre[..., 0], cos, sin * flip, centre[..., 1], -sin, cos * flip], axis=-1
        )

    def _objects(self, n: int, t: int) -> Tensor:
        """Masks of moving objects ``[n, t, 1, side, side]``: ellipses with lobes, soft edges."""
        rng = self.rng
        radius = 0.05 * 6 ** rng.random((n, 1)) * np.exp(rng.normal(size=(n, 2)) * 0.3)
        pace = 0.004 * 20 ** rng.random(n)
        angle = rng.random(n) * 2 * math.pi
        velocity = np.stack([np.sin(angle), np.cos(angle)], -1) * pace[:, None]
        middle = rng.random((n, 2)) - 0.5 - velocity * t / 2
        fall = np.stack([(rng.random(n) < 0.4) * 0.0015 * np.arange(t)[:, None] ** 2] * 2, -1)
        fall = fall.transpose(1, 0, 2) * np.array([1.0, 0.0])
        centre = middle[:, None] + velocity[:, None] * np.arange(t)[:, None] + fall
        spin = rng.random(n)[:, None] * 7 + np.arange(t) * rng.normal(size=n)[:, None] * 0.1
        lobes = rng.integers(2, 6, n)
        depth = rng.random(n) * 0.3
        device = self.footage.pixels.device

        def column(values: NDArray[np.float64] | NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(np.array(values)).float().to(device)[..., None, None]

        line = (torch.arange(self.side, device=device) + 0.5) / self.side - 0.5
        y, x = line[:, None] - column(centre[..., 0]), line - column(centre[..., 1])
        y, x = y / column(radius[:, :1]), x / column(radius[:, 1:])
        around = torch.atan2(y, x) + column(spin)
        edge = 1 + column(depth[:, None]) * torch.sin(around * column(lobes[:, None]))
        away = edge - (x.square() + y.square()).sqrt()
        softness = column(radius.min(1)[:, None]) * self.side
        return (away * softness + 0.5).clamp(0, 1)[:, :, None]

    def _light(self, picture: Tensor) -> Tensor:
        """Sharpness, contrast, colour, fading, noise and bars; then 8 bits."""
        rng, (n, t) = self.rng, picture.shape[:2]
        device = picture.device

        def amount(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values).float().to(device).view(n, -1, 1, 1, 1)

        sharpen = rng.random(n) * 1.6 * (rng.random(n) < 0.6)
        soft = F.avg_pool2d(picture.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(
            picture
        )
        picture = picture + (picture - soft) * amount(sharpen)
        grey = picture.mean(2, keepdim=True)
        colour = np.where(rng.random(n) < 0.06, 0, np.exp(rng.normal(size=n) * 0.25))
        picture = torch.lerp(grey, picture, amount(colour))
        gain = np.exp(rng.normal(size=n) * 0.2 + 0.1)
        fading = (rng.random(n) < 0.1) * rng.normal(size=n) * 0.015
        gains = gain[:, None] * np.exp(fading[:, None] * np.arange(t))
        tint = torch.from_numpy(np.exp(rng.normal(size=(n, 1, 3, 1, 1)) * 0.05)).float().to(device)
        shift = 127.5 + rng.normal(size=n) * 25
        picture = (picture - 127.5) * amount(gains) * tint + amount(shift)
        strength = (rng.random(n) < 0.25) * rng.random(n) * 4
        grain = torch.empty_like(picture).normal_(generator=self.noise)
        picture = picture + grain * amount(strength)
        bars = (rng.random(n) < 0.04) * rng.random(n) * 0.2
        line = (torch.arange(self.side, device=device) / self.side - 0.5).abs()
        picture = picture * (line[:, None] < 0.5 - amount(bars))
        return picture.round().clamp(0, 255).to(torch.uint8)
