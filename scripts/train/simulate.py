"""What gazing at a token shows: the canvas, its loss, and the teacher that always gains most.

A frame's token of scale ``s`` shows the frame reduced to ``s`` x ``s`` pixels and enlarged again,
in that token's cell; the finest scale shows the frame itself. Every cell is a union of square
blocks (8 pixels, 28 x 28 a frame), so errors are kept as one number a block and scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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


class Canvas:
    """What ``batch`` viewers have seen, and the loss of it against the frame they look at now.

    Attributes:
        picture: Canvas at the end of the frame before, ``[b, 3, side, side]``; at first zero.
        error: Of the canvas now, a block, ``[b, blocks]``.
        level: Rank of the finest scale gazed in this frame, 0 = none, ``int64 [b, blocks]``.
        used: Ids gazed in this frame, ``bool [b, N]``.
        errors: Of what each scale shows, ``[b, scales, blocks]``.
    """

    def __init__(self, geometry: Geometry, batch: int) -> None:
        g, device = geometry, geometry.pool.device
        self.geometry = g
        self.picture = torch.zeros(batch, 3, g.side, g.side, device=device)
        self.error = torch.zeros(batch, g.blocks, device=device)
        self.level = torch.zeros(batch, g.blocks, dtype=torch.int64, device=device)
        self.used = torch.zeros(batch, g.tokens, dtype=torch.bool, device=device)
        self.errors = torch.zeros(batch, len(g.ranks), g.blocks, device=device)
        self._shown = torch.empty(0, device=device)

    def forget(self) -> None:
        """Start anew, from nothing seen."""
        self.picture = torch.zeros_like(self.picture)
        self._shown = self._shown[:0]

    def look(self, frames: Tensor) -> None:
        """Turn to the next frame ``[b, 3, side, side]``, the last one's gaze being finished."""
        if len(self._shown):
            level = self.geometry.pixels(self.level)
            for rank, picture in enumerate(self._shown.unbind(1), 1):
                self.picture = torch.where(level == rank, picture, self.picture)
        self._shown = self.geometry.shown(frames)
        self.errors.copy_(self.geometry.errors(self._shown, frames[:, None]))
        self.errors[:, -1] = 0
        self.error.copy_(self.geometry.errors(self.picture, frames))
        self.level.zero_()
        self.used.zero_()

    def loss(self) -> Tensor:
        """``[b]``."""
        return self.error.sum(1)

    def gains(self) -> Tensor:
        """By how much each id would lower the loss, ``[b, N]``; minus infinity where used."""
        shown = self.level[:, None] < self.geometry.ranks
        falls = (self.error[:, None] - self.errors) * shown
        return (falls.flatten(1) @ self.geometry.pool).masked_fill(self.used, -torch.inf)

    def gaze(self, ids: Tensor) -> None:
        """Gaze at one id each, ``[b]``."""
        rank = self.geometry.rank[ids][:, None]
        covered = self.geometry.cover[ids] & (self.level < rank)
        error = self.errors.gather(1, (rank - 1)[..., None].expand(-1, 1, self.error.shape[1]))
        self.error.copy_(torch.where(covered, error[:, 0], self.error))
        self.level.copy_(torch.where(covered, rank, self.level))
        self.used.scatter_(1, ids[:, None], True)

    def save(self) -> tuple[Tensor, ...]:
        """The gaze at this frame so far, for ``restore``."""
        return self.error.clone(), self.level.clone(), self.used.clone()

    def restore(self, saved: tuple[Tensor, ...]) -> None:
        """Go back to what ``save`` gave."""
        for now, then in zip((self.error, self.level, self.used), saved, strict=True):
            now.copy_(then)


class ChunkStep:
    """One chunk of ``k`` gazes on a canvas, by scores or by the teacher; a CUDA graph on a GPU.

    Attributes:
        scores: To be filled in: the decoder's scores, the highest allowed wins, ``[b, k, N]``.
        teacher: To be filled in: rows in which the teacher gazes instead, ``bool [b]``.
        ids: The ids gazed, ``int64 [b, k]``.
        gains: Before each of them, what every id would have gained, ``[b, k, N]``.
        losses: Before each of them, and at the end, ``[b, k + 1]``.
    """

    def __init__(self, canvas: Canvas, k: int) -> None:
        batch, device = len(canvas.error), canvas.error.device
        n = canvas.geometry.tokens
        self.canvas, self.k = canvas, k
        self.scores = torch.zeros(batch, k, n, device=device)
        self.teacher = torch.zeros(batch, dtype=torch.bool, device=device)
        self.ids = torch.zeros(batch, k, dtype=torch.int64, device=device)
        self.gains = torch.zeros(batch, k, n, device=device)
        self.losses = torch.zeros(batch, k + 1, device=device)
        self._replay: Callable[[], None] = self._run
        if device.type == "cuda":
            saved = canvas.save()
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._run()  # allocations of the first run must not be captured
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._run()
            canvas.restore(saved)
            self._replay = graph.replay

    def __call__(self, count: int) -> None:
        """Gaze ``count`` times; what follows up to ``k`` is only tried."""
        saved = self.canvas.save() if count < self.k else None
        self._replay()
        if saved is not None:
            self.canvas.restore(saved)
            for i in range(count):
                self.canvas.gaze(self.ids[:, i])

    def _run(self) -> None:
        canvas = self.canvas
        for i in range(self.k):
            gains = canvas.gains()
            free = self.scores[:, i].masked_fill(canvas.used, -torch.inf)
            ids = torch.where(self.teacher, gains.argmax(1), free.argmax(1))
            self.losses[:, i] = canvas.loss()
            self.gains[:, i] = gains
            self.ids[:, i] = ids
            canvas.gaze(ids)
        self.losses[:, self.k] = canvas.loss()
