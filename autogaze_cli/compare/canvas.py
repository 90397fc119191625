"""What gazing at a token shows: the canvas, and its loss.

A frame's token of scale ``s`` shows the frame reduced to ``s`` x ``s`` pixels (bicubic,
antialiased) and enlarged again (bilinear), in that token's cell; the finest scale shows the frame
itself. The canvas is zero (the mean colour) before the first frame, keeps what it shows from frame
to frame, and within a frame shows the finest scale gazed at. Its loss is its mean absolute
difference from the frame, in normalised values. Every cell is a union of square blocks (8 pixels,
28 x 28 per frame).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.gaze.tokens import ScaleLayout


class Geometry:
    """The cells of a scale layout as tables.

    Attributes:
        side: Frame side in pixels.
        block: Block side in pixels.
        blocks: Blocks of a frame.
        tokens: Ids of a frame, ``N``.
        rank: Scale of each id, 1 = coarsest, ``int64 [N]``.
        cover: Blocks of each id, ``bool [N, blocks]``.
        ranks: 1, 2, ... a scale, ``int64 [scales, 1]``.
        pool: Sums block values of every scale over the cells of that scale,
            ``float32 [scales * blocks, N]``.
        resizers: For every scale but the finest the matrices that reduce and enlarge one axis.
    """

    def __init__(self, layout: ScaleLayout, side: int, device: torch.device | str = "cpu") -> None:
        self.side, self.tokens = side, layout.num_tokens
        across = math.lcm(*layout.grids)
        self.block, self.blocks = side // across, across**2
        if across * self.block != side:
            raise ValueError(f"cells of grids {layout.grids} are no whole pixels of {side}")
        grid, row, col = (torch.from_numpy(a) for a in layout.cells(np.arange(self.tokens)))
        at = torch.arange(across)
        rows = at * grid[:, None] // across == row[:, None]  # [N, across]
        cols = at * grid[:, None] // across == col[:, None]
        self.cover = (rows[:, :, None] & cols[:, None, :]).flatten(1).to(device)
        self.rank = torch.from_numpy(layout.scale_of(np.arange(self.tokens)) + 1).to(device)
        self.ranks = torch.arange(1, len(layout.scales) + 1, device=device)[:, None]
        pool = self.cover.T[None] & (self.rank == self.ranks)[:, None, :]
        self.pool = pool.flatten(0, 1).float()
        self.resizers = [
            (_axis(side, scale, "bicubic").to(device), _axis(scale, side, "bilinear").to(device))
            for scale in layout.scales[:-1]
        ]

    def shown(self, frames: Tensor) -> Tensor:
        """What the scales show of frames ``[b, 3, side, side]``, ``[b, scales, 3, side, side]``."""
        pictures = []
        for reduce, enlarge in self.resizers:
            small = reduce @ frames @ reduce.T
            pictures.append(enlarge @ small @ enlarge.T)
        return torch.stack([*pictures, frames], dim=1)

    def errors(self, pictures: Tensor, frames: Tensor) -> Tensor:
        """Mean absolute difference, shared out among the blocks: sums to the loss.

        Args:
            pictures: ``[b, ..., 3, side, side]``.
            frames: Broadcast against them.

        Returns:
            ``[b, ..., blocks]``.
        """
        across = self.side // self.block
        difference = (pictures - frames).abs()
        cut = difference.view(*difference.shape[:-2], across, self.block, across, self.block)
        sums: Tensor = cut.sum(dim=(-5, -3, -1)).flatten(-2)
        return sums / (3 * self.side**2)

    def levels(self, ids: Tensor) -> Tensor:
        """The rank of the finest scale that any of the ids ``[n]`` shows, 0 = none, ``[blocks]``.

        The order of ids does not matter.
        """
        if len(ids) == 0:
            return torch.zeros(self.blocks, dtype=torch.int64, device=self.rank.device)
        return (self.cover[ids] * self.rank[ids, None]).amax(0)

    def paint(self, picture: Tensor, shown: Tensor, levels: Tensor) -> Tensor:
        """The canvas after a frame.

        Args:
            picture: The canvas before it, ``[b, 3, side, side]``.
            shown: What the scales show of the frame, ``[b, scales, 3, side, side]``.
            levels: The rank that each block shows, 0 = the canvas before, ``[b, blocks]``.
        """
        level = self.pixels(levels)
        for rank, scale in enumerate(shown.unbind(1), 1):
            picture = torch.where(level == rank, scale, picture)
        return picture

    def cut(self, shown: Tensor) -> Tensor:
        """What the scales show, block by block, for ``replay``.

        Args:
            shown: ``[t, scales, 3, side, side]``.

        Returns:
            ``[t, scales, blocks, 3, block, block]``.
        """
        t, scales = shown.shape[:2]
        n, b = self.side // self.block, self.block
        cut = shown.view(t, scales, 3, n, b, n, b).permute(0, 1, 3, 5, 2, 4, 6)
        return cut.reshape(t, scales, self.blocks, 3, b, b)

    def replay(self, cut: Tensor, levels: Tensor) -> Tensor:
        """The canvas after every frame of a clip, from nothing seen: as ``paint``, but at once.

        Args:
            cut: Of the clip's frames, see ``cut``.
            levels: The rank that each block shows, 0 = the canvas before, ``[t, blocks]``.

        Returns:
            ``[t, 3, side, side]``.
        """
        number = torch.arange(len(levels))[:, None]
        last = torch.where(levels > 0, number, -1).cummax(0).values  # the frame a block is from
        level = levels.gather(0, last.clamp(min=0)) - 1
        pieces = cut[last.clamp(min=0), level.clamp(min=0), torch.arange(self.blocks)]
        pieces[last < 0] = 0
        n, b = self.side // self.block, self.block
        whole = pieces.view(-1, n, n, 3, b, b).permute(0, 3, 1, 4, 2, 5)
        return whole.reshape(-1, 3, self.side, self.side)

    def pixels(self, blocks: Tensor) -> Tensor:
        """Block values ``[b, blocks]`` as pixels ``[b, 1, side, side]``."""
        across = self.side // self.block
        square = blocks.view(-1, 1, across, across)
        return square.repeat_interleave(self.block, 2).repeat_interleave(self.block, 3)


def _axis(size: int, target: int, mode: str) -> Tensor:
    """The matrix ``[target, size]`` by which resizing acts on one axis."""
    columns = torch.eye(size, dtype=torch.float64)[None, None]  # each column is one impulse
    antialias = target < size
    return F.interpolate(
        columns, (target, size), mode=mode, antialias=antialias, align_corners=False
    )[0, 0].float()
