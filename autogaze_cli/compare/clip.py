"""One clip as a model sees it, and what is left of it on the canvas after a gaze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.compare.measures import Ssim, psnr_db, to_pixels
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.preprocess import normalise, resize_shortest, square

SIDE = 224
LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
"""The cells of the canvas: those of the published model."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """The canvas at the end of each frame of a clip.

    Attributes:
        pictures: Normalised, float32 ``[t, 3, side, side]``.
        loss: Mean absolute difference from the frame, ``[t]``.
        updated: The fraction of its pixels that the frame's gaze replaced, ``[t]``.
    """

    pictures: Tensor
    loss: NDArray[np.float64]
    updated: NDArray[np.float64]


class Clip:
    """A clip to play gazes on.

    Args:
        frames: RGB, uint8 ``[t, h, w, 3]``, of any size; resized and normalised as by the published
            processor and model, whole and not cropped.

    Attributes:
        frames: As the model sees them, float32 ``[t, 3, side, side]``.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]]) -> None:
        self.geometry = Geometry(LAYOUT, SIDE)
        small = np.stack([resize_shortest(rgb, {"shortest_edge": SIDE}) for rgb in frames])
        self.frames = square(normalise(torch.from_numpy(small)), SIDE)
        self._cut = self.geometry.cut(self.geometry.shown(self.frames))
        self._pixels = to_pixels(self.frames)
        self._ssim = Ssim(self._pixels)

    def play(self, gaze: Sequence[Fixations], *, first_frame_free: bool = False) -> Played:
        """Put the gaze at each frame on the canvas.

        Args:
            gaze: The fixations of each frame; only active ones count.
            first_frame_free: Whether the canvas starts as the whole first frame, whatever the gaze
                at it is.

        Raises:
            ConfigError: A fixation is not a cell of the canvas.
        """
        g, levels = self.geometry, [self._levels(fixations) for fixations in gaze]
        if first_frame_free:
            levels[0] = torch.full_like(levels[0], len(g.ranks))
        stacked = torch.stack(levels)
        pictures = g.replay(self._cut, stacked)
        loss = (pictures - self.frames).abs().mean((1, 2, 3)).double()
        updated = stacked.gt(0).double().mean(1)
        return Played(pictures, loss.numpy(), updated.numpy())

    def measures(self, played: Played) -> dict[str, float]:
        """The figures of the frames after the first: PSNR, SSIM, loss, pixels updated."""
        pixels = to_pixels(played.pictures[1:])
        error = torch.nn.functional.mse_loss(pixels, self._pixels[1:])
        return {
            "psnr_db": psnr_db(float(error)),
            "ssim": float(self._ssim.of(pixels, first=1).mean()),
            "loss": float(played.loss[1:].mean()),
            "update_ratio": float(played.updated[1:].mean()),
        }

    def _levels(self, fixations: Fixations) -> Tensor:
        return self.geometry.levels(torch.from_numpy(canvas_ids(fixations)))


def canvas_ids(fixations: Fixations) -> NDArray[np.int64]:
    """The ids of a frame's active fixations on the canvas.

    Raises:
        ConfigError: One is not a cell of the canvas.
    """
    f = fixations.active()
    scale = np.searchsorted(LAYOUT.grids, f.grid)
    known = (f.grid > 0) & (scale < len(LAYOUT.grids))
    grid = np.asarray(LAYOUT.grids)[np.where(known, scale, 0)]
    row, col = (np.floor(at.astype(np.float64) * grid).astype(np.int64) for at in (f.y, f.x))
    whole = np.isclose(f.width * grid, 1, atol=1e-4) & np.isclose(f.height * grid, 1, atol=1e-4)
    if not np.all(known & (grid == f.grid) & whole):
        raise ConfigError(
            "the source gazes at cells that the canvas does not have",
            hint=f"its grids are {', '.join(map(str, LAYOUT.grids))} cells per side of the frame",
        )
    return LAYOUT.ids(scale, row, col)
