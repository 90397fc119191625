"""The decode loop on a GPU: one shape for every step, captured once as CUDA graphs and replayed.

The rules are those of ``decode.py`` and ``choose.py``; only the order of work differs. Every row
keeps its own cache length on the device. A frame is one prefill of ``K + tokens`` slots a row and a
fixed number of steps of ``K`` slots; slots that are not there (a short last chunk, rows that have
stopped) have ``limit`` -1 and cost next to nothing. The host only replays graphs and reads the
result once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.model import kernels
from autogaze_cli.model.choose import FrameGaze
from autogaze_cli.model.decode import Decoder, Linear

SPLITS = 4
"""Shares that a step's keys are cut into, so that few rows still fill the GPU."""

WIDE = 32
"""Rows of a float32 product from which on the library chooses well."""


@dataclass(frozen=True, slots=True)
class _Slots:
    """``n`` slots a row, each with its place in the cache and its rotary position."""

    n: int
    limit: Tensor  # int32 [rows, n]
    position: Tensor  # int32 [rows, n]


def _joined(first: Linear, second: Linear) -> Linear:
    return Linear((first.weight, first.bias), (second.weight, second.bias))


def _product(linear: Linear, x: Tensor, add: Tensor | None = None) -> Tensor:
    """``linear(x, add)``; few float32 rows get rows of zeros beside them.

    For fewer rows the library takes kernels that need up to seven times as long.
    """
    n, spare = len(x), WIDE - len(x)
    if x.dtype != torch.float32 or spare <= 0:
        return linear(x, add)
    wide = None if add is None else F.pad(add, (0, 0, 0, spare))
    return linear(F.pad(x, (0, 0, 0, spare)), wide)[:n]


class CudaDecoder:
    """Decodes clips of ``rows`` rows and at most ``frames`` frames of at most ``slots`` tokens.

    Results are those of ``Decoder`` up to the rounding of sums. Making one compiles and captures;
    ``fits`` tells whether a clip can use its graphs.
    """

    def __init__(self, decoder: Decoder, rows: int, frames: int, slots: int) -> None:
        c, device = decoder.config, decoder.embed.device
        self.decoder, self.config = decoder, c
        self.rows, self.frames, self.slots = rows, frames, slots
        k, tokens = c.num_multi_token_pred, c.num_tokens
        self.capacity = frames * (tokens + slots)
        shape = (rows, c.num_attention_heads, self.capacity, c.head_dim)

        def integers(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.int32, device=device)

        self.keys = [decoder.embed.new_zeros(shape) for _ in decoder.layers]
        self.values = [decoder.embed.new_zeros(shape) for _ in decoder.layers]
        self.vision = decoder.embed.new_zeros(frames, rows, tokens, c.hidden_size)
        self.length, self.tail, self.pending, self.active = (integers(rows) for _ in range(4))
        self.chunk = torch.zeros(rows, k, dtype=torch.int64, device=device)
        self.allowed = torch.zeros(rows, c.vocab_size, dtype=torch.int8, device=device)
        self.budgets, self.frame = integers(frames), integers(1)
        self.alive = torch.full((1,), rows, dtype=torch.int32, device=device)
        self.requirement = torch.zeros(1, device=device)
        self.ids, self.counts = integers(frames, rows, slots), integers(frames, rows)
        self.confidences = torch.zeros(frames, rows, slots, device=device)
        self.prefill = _Slots(k + tokens, integers(rows, k + tokens), integers(rows, k + tokens))
        self.later = _Slots(k, integers(rows, k), integers(rows, k))
        positions = torch.arange(self.capacity, device=device)[:, None].float()
        angles = positions * decoder.frequencies
        self.turns = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1).contiguous()
        self.qkv = [_joined(layer.queries, layer.keys_values) for layer in decoder.layers]
        self.block_m = max(16, triton.next_power_of_2(k))  # the least a matrix product takes
        units = rows * c.num_attention_heads * SPLITS * self.block_m
        self.partial = torch.zeros(units * c.head_dim, device=device)
        self.norms = torch.zeros(units * 2, device=device)
        self.precision = "tf32x3" if decoder.embed.dtype == torch.float32 else "ieee"
        self._begin_graph = self._capture(self._begin)
        self._step_graph = self._capture(self._step)

    def fits(self, rows: int, frames: int, slots: int) -> bool:
        """Whether these buffers and graphs serve a clip of that size."""
        return rows <= self.rows and frames <= self.frames and slots <= self.slots

    def clip(
        self, vision: Tensor, budgets: tuple[int, ...], task_loss_requirement: float | None
    ) -> list[FrameGaze]:
        """Gaze at a clip.

        Args:
            vision: Embedded frames ``[rows, t, tokens, c]``.
            budgets: Tokens of each frame.
            task_loss_requirement: A slot is suppressed when its predicted loss is at most this.
        """
        c, (rows, frames) = self.config, vision.shape[:2]
        self.vision[:frames, :rows].copy_(vision.transpose(0, 1))
        self.alive.fill_(rows)
        self.budgets[:frames].copy_(torch.tensor(budgets, dtype=torch.int32))
        self.requirement.fill_(
            -torch.inf if task_loss_requirement is None else task_loss_requirement
        )
        for buffer in (self.length, self.pending, self.frame, self.chunk):
            buffer.zero_()
        self.ids[:frames].fill_(c.eos_token_id)
        self.confidences[:frames].zero_()
        for budget in budgets:
            self._begin_graph.replay()
            for step in range(1, -(-budget // c.num_multi_token_pred)):
                if task_loss_requirement is not None and step == 2 and not self.active.any():
                    break  # the one time a frame that the host waits
                self._step_graph.replay()
            self.frame += 1
        ids, counts = (
            self.ids[:frames, :rows].cpu().numpy(),
            self.counts[:frames, :rows].cpu().numpy(),
        )
        confidences = self.confidences[:frames, :rows].cpu().numpy()
        gazes = []
        for t in range(frames):
            longest = counts[t].max()
            own = ids[t, :, :longest].astype("int64")
            gazes.append(
                FrameGaze(
                    own,
                    own == c.eos_token_id,
                    confidences[t, :, :longest],
                    counts[t].astype("int64"),
                )
            )
        return gazes

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # compiles, and lets the libraries choose their kernels
                work()
        torch.cuda.current_stream().wait_stream(stream)
        self.length.zero_()
        self.pending.zero_()
        graph = torch.cuda.CUDAGraph()
        # On a stream of this GPU, where the default is one of the first; other GPUs go on.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            work()
        self.length.zero_()
        return graph

    def _begin(self) -> None:
        """A frame's first call: the last frame's last chunk and the vision tokens."""
        c = self.config
        k, tokens = c.num_multi_token_pred, c.num_tokens
        kernels.begin_frame[(self.rows,)](
            self.alive, self.frame, self.length, self.tail, self.pending, self.allowed, self.counts,
            self.active, self.prefill.limit, self.prefill.position,
            K=k, VISION=tokens, V=c.vocab_size,
            BLOCK=triton.next_power_of_2(max(k + tokens, c.vocab_size)),
        )  # fmt: skip
        vision = self.vision.index_select(0, self.frame)[0]
        x = torch.cat([F.embedding(self.chunk, self.decoder.embed), vision], dim=1)
        self._run(x.flatten(0, 1), self.prefill)

    def _step(self) -> None:
        """A later call of a frame: the chunk that was just chosen."""
        self._run(F.embedding(self.chunk, self.decoder.embed).flatten(0, 1), self.later)

    def _run(self, x: Tensor, slots: _Slots) -> None:
        """Slots ``[rows * n, c]`` through all layers, then choose."""
        c, n = self.config, slots.n
        heads, d = c.num_attention_heads, c.head_dim
        for index, layer in enumerate(self.decoder.layers):
            qkv = _product(self.qkv[index], self._normalise(x))
            queries = x.new_empty(len(x), heads * d)
            kernels.rotate_and_cache[(len(x),)](
                qkv, queries, self.keys[index], self.values[index], slots.limit, slots.position,
                self.turns, self.capacity, SLOTS=n, HEADS=heads, D=d,
            )  # fmt: skip
            asked = n
            if index == len(self.decoder.layers) - 1:
                # Only the heads read the last layer's output, and only at the last slot.
                asked, x = 1, x.view(self.rows, n, -1)[:, -1].contiguous()
            x = _product(layer.out, self._attend(queries, index, slots, asked), x)
            gated = x.new_empty(len(x), c.intermediate_size)
            both = _product(layer.gate_up, self._normalise(x))
            kernels.gate[(len(x),)](both, gated, N=c.intermediate_size)
            x = _product(layer.down, gated, x)
        scores = _product(self.decoder.head, self._normalise(x)).float()
        kernels.choose[(self.rows,)](
            scores, self.allowed, self.budgets, self.requirement, self.frame, self.length,
            self.tail, self.ids, self.confidences, self.counts, self.chunk, self.pending,
            self.active, self.later.limit, self.later.position,
            self.slots, K=c.num_multi_token_pred, V=c.vocab_size,
            BLOCK=triton.next_power_of_2(c.vocab_size),
            BLOCK_K=triton.next_power_of_2(c.num_multi_token_pred),
        )  # fmt: skip

    def _normalise(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        kernels.normalise[(len(x),)](x, out, self.config.rms_norm_eps, C=x.shape[1])
        return out

    def _attend(self, queries: Tensor, layer: int, slots: _Slots, asked: int) -> Tensor:
        """Each row's last ``asked`` slots over what they see: ``[rows * asked, heads * d]``."""
        c = self.config
        heads, d = c.num_attention_heads, c.head_dim
        out = queries.new_empty(self.rows * asked, heads * d)
        short = asked <= c.num_multi_token_pred
        splits = SPLITS if short else 1
        block_m = self.block_m if short else 64
        kernels.attend[(self.rows * heads, triton.cdiv(asked, block_m), splits)](
            queries, self.keys[layer], self.values[layer], slots.limit, out, self.partial,
            self.norms, d**-0.5, self.capacity, SLOTS=asked, STRIDE=slots.n, FIRST=slots.n - asked,
            HEADS=heads, D=d, BLOCK_M=block_m, BLOCK_N=64, SPLITS=splits, PRECISION=self.precision,
            num_warps=2 if short else 4, num_stages=3,
        )  # fmt: skip
        if splits > 1:
            kernels.join_splits[(self.rows * heads,)](
                self.partial, self.norms, out,
                SLOTS=asked, HEADS=heads, D=d, BLOCK_M=block_m, SPLITS=splits,
            )  # fmt: skip
        return out
