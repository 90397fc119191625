"""The vision model: square frames to the tokens that the decoder reads.

Source: inference spec 1.4 (names and shapes), 3.2 (arithmetic).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig


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
        weights = self.conv3d.weight.permute(2, 3, 4, 1, 0).flatten(1, 3)  # [time, k * k * c, c]
        frames = torch.stack([self._convolve(clip, weights) for clip in padded])
        return torch.relu(frames), padded[:, padded.shape[1] - keep :]

    def _convolve(self, frames: Tensor, weights: Tensor) -> Tensor:
        """One clip, ``[time - 1 + t, h, w, c]`` to ``[t, h, w, c]``.

        As matrix products over the pixels of all frames: as fast as the library's convolution, and
        unlike it a frame's result never depends on the number of frames, clips or threads. On the
        CPU, a product covers one row of the kernel: the library may split a longer sum (three rows
        are 1728 terms) by the number of threads, which changes its rounding.
        """
        t, side = len(frames) - self.time + 1, self.conv3d.kernel_size[1]
        windows = _windows(frames, side)  # [time - 1 + t, h * w, k * k * c]
        terms = windows.shape[-1] // (side if frames.device.type == "cpu" else 1)
        assert self.conv3d.bias is not None
        y = self.conv3d.bias
        for step, weight in enumerate(weights):
            x = windows[step : step + t].flatten(0, 1)  # [t * h * w, k * k * c]
            for part, w in zip(
                torch.split(x, terms, dim=1), torch.split(weight, terms), strict=True
            ):
                y = torch.addmm(y, part, w)
        return y.view(t, *frames.shape[1:])


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

    Pixels and frames that fill no patch are left out.

    Returns:
        ``[b, t', gh, gw, c]``.
    """
    q, p, _ = conv.kernel_size
    b, t, c, h, w = video.shape
    t, gh, gw = t // q, h // p, w // p
    x = (
        video[:, : t * q, :, : gh * p, : gw * p]
        .reshape(b, t, q, c, gh, p, gw, p)
        .permute(0, 1, 4, 6, 3, 2, 5, 7)
    )
    return F.linear(x.reshape(b, t, gh, gw, -1), conv.weight.flatten(1), conv.bias)


class Connector(nn.Module):
    """Adds the position table to the vision tokens."""

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(tokens, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., tokens, c]`` to the same shape."""
        return x + self.pos_embed
