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
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.choose import Chooser, FrameGaze
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.native import BLOCK, HEAD_DIM, LANES, NativeLayers, library
from autogaze_cli.model.network import DecoderLayer, GazeDecoder, rotary_frequencies

MIN_ROWS = 16
"""Matrix products of fewer rows take other CPU kernels that round differently. Results must not
depend on how many rows are decoded together, so smaller products are padded (12 would do)."""


@dataclass(slots=True)
class RowState:
    """What one row carries from frame to frame.

    Attributes:
        keys: A layer's rotated keys, ``[heads, capacity, d]``, or for the compiled layers
            ``[heads, capacity / block, d, block]``.
        values: A layer's values, ``[heads, capacity, d]``.
        block: Slots that ``keys`` holds side by side.
        start: First cached slot that is still visible.
        end: One past the last cached slot.
        dropped: Slots that have left the cache; cache index ``i`` has position ``dropped + i``.
        pending: Valid ids of the last chunk, which enters the cache with the next frame.
        frames: Visible slots of each remembered frame, oldest first.
    """

    keys: list[Tensor]
    values: list[Tensor]
    block: int = 1
    start: int = 0
    end: int = 0
    dropped: int = 0
    pending: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    frames: list[int] = field(default_factory=list)

    def reserve(self, slots: int) -> None:
        """Make room for ``slots`` more: grow, or move the visible ones to the front."""
        capacity = self.values[0].shape[1]
        if self.end + slots <= capacity:
            return
        first = self.start // self.block * self.block
        live = self.end - first
        larger = capacity if live + slots <= capacity else max(2 * capacity, live + slots)
        larger += -larger % self.block
        for buffers, unit in ((self.keys, self.block), (self.values, 1)):
            for i, old in enumerate(buffers):
                new = old.new_empty(old.shape[0], larger // unit, *old.shape[2:])
                kept = -(-live // unit)
                new[:, :kept] = old[:, first // unit : first // unit + kept]
                buffers[i] = new
        self.dropped += first
        self.start, self.end = self.start - first, live

    def forget(self, horizon: int) -> None:
        """Drop the oldest frames until fewer than ``horizon`` remain.

        Source: inference spec 7.2.
        """
        while len(self.frames) >= horizon:
            self.start += min(self.frames.pop(0), self.end - self.start)


class Layer:
    """A decoder layer's weights: fused, normalisations folded in, rotary pairs side by side."""

    def __init__(self, layer: DecoderLayer, config: GazeConfig) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        norm1, norm2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        # Rotate-half pairs dimension i with i + d / 2; as neighbours a pair is a complex number.
        pairs = torch.arange(config.head_dim).view(2, -1).t().flatten()
        order = torch.cat([pairs + h * config.head_dim for h in range(config.num_attention_heads)])
        kv = order[: config.num_key_value_heads * config.head_dim]
        self.queries = Linear(_part(attn.q_proj, order), norm=norm1)
        self.keys_values = Linear(_part(attn.k_proj, kv), _part(attn.v_proj), norm=norm1)
        self.out = Linear(_part(attn.o_proj))
        self.gate_up = Linear(_part(mlp.gate_proj), _part(mlp.up_proj), norm=norm2)
        self.down = Linear(_part(mlp.down_proj))


def _part(linear: nn.Linear, order: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """A layer's weight and bias, its outputs in another order."""
    bias: Tensor | None = linear.state_dict().get("bias")
    if order is None:
        return linear.weight, bias
    return linear.weight[order], None if bias is None else bias[order]


class Linear:
    """Linear layers that share an input, as one matrix product; ``norm`` scales that input."""

    def __init__(self, *parts: tuple[Tensor, Tensor | None], norm: Tensor | None = None) -> None:
        weight = torch.cat([weight for weight, _ in parts])
        biases = [bias for _, bias in parts if bias is not None]
        self.weight = weight if norm is None else weight * norm
        self.bias = torch.cat(biases) if biases else None

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """``[n, in]`` to ``[n, out]``, plus ``add``."""
        if add is None:
            return F.linear(x, self.weight, self.bias)
        y = torch.addmm(add, x, self.weight.t())
        return y if self.bias is None else y + self.bias


class Decoder:
    """Runs a ``GazeDecoder`` over rows with caches."""

    def __init__(self, module: GazeDecoder, config: GazeConfig) -> None:
        self.config = config
        self.layers = [Layer(layer, config) for layer in module.model.layers]  # type: ignore[arg-type]
        self.embed = module.model.embed_tokens.weight
        self.head = Linear(
            _part(module.lm_head),
            _part(module.task_loss_prediction_head),
            norm=module.model.norm.weight,
        )
        self.frequencies = rotary_frequencies(config.head_dim, config.rope).to(self.embed.device)
        self._mask = self.embed.new_empty(0, 0)
        self.native = self._native_layers()

    def _native_layers(self) -> NativeLayers | None:
        """The compiled layers, where they are built and serve this model."""
        c, code = self.config, library()
        if (
            code is None
            or self.embed.device.type != "cpu"
            or self.embed.dtype != torch.float32
            or c.head_dim != HEAD_DIM
            or c.num_key_value_heads != c.num_attention_heads
            or c.intermediate_size % LANES
        ):
            return None
        return NativeLayers(self.layers, self.head, c.num_attention_heads, c.rms_norm_eps, code)

    def new_rows(self, count: int, capacity: int) -> list[RowState]:
        """Empty states with room for ``capacity`` slots each."""
        c = self.config
        block = BLOCK if self.native else 1
        capacity += -capacity % block
        shape = (c.num_key_value_heads, capacity, c.head_dim)
        blocks = (c.num_key_value_heads, capacity // block, c.head_dim, block)
        layers = range(c.num_hidden_layers)
        return [
            RowState(
                keys=[self.embed.new_empty(blocks if self.native else shape) for _ in layers],
                values=[self.embed.new_empty(shape) for _ in layers],
                block=block,
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
    ) -> FrameGaze:
        """Gaze at one frame.

        Args:
            rows: The rows' states, advanced in place.
            vision: Embedded frame ``[len(rows), tokens, c]``.
            max_tokens: Token budget of a row, at least 1.
            task_loss_requirement: A slot is suppressed when its predicted loss is at most this.
            coverage: Finish a row when this share of the frame is covered; None = never.
            horizon: Frames visible to a query, the present one included; None = all.

        Returns:
            The rows' gaze.
        """
        k = self.config.num_multi_token_pred
        chooser = Chooser(self.config, len(rows), max_tokens, task_loss_requirement, coverage)
        inputs, positions = [], []
        for row, tokens in zip(rows, vision, strict=True):
            if horizon is not None:
                row.forget(horizon)
            row.reserve(len(row.pending) + len(tokens) + max_tokens)
            inputs += [self.embed[row.pending], tokens]
            first = row.dropped + row.end
            positions.append(np.arange(first, first + len(row.pending) + len(tokens)))
        lengths = [len(p) for p in positions]
        tails = np.array([p[-k:] for p in positions])
        hidden = self.run(torch.cat(inputs), np.concatenate(positions), rows, lengths)
        active = np.arange(len(rows))
        while True:
            logits, losses = self.heads(hidden)
            chunks, running = chooser.step(active, logits, losses)
            for index, chunk in zip(active.tolist(), chunks, strict=True):
                rows[index].pending = chunk
            active = active[running]
            if not len(active):
                break
            fed = np.concatenate([rows[index].pending for index in active.tolist()])
            hidden = self.run(
                self.embed[fed],
                tails[active].ravel(),
                [rows[index] for index in active.tolist()],
                [k] * len(active),
            )
        gaze = chooser.gaze()
        for row, valid in zip(rows, (~gaze.padded).sum(axis=1), strict=True):
            row.frames.append(vision.shape[1] + int(valid))
        return gaze

    def run(
        self,
        x: Tensor,
        positions: NDArray[np.int64],
        rows: Sequence[RowState],
        lengths: list[int],
    ) -> Tensor:
        """Run new slots through all layers, appending their keys and values to the rows' caches.

        Args:
            x: New slots of all rows, one after another, ``[sum(lengths), c]``.
            positions: Their rotary positions, ``[sum(lengths)]``.
            rows: The rows they belong to.
            lengths: How many of them each row has.

        Returns:
            The last slot of each row, ``[len(rows), c]``.
        """
        c = self.config
        for row, length in zip(rows, lengths, strict=True):
            row.end += length
        if self.native:
            turned = positions.astype(np.float32)[:, None] * self.frequencies.numpy()
            return self.native.run(x, turned, rows, lengths)
        heads, kv_heads, d = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        last = torch.from_numpy(np.cumsum(lengths) - 1).to(x.device)
        angles = torch.from_numpy(positions).to(x.device)[:, None].float() * self.frequencies
        turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # complex [n, 1, d/2]
        x, turns, sizes = _padded(x), _padded(turns), _sizes(x, lengths)
        for index, layer in enumerate(self.layers):
            y = _normalise(x, c.rms_norm_eps)
            fresh = layer.keys_values(y).view(len(y), 2 * kv_heads, d)
            keys, values = _rotate(fresh[:, :kv_heads], turns), fresh[:, kv_heads:]
            for row, k, v in zip(
                rows, torch.split(keys, sizes), torch.split(values, sizes), strict=False
            ):  # the spare rows come last and are left out
                row.keys[index][:, row.end - len(k) : row.end] = k.transpose(0, 1)
                row.values[index][:, row.end - len(v) : row.end] = v.transpose(0, 1)
            if index == len(self.layers) - 1:
                # Only the heads read the last layer, and only its last slot.
                x, y, turns = _padded(x[last]), _padded(y[last]), _padded(turns[last])
                sizes = _sizes(last, [1] * len(rows))
            queries = _rotate(layer.queries(y).view(len(y), heads, d), turns)
            *queries_of_rows, spare = torch.split(queries, sizes)
            mixed = [
                self._attend(row, index, q) for row, q in zip(rows, queries_of_rows, strict=True)
            ]
            x = layer.out(torch.cat([*mixed, spare]).view(len(y), heads * d), add=x)
            gate, up = layer.gate_up(_normalise(x, c.rms_norm_eps)).chunk(2, dim=-1)
            x = layer.down(F.silu(gate) * up, add=x)
        return x[: len(rows)]

    def _attend(self, row: RowState, layer: int, queries: Tensor) -> Tensor:
        """One row's last slots ``[n, heads, d]`` over all it may see, causally."""
        n, kv_heads = len(queries), self.config.num_key_value_heads
        keys = row.keys[layer][:, row.start : row.end]
        values = row.values[layer][:, row.start : row.end]
        if n == 1:
            # The library's kernel for a lone query sums in an order that depends on the threads.
            scaled = queries.view(kv_heads, -1, queries.shape[-1]) / queries.shape[-1] ** 0.5
            shares = torch.softmax(scaled @ keys.transpose(1, 2), dim=-1)
            return (shares @ values).view(queries.shape)
        out = F.scaled_dot_product_attention(
            queries[None].transpose(1, 2),
            keys[None],
            values[None],
            attn_mask=self._causal(n, keys.shape[1]),
            enable_gqa=self.config.num_attention_heads != kv_heads,
        )
        return out[0].transpose(0, 1)

    def _causal(self, queries: int, keys: int) -> Tensor:
        """The additive causal mask of the last ``queries`` of ``keys`` slots, a view of a table."""
        rows, width = self._mask.shape
        if queries > rows or keys - queries > width - rows:
            rows, past = max(queries, rows), max(2 * keys, width - rows)
            mask = torch.full((rows, past + rows), -torch.inf, device=self.embed.device)
            self._mask = mask.triu(past + 1).to(self.embed.dtype)
            width = past + rows
        first = width - rows - keys + queries
        return self._mask[:queries, first : first + keys]

    def heads(self, hidden: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits ``[rows, K, vocabulary]`` and predicted losses ``[rows, K]``, on the host."""
        k = self.config.num_multi_token_pred
        y = _normalise(hidden, self.config.rms_norm_eps)
        if self.native:
            scores = self.native.head_scores(y).numpy()
        else:
            scores = self.head(_padded(y))[: len(hidden)].float().cpu().numpy()
        return scores[:, :-k].reshape(len(hidden), k, -1), scores[:, -k:]


def _padded(x: Tensor) -> Tensor:
    """``x`` with rows of zeros up to ``MIN_ROWS``."""
    spare = 0 if x.is_cuda else MIN_ROWS - len(x)
    return torch.cat([x, x.new_zeros(spare, *x.shape[1:])]) if spare > 0 else x


def _sizes(x: Tensor, lengths: list[int]) -> list[int]:
    """``lengths``, and how many rows ``_padded(x)`` adds to them."""
    return [*lengths, 0 if x.is_cuda else max(0, MIN_ROWS - len(x))]


def _normalise(x: Tensor, eps: float) -> Tensor:
    """RMS normalisation without its weight, which is folded into what follows."""
    return F.rms_norm(x, x.shape[-1:], None, eps)


def _rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Rotary embedding of ``[n, heads, d]`` whose pairs lie side by side."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)
