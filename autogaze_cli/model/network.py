"""The network as modules whose ``state_dict`` keys are the published checkpoint's.

Source: inference spec 1.4 (names and shapes), 3.2 to 3.4 (arithmetic). The decoder's layers are run
by ``decode.py``, which packs rows of different lengths; here they only hold their weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig, RopeConfig


class ConvBlock(nn.Module):
    """A causal 3-D convolution over frames, then ReLU; there is no residual connection."""

    def __init__(self, channels: int, time: int, space: int) -> None:
        super().__init__()
        self.time = time
        self.conv3d = nn.Conv3d(
            channels, channels, (time, space, space), padding=(0, space // 2, space // 2)
        )

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve ``t`` new frames.

        Args:
            x: ``[b, t, h, w, c]``.
            past: The ``time - 1`` frames before them, ``[b, time - 1, h, w, c]``; None = zeros.

        Returns:
            The output ``[b, t, h, w, c]``, and the ``past`` of the next call.
        """
        keep = self.time - 1
        if past is None:
            past = x.new_zeros(len(x), keep, *x.shape[2:])
        padded = torch.cat([past, x], dim=1)
        # As matrix products over the pixels of all frames: as fast as the library's convolution,
        # and unlike it a frame's result never depends on the number of frames, rows or threads.
        weights = self.conv3d.weight.permute(2, 3, 4, 1, 0).flatten(1, 3)  # [time, k * k * c, c]
        bias = self.conv3d.bias
        assert bias is not None
        rows = []
        for row in padded:
            windows = _windows(row, self.conv3d.kernel_size[1])  # [time - 1 + t, h * w, k * k * c]
            y = bias
            for step, weight in enumerate(weights):
                y = torch.addmm(y, windows[step : step + x.shape[1]].flatten(0, 1), weight)
            rows.append(y.view(x.shape[1:]))
        return torch.relu(torch.stack(rows)), padded[:, padded.shape[1] - keep :]


def _windows(frames: Tensor, side: int) -> Tensor:
    """Every pixel's ``side`` x ``side`` surroundings, zero outside.

    Args:
        frames: ``[n, h, w, c]``.
        side: In pixels, odd.

    Returns:
        ``[n, h * w, side * side * c]``.
    """
    n, h, w, _ = frames.shape
    around = side // 2
    padded = F.pad(frames, (0, 0, around, around, around, around))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # [n, h, w, c, side, side]
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(n, h * w, -1)


class VisionModel(nn.Module):
    """Patch embedding, normalisation, causal convolutions and a projection."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        patch = (config.temporal_patch_size, config.kernel_size, config.kernel_size)
        hidden = config.vision_hidden_dim
        self.temporal_conv = nn.Conv3d(3, hidden, patch, stride=patch)
        self.norm = nn.LayerNorm(hidden, eps=1e-5)
        self.blocks = nn.ModuleList(
            ConvBlock(hidden, config.trunk_temporal_kernel_size, config.trunk_spatial_kernel_size)
            for _ in range(config.vision_depth)
        )
        self.out_proj = nn.Conv3d(hidden, config.vision_out_dim, 1)

    def forward(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Encode frames.

        Args:
            video: Normalised frames ``[b, t, 3, side, side]``.
            past: What an earlier call of the same stream returned; None at its start.

        Returns:
            Features ``[b, t', tokens, c]`` in row-major order, and the state for the next call.
        """
        x = _patches(video, self.temporal_conv)
        x = self.norm(x)  # [b, t', gh, gw, c]
        state = []
        for i, block in enumerate(self.blocks):
            x, kept = block(x, None if past is None else past[i])
            state.append(kept)
        y = F.linear(x.flatten(2, 3), self.out_proj.weight.flatten(1), self.out_proj.bias)
        return y, state  # [b, t', tokens, c]


def _patches(video: Tensor, conv: nn.Conv3d) -> Tensor:
    """The patch embedding as one matrix product (its kernel equals its stride).

    Returns:
        ``[b, t', gh, gw, c]``.
    """
    q, p, _ = conv.kernel_size
    b, t, c, h, w = video.shape
    t, gh, gw = t // q, h // p, w // p
    x = video[:, : t * q].reshape(b, t, q, c, gh, p, gw, p).permute(0, 1, 4, 6, 3, 2, 5, 7)
    return F.linear(x.reshape(b, t, gh, gw, -1), conv.weight.flatten(1), conv.bias)


class Connector(nn.Module):
    """Adds the position table to the vision tokens."""

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(tokens, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., tokens, c]`` to the same shape."""
        return x + self.pos_embed


class Attention(nn.Module):
    """The four projections of a decoder layer's attention."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        d, bias = config.head_dim, config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * d, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * d, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * d, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * d, config.hidden_size, bias=bias)


class Mlp(nn.Module):
    """The gated feed-forward part of a decoder layer."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        wide, bias = config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(config.hidden_size, wide, bias=bias)
        self.up_proj = nn.Linear(config.hidden_size, wide, bias=bias)
        self.down_proj = nn.Linear(wide, config.hidden_size, bias=bias)


class DecoderLayer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class DecoderModel(nn.Module):
    """Embedding table, layers and the last normalisation."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class GazeDecoder(nn.Module):
    """The decoder with its two heads."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
        k = config.num_multi_token_pred
        self.model = DecoderModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size * k, bias=False)
        self.task_loss_prediction_head = nn.Linear(config.hidden_size, k, bias=False)


class GazeModel(nn.Module):
    """Vision model, connector and decoder."""

    def __init__(self, config: GazeConfig) -> None:
        super().__init__()
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
    """Angle a position of each rotary pair, float32 ``[dim / 2]``. Source: inference spec 3.4."""
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
