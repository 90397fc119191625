"""The fast decode loop for CUDA GPUs: steps of fixed shape, captured once as graphs and replayed.

Equal to ``decode.py`` up to the rounding of sums; its rules are those of ``choose.py``. A row of
the batch is one clip, and keeps its own cache length on the device. A frame is one prefill of ``K +
tokens`` tokens per row and a fixed number of decode steps of ``K`` tokens; tokens that are absent
(a short last chunk, rows that have ended) have ``kv_index`` -1 and cost next to nothing. The host
only replays graphs and reads the result once.
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
from autogaze_cli.model.layers import Linear, PackedWeights

SPLITS = 4
"""Parts that the keys of a decode step are split into, so that few rows still fill the GPU."""

BLOCK_M = 64
BLOCK_N = 64
"""Queries and keys per block of the prefill's attention."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """``n`` tokens per row, each with its index in the cache and its rotary position."""

    n: int
    kv_index: Tensor  # int32 [rows, n]
    position: Tensor  # int32 [rows, n]


def _concatenated(first: Linear, second: Linear) -> Linear:
    return Linear((first.weight, first.bias), (second.weight, second.bias))


class CudaDecoder:
    """Decodes ``rows`` clips at once, at most ``frames`` frames of ``max_tokens`` tokens each.

    Results are those of ``Decoder`` up to the rounding of sums. Making one compiles and captures;
    ``fits`` tells whether a clip can use its graphs.
    """

    def __init__(self, weights: PackedWeights, rows: int, frames: int, max_tokens: int) -> None:
        c, device = weights.config, weights.embed.device
        self.weights, self.config = weights, c
        self.rows, self.frames, self.max_tokens = rows, frames, max_tokens
        k, tokens = c.num_multi_token_pred, c.num_tokens
        self.capacity = frames * (tokens + max_tokens)
        shape = (rows, c.num_attention_heads, self.capacity, c.head_dim)

        def integers(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.int32, device=device)

        self.keys = [weights.embed.new_zeros(shape) for _ in weights.layers]
        self.values = [weights.embed.new_zeros(shape) for _ in weights.layers]
        self.vision = weights.embed.new_zeros(frames, rows, tokens, c.hidden_size)
        self.length, self.tail, self.pending, self.active = (integers(rows) for _ in range(4))
        self.chunk = torch.zeros(rows, k, dtype=torch.int64, device=device)
        self.allowed = torch.zeros(rows, c.vocab_size, dtype=torch.int8, device=device)
        self.budgets, self.frame = integers(frames), integers(1)
        self.alive = torch.full((1,), rows, dtype=torch.int32, device=device)
        self.requirement = torch.zeros(1, device=device)
        self.ids, self.counts = integers(frames, rows, max_tokens), integers(frames, rows)
        self.confidences = torch.zeros(frames, rows, max_tokens, device=device)
        self.prefill_tokens, self.step_tokens = (
            _Tokens(n, integers(rows, n), integers(rows, n)) for n in (k + tokens, k)
        )
        positions = torch.arange(self.capacity, device=device)[:, None].float()
        angles = positions * weights.frequencies
        self.cos_sin = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1).contiguous()
        self.qkv = [_concatenated(layer.queries, layer.keys_values) for layer in weights.layers]
        self.block_m = max(16, triton.next_power_of_2(k))  # the minimum of a matrix product
        units = rows * c.num_attention_heads * SPLITS * self.block_m
        self.partial_acc = torch.zeros(units * c.head_dim, device=device)
        self.partial_stats = torch.zeros(units * 2, device=device)
        self.precision = "tf32x3" if weights.embed.dtype == torch.float32 else "ieee"
        self._prefill_graph = self._capture(self._prefill)
        self._decode_graph = self._capture(self._decode_step)

    def fits(self, rows: int, frames: int, max_tokens: int) -> bool:
        """Whether these buffers and graphs serve a batch of that size."""
        return rows <= self.rows and frames <= self.frames and max_tokens <= self.max_tokens

    def clip(
        self, vision: Tensor, budgets: tuple[int, ...], task_loss_requirement: float | None
    ) -> list[FrameGaze]:
        """Gaze at a batch of clips.

        Args:
            vision: Embedded frames ``[rows, t, tokens, c]``.
            budgets: Tokens of each frame.
            task_loss_requirement: A token is suppressed when its predicted loss is at most this.
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
            self._prefill_graph.replay()
            for step in range(1, -(-budget // c.num_multi_token_pred)):
                if task_loss_requirement is not None and step == 2 and not self.active.any():
                    break  # the only time per frame that the host waits
                self._decode_graph.replay()
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

    def _prefill(self) -> None:
        """Feeds a frame: the last chunk of the frame before, then the vision tokens."""
        c = self.config
        k, tokens = c.num_multi_token_pred, c.num_tokens
        kernels.begin_frame[(self.rows,)](
            self.alive, self.frame, self.length, self.tail, self.pending, self.allowed, self.counts,
            self.active, self.prefill_tokens.kv_index, self.prefill_tokens.position,
            K=k, VISION=tokens, V=c.vocab_size,
            BLOCK=triton.next_power_of_2(max(k + tokens, c.vocab_size)),
        )  # fmt: skip
        vision = self.vision.index_select(0, self.frame)[0]
        x = torch.cat([F.embedding(self.chunk, self.weights.embed), vision], dim=1)
        self._run(x.flatten(0, 1), self.prefill_tokens)

    def _decode_step(self) -> None:
        """Feeds the chunk that was just chosen."""
        self._run(F.embedding(self.chunk, self.weights.embed).flatten(0, 1), self.step_tokens)

    def _run(self, x: Tensor, tokens: _Tokens) -> None:
        """Run tokens ``[rows * n, c]`` through all layers, then choose the next chunk."""
        c, n = self.config, tokens.n
        heads, d = c.num_attention_heads, c.head_dim
        for index, layer in enumerate(self.weights.layers):
            qkv = self.qkv[index](self._normalise(x))
            queries = x.new_empty(len(x), heads * d)
            kernels.rope_and_append[(len(x),)](
                qkv, queries, self.keys[index], self.values[index], tokens.kv_index,
                tokens.position, self.cos_sin, self.capacity, TOKENS=n, HEADS=heads, D=d,
            )  # fmt: skip
            count = n
            if index == len(self.weights.layers) - 1:
                # Only the heads read the last layer's output, and only at the last token.
                count, x = 1, x.view(self.rows, n, -1)[:, -1].contiguous()
            x = layer.out(self._attend(queries, index, tokens, count), x)
            gated = x.new_empty(len(x), c.intermediate_size)
            both = layer.gate_up(self._normalise(x))
            kernels.silu_mul[(len(x),)](both, gated, N=c.intermediate_size)
            x = layer.down(gated, x)
        scores = self.weights.head(self._normalise(x)).float()
        kernels.select_tokens[(self.rows,)](
            scores, self.allowed, self.budgets, self.requirement, self.frame, self.length,
            self.tail, self.ids, self.confidences, self.counts, self.chunk, self.pending,
            self.active, self.step_tokens.kv_index, self.step_tokens.position,
            self.max_tokens, K=c.num_multi_token_pred, V=c.vocab_size,
            BLOCK=triton.next_power_of_2(c.vocab_size),
            BLOCK_K=triton.next_power_of_2(c.num_multi_token_pred),
        )  # fmt: skip

    def _normalise(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        kernels.rms_norm[(len(x),)](x, out, self.config.rms_norm_eps, C=x.shape[1])
        return out

    def _attend(self, queries: Tensor, layer: int, tokens: _Tokens, count: int) -> Tensor:
        """Each row's last ``count`` tokens over what they see: ``[rows * count, heads * d]``."""
        c = self.config
        heads, d = c.num_attention_heads, c.head_dim
        out = queries.new_empty(self.rows * count, heads * d)
        is_step = count <= c.num_multi_token_pred
        splits = SPLITS if is_step else 1
        block_m = self.block_m if is_step else BLOCK_M
        kernels.attention[(self.rows * heads, triton.cdiv(count, block_m), splits)](
            queries, self.keys[layer], self.values[layer], tokens.kv_index, out,
            self.partial_acc, self.partial_stats, d**-0.5, self.capacity,
            TOKENS=count, STRIDE=tokens.n, FIRST=tokens.n - count, HEADS=heads, D=d,
            BLOCK_M=block_m, BLOCK_N=BLOCK_N, SPLITS=splits, PRECISION=self.precision,
            num_warps=2 if is_step else 4, num_stages=3,
        )  # fmt: skip
        if splits > 1:
            kernels.combine_splits[(self.rows * heads,)](
                self.partial_acc, self.partial_stats, out,
                TOKENS=count, HEADS=heads, D=d, BLOCK_M=block_m, SPLITS=splits,
            )  # fmt: skip
        return out
