"""Fast layers in PyTorch: sequences of different lengths in one matrix, each with its own cache.

Equal to ``GazeDecoder.forward`` of ``network.py`` up to the rounding of sums. They run on every
device and in every precision; ``native.py`` is faster where it applies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.model.cache import KVCache
from autogaze_cli.model.layers import PackedWeights, normalise, rotate


class PackedLayers:
    """Runs packed weights with PyTorch's own operations."""

    key_block = 1

    def __init__(self, weights: PackedWeights) -> None:
        self.weights, self.config = weights, weights.config
        self._mask = weights.embed.new_empty(0, 0)

    def run(
        self,
        x: Tensor,
        positions: NDArray[np.int64],
        caches: Sequence[KVCache],
        lengths: list[int],
    ) -> Tensor:
        """Run new tokens through all layers, adding their keys and values to the caches.

        Args:
            x: New tokens of all sequences, one after another, ``[n, c]``.
            positions: Their rotary positions, ``[n]``.
            caches: The sequences' caches, already extended by the new tokens.
            lengths: New tokens of each sequence; their sum is ``n``.

        Returns:
            Each sequence's last token, ``[len(caches), c]``.
        """
        c = self.config
        heads, kv_heads, d = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        last = torch.from_numpy(np.cumsum(lengths) - 1).to(x.device)
        angles = torch.from_numpy(positions).to(x.device)[:, None].float()
        angles = angles * self.weights.frequencies  # [n, d/2]
        rotations = torch.polar(torch.ones_like(angles), angles)[:, None]  # complex [n, 1, d/2]
        for index, layer in enumerate(self.weights.layers):
            y = normalise(x, c.rms_norm_eps)
            fresh = layer.keys_values(y).view(len(y), 2 * kv_heads, d)
            keys, values = rotate(fresh[:, :kv_heads], rotations), fresh[:, kv_heads:]
            for cache, k, v in zip(
                caches, torch.split(keys, lengths), torch.split(values, lengths), strict=True
            ):
                cache.append(index, k, v)
            if index == len(self.weights.layers) - 1:
                # Only the heads read the last layer, and only each sequence's last token.
                x, y, rotations, lengths = x[last], y[last], rotations[last], [1] * len(caches)
            queries = rotate(layer.queries(y).view(len(y), heads, d), rotations)
            attended = [
                self._attend(q, *cache.visible(index))
                for cache, q in zip(caches, torch.split(queries, lengths), strict=True)
            ]
            x = layer.out(torch.cat(attended).flatten(1), x)
            gate, up = layer.gate_up(normalise(x, c.rms_norm_eps)).chunk(2, dim=-1)
            x = layer.down(F.silu(gate) * up, x)
        return x

    def head_scores(self, hidden: Tensor) -> Tensor:
        """Both heads' scores ``[b, K * vocabulary + K]`` of normalised tokens ``[b, c]``."""
        return self.weights.head(hidden).float()

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """A sequence's last tokens over what they may see, causally.

        Args:
            queries: ``[n, heads, d]``, the last ``n`` of the ``m`` tokens.
            keys: ``[kv_heads, m, d]``.
            values: ``[kv_heads, m, d]``.

        Returns:
            ``[n, heads, d]``.
        """
        n, kv_heads, d = len(queries), len(keys), queries.shape[-1]
        if n == 1:
            # The library's kernel for a lone query sums in an order that depends on the threads.
            scaled = queries.view(kv_heads, -1, d) / d**0.5
            weights = torch.softmax(scaled @ keys.transpose(1, 2), dim=-1)
            return (weights @ values).view(queries.shape)
        out = F.scaled_dot_product_attention(
            queries[None].transpose(1, 2),
            keys[None],
            values[None],
            attn_mask=self._causal(n, keys.shape[1]),
            enable_gqa=self.config.num_attention_heads != kv_heads,
        )
        return out[0].transpose(0, 1)

    def _causal(self, queries: int, keys: int) -> Tensor:
        """The additive causal mask ``[queries, keys]``, a view of a table that is kept."""
        rows, width = self._mask.shape
        if queries > rows or keys - queries > width - rows:
            rows, past = max(queries, rows), max(2 * keys, width - rows)
            mask = torch.full((rows, past + rows), -torch.inf, device=self._mask.device)
            self._mask = mask.triu(past + 1).to(self._mask.dtype)
            width = past + rows
        first = width - rows - keys + queries
        return self._mask[:queries, first : first + keys]
