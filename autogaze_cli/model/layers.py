"""The decoder's weights, packed for speed, and the small operations that the fast layers share.

``network.py`` is the readable version of this arithmetic. Packing joins the projections that share
an input, folds each normalisation's weight into the projection that follows it, and orders the
channels of queries and keys so that a rotary pair lies side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import DecoderLayer, GazeDecoder, rotary_frequencies

MIN_ROWS = 16
"""Products of fewer rows take other CPU kernels, which round differently. Results must not depend
on how many tokens are computed together, so smaller products are padded (12 would do)."""

MIN_ROWS_CUDA = 32
"""On a GPU, float32 products of fewer rows take kernels that are up to seven times slower."""


class Linear:
    """Linear layers that share an input, as one matrix product; ``norm`` scales that input.

    Few rows are padded with zeros, and the padding is cut off again: see ``MIN_ROWS``.
    """

    def __init__(self, *parts: tuple[Tensor, Tensor | None], norm: Tensor | None = None) -> None:
        weight = torch.cat([weight for weight, _ in parts])
        biases = [bias for _, bias in parts if bias is not None]
        self.weight = weight if norm is None else weight * norm  # [out, in]
        self.bias = torch.cat(biases) if biases else None  # [out]

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """``[n, in]`` to ``[n, out]``, plus ``add`` ``[n, out]``."""
        n, missing = len(x), _min_rows(x) - len(x)
        if missing > 0:
            x = F.pad(x, (0, 0, 0, missing))
            add = None if add is None else F.pad(add, (0, 0, 0, missing))
        if add is None:
            return F.linear(x, self.weight, self.bias)[:n]
        y = torch.addmm(add, x, self.weight.t())[:n]
        return y if self.bias is None else y + self.bias


def _min_rows(x: Tensor) -> int:
    if x.is_cuda:
        return MIN_ROWS_CUDA if x.dtype == torch.float32 else 1
    return MIN_ROWS


class Layer:
    """One decoder layer's packed weights."""

    def __init__(self, layer: DecoderLayer, config: GazeConfig) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        norm1, norm2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        # The published rotation pairs channel i with i + d / 2; side by side, a pair is a complex
        # number.
        pairs = torch.arange(config.head_dim).view(2, -1).t().flatten()
        order = torch.cat([pairs + h * config.head_dim for h in range(config.num_attention_heads)])
        kv_order = order[: config.num_key_value_heads * config.head_dim]
        self.queries = Linear(_part(attn.q_proj, order), norm=norm1)
        self.keys_values = Linear(_part(attn.k_proj, kv_order), _part(attn.v_proj), norm=norm1)
        self.out = Linear(_part(attn.o_proj))
        self.gate_up = Linear(_part(mlp.gate_proj), _part(mlp.up_proj), norm=norm2)
        self.down = Linear(_part(mlp.down_proj))


def _part(linear: nn.Linear, order: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """A linear layer's weight and bias, its outputs in another order."""
    bias: Tensor | None = linear.state_dict().get("bias")
    if order is None:
        return linear.weight, bias
    return linear.weight[order], None if bias is None else bias[order]


class PackedWeights:
    """A decoder's packed weights.

    Attributes:
        config: Its sizes.
        embed: Embedding table, ``[vocabulary, c]``.
        layers: The layers.
        head: Both heads: ``K * vocabulary`` logits, then ``K`` predicted losses.
        frequencies: Angle per position of each rotary pair, ``[d / 2]``.
    """

    def __init__(self, module: GazeDecoder, config: GazeConfig) -> None:
        self.config = config
        self.embed = module.model.embed_tokens.weight
        self.layers = [Layer(layer, config) for layer in module.model.layers]  # type: ignore[arg-type]
        self.head = Linear(
            _part(module.lm_head),
            _part(module.task_loss_prediction_head),
            norm=module.model.norm.weight,
        )
        self.frequencies = rotary_frequencies(config.head_dim, config.rope).to(self.embed.device)


def normalise(x: Tensor, eps: float) -> Tensor:
    """RMS normalisation without its weight, which is folded into the product that follows."""
    return F.rms_norm(x, x.shape[-1:], None, eps)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotary embedding of ``[n, heads, d]`` whose pairs lie side by side.

    Args:
        x: Queries or keys.
        rotations: Complex, ``[n, 1, d / 2]``.
    """
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)
