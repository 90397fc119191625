"""The network as modules whose ``state_dict`` keys are the published checkpoint's.

``GazeDecoder.forward`` is the decoder to read: one pass over whole sequences, without a cache. The
decode loop runs the same arithmetic in layers built for speed (``packed.py``, ``native.py``,
``cuda.py``), which are tested equal to it. Source: inference spec 1.4 (names and shapes), 3.3, 3.4.

Shapes: ``b`` sequences of ``n`` tokens of ``c`` channels; heads of ``d`` channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig, RopeConfig
from autogaze_cli.model.vision import Connector, VisionModel


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        d, bias = config.head_dim, config.attention_bias
        self.head_dim = d
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * d, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * d, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * d, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * d, config.hidden_size, bias=bias)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, visible: Tensor) -> Tensor:
        """Attend.

        Args:
            x: Normalised tokens, ``[b, n, c]``.
            cos: Of each token's angles, ``[b, 1, n, d]``.
            sin: Of each token's angles, ``[b, 1, n, d]``.
            visible: Whether a query (first) sees a key (second), bool ``[b, 1, n, n]``.

        Returns:
            ``[b, n, c]``.
        """
        b, n, _ = x.shape
        q = self.q_proj(x).view(b, n, -1, self.head_dim).transpose(1, 2)  # [b, heads, n, d]
        k = self.k_proj(x).view(b, n, -1, self.head_dim).transpose(1, 2)  # [b, kv_heads, n, d]
        v = self.v_proj(x).view(b, n, -1, self.head_dim).transpose(1, 2)  # [b, kv_heads, n, d]
        q = q * cos + _rotate_half(q) * sin
        k = k * cos + _rotate_half(k) * sin
        y = F.scaled_dot_product_attention(  # [b, heads, n, d]
            q, k, v, attn_mask=visible, enable_gqa=q.shape[1] != k.shape[1]
        )
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(b, n, -1))  # [b, n, c]
        return out


def _rotate_half(x: Tensor) -> Tensor:
    """``[..., d]``: channel ``i`` is paired with channel ``i + d / 2``."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


class Mlp(nn.Module):
    """The gated feed-forward part of a decoder layer."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        inner, bias = config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(config.hidden_size, inner, bias=bias)
        self.up_proj = nn.Linear(config.hidden_size, inner, bias=bias)
        self.down_proj = nn.Linear(inner, config.hidden_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, n, c]`` to the same shape."""
        y = F.silu(self.gate_proj(x)) * self.up_proj(x)  # [b, n, inner]
        out: Tensor = self.down_proj(y)  # [b, n, c]
        return out


class DecoderLayer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, visible: Tensor) -> Tensor:
        """``[b, n, c]`` to the same shape; the arguments are those of ``Attention``."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, visible)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class DecoderModel(nn.Module):
    """Embedding table, layers and the last normalisation."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x: Tensor, positions: Tensor, real: Tensor) -> Tensor:
        """Hidden states ``[b, n, c]``: see ``GazeDecoder.forward``."""
        n, d = x.shape[1], self.config.head_dim
        frequencies = rotary_frequencies(d, self.config.rope).to(x.device)  # [d/2]
        angles = positions[:, None, :, None].float() * frequencies  # [b, 1, n, d/2]
        cos = angles.cos().repeat(1, 1, 1, 2).to(x.dtype)  # [b, 1, n, d]
        sin = angles.sin().repeat(1, 1, 1, 2).to(x.dtype)  # [b, 1, n, d]
        causal = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        visible = causal & real[:, None, None, :]  # [b, 1, n, n]
        for layer in self.layers:
            x = layer(x, cos, sin, visible)  # [b, n, c]
        out: Tensor = self.norm(x)
        return out


class GazeDecoder(nn.Module):
    """The decoder with its two heads."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        k = config.num_multi_token_pred
        self.num_multi_token_pred = k
        self.model = DecoderModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size * k, bias=False)
        self.task_loss_prediction_head = nn.Linear(config.hidden_size, k, bias=False)

    def forward(self, x: Tensor, positions: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the next ``K`` tokens after every token of whole sequences.

        Args:
            x: Embedded tokens, ``[b, n, c]``.
            positions: Their rotary positions, ``[b, n]``.
            real: False for padding, which no query sees, bool ``[b, n]``.

        Returns:
            Logits ``[b, n, K, vocabulary]`` and predicted losses ``[b, n, K]``.
        """
        hidden = self.model(x, positions, real)  # [b, n, c]
        logits = self.lm_head(hidden)  # [b, n, K * vocabulary]
        losses = self.task_loss_prediction_head(hidden)  # [b, n, K]
        return logits.unflatten(-1, (self.num_multi_token_pred, -1)), losses


class GazeModel(nn.Module):
    """Vision model, connector and decoder."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.input_img_size = config.input_img_size
        self.vision_model = VisionModel(config)
        self.connector = Connector(config.num_tokens, config.hidden_size)
        self.gaze_decoder = GazeDecoder(config)

    def embed_video(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Square frames ``[b, t, 3, side, side]`` to decoder inputs ``[b, t', tokens, c]``."""
        features, state = self.vision_model(video, past)
        return self.connector(features), state


class AutoGazeNetwork(nn.Module):
    """The root module: its ``state_dict`` keys are those of the published ``model.safetensors``."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.gazing_model = GazeModel(config)


def rotary_frequencies(dim: int, rope: RopeConfig) -> Tensor:
    """Angle per position of each rotary pair, float32 ``[dim / 2]``. Source: inference spec 3.4."""
    freq = 1.0 / rope.theta ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim)
    if not rope.llama3:
        return freq
    wavelength = 2 * math.pi / freq
    longest = rope.original_max_position_embeddings / rope.low_freq_factor
    shortest = rope.original_max_position_embeddings / rope.high_freq_factor
    smooth = (rope.original_max_position_embeddings / wavelength - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended = (1 - smooth) * freq / rope.factor + smooth * freq
    stretched = torch.where(wavelength > longest, freq / rope.factor, blended)
    return torch.where(wavelength < shortest, freq, stretched)
