"""The decode loop: rows of different lengths, packed into one matrix, each with its own cache.

Source: inference spec 3.4 to 3.9. Every row behaves exactly as if it were decoded alone, so batch
composition never changes a result. A row's cache holds only slots that a later query may see, hence
a slot's rotary position is its index in the cache (plus what a rolling window has dropped), save
for the chunks within a frame, which all sit on the positions of the frame's last ``K`` vision
tokens (3.6, step 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.gaze.budget import CoverageTracker
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import DecoderLayer, GazeDecoder, rotary_frequencies

MIN_ROWS = 16
"""Matrix products of fewer rows take other CPU kernels that round differently. Results must not
depend on how many rows are decoded together, so smaller products are padded (12 would do)."""


@dataclass(slots=True)
class RowFrame:
    """One row's gaze in one frame: ``ids`` in order of choice, the padding id where ``padded``."""

    ids: list[int] = field(default_factory=list)
    padded: list[bool] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


@dataclass(slots=True)
class RowState:
    """What one row carries from frame to frame.

    Attributes:
        keys: A layer's rotated keys, ``[heads, capacity, d]``; ``values`` likewise.
        start: First cached slot that is still visible.
        end: One past the last cached slot.
        dropped: Slots that have left the cache; cache index ``i`` has position ``dropped + i``.
        pending: Valid ids of the last chunk, which enters the cache with the next frame.
        frames: Visible slots of each remembered frame, oldest first.
    """

    keys: list[Tensor]
    values: list[Tensor]
    start: int = 0
    end: int = 0
    dropped: int = 0
    pending: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def reserve(self, slots: int) -> None:
        """Make room for ``slots`` more: grow, or move the visible ones to the front."""
        capacity = self.keys[0].shape[1]
        if self.end + slots <= capacity:
            return
        live = self.end - self.start
        larger = capacity if live + slots <= capacity else max(2 * capacity, live + slots)
        for buffers in (self.keys, self.values):
            for i, old in enumerate(buffers):
                new = old.new_empty(old.shape[0], larger, old.shape[2])
                new[:, :live] = old[:, self.start : self.end]
                buffers[i] = new
        self.dropped += self.start
        self.start, self.end = 0, live

    def forget(self, horizon: int) -> None:
        """Drop the oldest frames until fewer than ``horizon`` remain.

        Source: inference spec 7.2.
        """
        while len(self.frames) >= horizon:
            self.start += min(self.frames.pop(0), self.end - self.start)


class _Layer:
    """A decoder layer's weights with the projections that share an input fused."""

    def __init__(self, layer: DecoderLayer) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        self.qkv = _fuse(attn.q_proj, attn.k_proj, attn.v_proj)
        self.out = _fuse(attn.o_proj)
        self.gate_up = _fuse(mlp.gate_proj, mlp.up_proj)
        self.down = _fuse(mlp.down_proj)
        self.norm1 = layer.input_layernorm
        self.norm2 = layer.post_attention_layernorm


def _fuse(*linears: torch.nn.Linear) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([linear.weight for linear in linears])
    has_bias = isinstance(linears[0].bias, Tensor)
    return weight, torch.cat([linear.bias for linear in linears]) if has_bias else None


class Decoder:
    """Runs a ``GazeDecoder`` over rows with caches."""

    def __init__(self, module: GazeDecoder, config: GazeConfig) -> None:
        self.config = config
        self.module = module
        self.layers = [_Layer(layer) for layer in module.model.layers]  # type: ignore[arg-type]
        self.embed = module.model.embed_tokens.weight
        self.frequencies = rotary_frequencies(config.head_dim, config.rope).to(self.embed.device)

    def new_rows(self, count: int, capacity: int) -> list[RowState]:
        """Empty states with room for ``capacity`` slots each."""
        c = self.config
        shape = (c.num_key_value_heads, capacity, c.head_dim)
        layers = range(c.num_hidden_layers)
        return [
            RowState(
                [self.embed.new_empty(shape) for _ in layers],
                [self.embed.new_empty(shape) for _ in layers],
            )
            for _ in range(count)
        ]

    def frame(
        self,
        rows: Sequence[RowState],
        vision: Tensor,
        max_tokens: int,
        task_loss_requirement: float | None,
        coverage: float | None = None,
        horizon: int | None = None,
    ) -> list[RowFrame]:
        """Gaze at one frame.

        Args:
            rows: The rows' states, advanced in place.
            vision: Embedded frame ``[len(rows), tokens, c]``.
            max_tokens: Token budget of a row, at least 1.
            task_loss_requirement: A slot is suppressed when its predicted loss is at most this.
            coverage: Finish a row when this share of the frame is covered; None = never.
            horizon: Frames visible to a query, the present one included; None = all.

        Returns:
            Each row's gaze.
        """
        k, eos = self.config.num_multi_token_pred, self.config.eos_token_id
        results = [RowFrame() for _ in rows]
        choosers = [
            _Chooser(self.config, max_tokens, task_loss_requirement, coverage) for _ in rows
        ]
        inputs, positions, tails = [], [], []
        for row, tokens in zip(rows, vision, strict=True):
            if horizon is not None:
                row.forget(horizon)
            row.reserve(len(row.pending) + len(tokens) + max_tokens)
            inputs += [self.embed[row.pending], tokens]
            first = row.dropped + row.end
            positions.append(torch.arange(first, first + len(row.pending) + len(tokens)))
            tails.append(positions[-1][-k:])
        lengths = [len(p) for p in positions]
        hidden = self.run(torch.cat(inputs), torch.cat(positions), rows, lengths)
        active = list(range(len(rows)))
        while True:
            logits, losses = self.heads(hidden)
            running = []
            for i, row_logits, row_losses in zip(active, logits, losses, strict=True):
                chunk = choosers[i].chunk(row_logits, row_losses, results[i])
                rows[i].pending = [id_ for id_ in chunk if id_ != eos]
                if not choosers[i].finished:
                    running.append(i)
            active = running
            if not active:
                break
            fed = torch.tensor([rows[i].pending for i in active], device=self.embed.device)
            hidden = self.run(
                self.embed[fed.flatten()],
                torch.cat([tails[i] for i in active]),
                [rows[i] for i in active],
                [k] * len(active),
            )
        for row, result in zip(rows, results, strict=True):
            row.frames.append(vision.shape[1] + result.padded.count(False))
        return results

    def run(
        self, x: Tensor, positions: Tensor, rows: Sequence[RowState], lengths: Sequence[int]
    ) -> Tensor:
        """Run new slots through all layers, appending their keys and values to the rows' caches.

        Args:
            x: New slots of all rows, one after another, ``[sum(lengths), c]``.
            positions: Their rotary positions, ``[sum(lengths)]``.
            rows: The rows they belong to.
            lengths: How many of them each row has.

        Returns:
            The last slot of each row after the final normalisation, ``[len(rows), c]``.
        """
        c = self.config
        heads, kv_heads, d = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        angles = positions.to(x.device)[:, None].float() * self.frequencies  # [n, d/2]
        cos, sin = (f(angles).repeat(1, 2)[:, None].to(x.dtype) for f in (torch.cos, torch.sin))
        for index, layer in enumerate(self.layers):
            qkv = _linear(layer.norm1(x), layer.qkv).view(len(x), -1, d)  # [n, h + 2 kv, d]
            rotated = _rotate(qkv[:, : heads + kv_heads], cos, sin)
            values = qkv[:, heads + kv_heads :]
            mixed = torch.empty_like(rotated[:, :heads])
            at = 0
            for row, n in zip(rows, lengths, strict=True):
                mixed[at : at + n] = self._attend(
                    row, index, rotated[at : at + n], values[at : at + n]
                )
                at += n
            x = x + _linear(mixed.view(len(x), -1), layer.out)
            gate, up = _linear(layer.norm2(x), layer.gate_up).chunk(2, dim=-1)
            x = x + _linear(F.silu(gate) * up, layer.down)
        for row, n in zip(rows, lengths, strict=True):
            row.end += n
        last = torch.tensor(np.cumsum(lengths) - 1, device=x.device)
        hidden: Tensor = self.module.model.norm(x[last])
        return hidden

    def _attend(self, row: RowState, layer: int, rotated: Tensor, values: Tensor) -> Tensor:
        """Cache one row's new keys and values, and attend causally: ``[n, heads, d]``."""
        heads, n = self.config.num_attention_heads, len(rotated)
        end = row.end + n
        keys, cache = row.keys[layer], row.values[layer]
        keys[:, row.end : end] = rotated[:, heads:].transpose(0, 1)
        cache[:, row.end : end] = values.transpose(0, 1)
        visible = end - row.start
        mask = torch.ones(n, visible, dtype=torch.bool, device=keys.device).tril(visible - n)
        out = F.scaled_dot_product_attention(
            rotated[None, :, :heads].transpose(1, 2),
            keys[None, :, row.start : end],
            cache[None, :, row.start : end],
            attn_mask=mask,
            enable_gqa=heads != self.config.num_key_value_heads,
        )
        return out[0].transpose(0, 1)

    def heads(self, hidden: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits ``[rows, K, vocabulary]`` and predicted losses ``[rows, K]``, on the host."""
        k = self.config.num_multi_token_pred
        logits = _linear(hidden, (self.module.lm_head.weight, None)).float()
        losses = _linear(hidden, (self.module.task_loss_prediction_head.weight, None)).float()
        return logits.view(len(hidden), k, -1).cpu().numpy(), losses.cpu().numpy()


def _linear(x: Tensor, weights: tuple[Tensor, Tensor | None]) -> Tensor:
    n = len(x)
    if n < MIN_ROWS and not x.is_cuda:
        x = torch.cat([x, x.new_zeros(MIN_ROWS - n, x.shape[1])])
    return F.linear(x, *weights)[:n]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding, rotate-half convention, on ``[n, heads, d]``."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class _Chooser:
    """Chooses one row's tokens in one frame. Source: inference spec 3.6 steps 6 to 12, 4.2, 8.3."""

    def __init__(
        self,
        config: GazeConfig,
        max_tokens: int,
        task_loss_requirement: float | None,
        coverage: float | None,
    ) -> None:
        self.eos = config.eos_token_id
        self.max_tokens = min(max_tokens, config.num_vision_tokens_each_frame)
        self.requirement = task_loss_requirement
        self.blocked = np.zeros(config.vocab_size, bool)
        self.blocked[self.eos] = True
        self.coverage = None if coverage is None else CoverageTracker(config.layout, coverage)
        self.finished = False

    def chunk(
        self, logits: NDArray[np.float32], losses: NDArray[np.float32], out: RowFrame
    ) -> list[int]:
        """Choose up to ``K`` tokens, append them to ``out``, and return them."""
        first = not out.ids
        chunk: list[int] = []
        for i, scores in enumerate(logits):
            allowed = ~self.blocked & np.isfinite(scores)
            if len(out.ids) >= self.max_tokens or not allowed.any():
                self.finished = True
                break
            token = int(np.argmax(np.where(allowed, scores, -np.inf)))
            pad = (
                self.requirement is not None
                and bool(losses[i] <= np.float32(self.requirement))
                and not (first and i == 0)
            )
            out.ids.append(self.eos if pad else token)
            out.padded.append(pad)
            out.confidences.append(0.0 if pad else _confidence(scores, allowed, token))
            chunk.append(out.ids[-1])
            self.blocked[token] = True
            self.finished |= pad
            if self.coverage is not None and not pad:
                self.coverage.mark(token)
        self.finished |= len(out.ids) >= self.max_tokens
        self.finished |= self.coverage is not None and self.coverage.done
        return chunk


def _confidence(scores: NDArray[np.float32], allowed: NDArray[np.bool_], token: int) -> float:
    """The chosen token's share of the allowed ones, without subtracting the maximum."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        weights = np.exp(scores[allowed], dtype=np.float32)
        share = np.exp(scores[token], dtype=np.float32) / weights.sum(dtype=np.float32)
    return float(share) if np.isfinite(share) and share > 0 else 1.0
