"""A canvas that is played on step by step, and the teacher that always gains most.

``autogaze_cli.compare.canvas`` says what a token shows. Errors are kept as one number per block and
scale, so that the gain of every id is known at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry


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
            self.picture = self.geometry.paint(self.picture, self._shown, self.level)
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
