"""SigLIP's vision tower over gazed patches alone: the plain version.

Source: encoder spec 1, 2. The modules' ``state_dict`` keys are those of the Hub's checkpoints.
Shapes: ``m`` tokens of all clips, one after another, of ``d`` channels. Padding is never encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.gaze.settings import Attend as Attend
from autogaze_cli.gaze.tokens import ScaleLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSizes:
    """Sizes of a vision tower.

    Attributes:
        hidden_size: Channels.
        intermediate_size: Channels within the feed-forward parts.
        num_hidden_layers: Layers.
        num_attention_heads: Heads.
        image_size: Side in pixels of the pictures that the position table was made for.
        patch_size: Side of a patch in pixels.
        layer_norm_eps: Of the normalisations.
        tanh: Whether the activation is the tanh approximation of GELU, or GELU itself.
        pools: Whether there is a pooling head.
        layout: The ids of a frame; its scales are multiples of ``patch_size``.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float
    tanh: bool
    pools: bool
    layout: ScaleLayout


@dataclass(frozen=True, slots=True)
class GazedTokens:
    """The tokens to encode, clip by clip, frame by frame, in order of choice.

    Attributes:
        clip: Index of the clip, ``int64 [m]``, ascending.
        frame: Index of the frame within the clip, ``int64 [m]``.
        scale: Index of the scale, ``int64 [m]``.
        row: Row in the scale's grid, ``int64 [m]``.
        col: Column in the scale's grid, ``int64 [m]``.
    """

    clip: Tensor
    frame: Tensor
    scale: Tensor
    row: Tensor
    col: Tensor

    def lengths(self, clips: int) -> list[int]:
        """Tokens of each clip."""
        return [int(n) for n in torch.bincount(self.clip, minlength=clips)]


class Embeddings(nn.Module):
    """Cuts and embeds gazed patches, and adds their positions."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        d, p = sizes.hidden_size, sizes.patch_size
        self.sizes = sizes
        self.patch_embedding = nn.Conv2d(3, d, kernel_size=p, stride=p)
        self.position_embedding = nn.Embedding((sizes.image_size // p) ** 2, d)

    def forward(self, video: Tensor, tokens: GazedTokens) -> Tensor:
        """Frames ``[b, t, 3, h, w]`` and ``m`` tokens to ``[m, d]``."""
        p, layout = self.sizes.patch_size, self.sizes.layout
        frames = video.flatten(0, 1)  # [b * t, 3, h, w]
        picture = tokens.clip * video.shape[1] + tokens.frame
        parts, places = [], []
        for index, (side, grid) in enumerate(zip(layout.scales, layout.grids, strict=True)):
            (at,) = torch.where(tokens.scale == index)
            if not len(at):
                continue
            row, col = tokens.row[at], tokens.col[at]
            shown, which = torch.unique(picture[at], return_inverse=True)
            pictures = F.interpolate(
                frames[shown], size=(side, side), mode="bicubic", align_corners=False
            ).view(-1, 3, grid, p, grid, p)
            patches = pictures[which, :, row, :, col]  # [k, 3, p, p]
            embedded = F.linear(
                patches.flatten(1),
                self.patch_embedding.weight.flatten(1),
                self.patch_embedding.bias,
            )
            parts.append(embedded + self.positions(grid)[row, col])
            places.append(at)
        if not parts:
            return video.new_empty(0, self.sizes.hidden_size)
        return torch.cat(parts)[torch.cat(places).argsort()]

    def positions(self, grid: int) -> Tensor:
        """The position table of a grid, ``[grid, grid, d]``."""
        own = self.sizes.image_size // self.sizes.patch_size
        table = self.position_embedding.weight.view(own, own, -1)
        if grid == own:
            return table
        picture = table.permute(2, 0, 1)[None]  # [1, d, own, own]
        resized = F.interpolate(picture, size=(grid, grid), mode="bicubic", align_corners=False)
        return resized[0].permute(1, 2, 0)


class Attention(nn.Module):
    """Attention within each clip."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        d = sizes.hidden_size
        self.heads = sizes.num_attention_heads
        self.q_proj, self.k_proj = nn.Linear(d, d), nn.Linear(d, d)
        self.v_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor, lengths: list[int], visible: list[Tensor | None]) -> Tensor:
        """``[m, d]`` to the same shape; ``visible`` of each clip is ``bool [n, n]``, None = all."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        heads = [part(x).unflatten(1, (self.heads, -1)).transpose(0, 1) for part in projections]
        clips = zip(*(torch.split(part, lengths, dim=1) for part in heads), strict=True)
        attended = [
            F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
            for (q, k, v), mask in zip(clips, visible, strict=True)
        ]
        out: Tensor = self.out_proj(torch.cat(attended, dim=1).transpose(0, 1).flatten(1))
        return out


class Mlp(nn.Module):
    """The feed-forward part of a layer."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.approximate = "tanh" if sizes.tanh else "none"
        self.fc1 = nn.Linear(sizes.hidden_size, sizes.intermediate_size)
        self.fc2 = nn.Linear(sizes.intermediate_size, sizes.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., d]`` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))
        return out


class Layer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.self_attn = Attention(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.mlp = Mlp(sizes)

    def forward(self, x: Tensor, lengths: list[int], visible: list[Tensor | None]) -> Tensor:
        """``[m, d]`` to the same shape; the arguments are those of ``Attention``."""
        x = x + self.self_attn(self.layer_norm1(x), lengths, visible)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))


class PoolingHead(nn.Module):
    """Pools the tokens of each clip by attention of one learned query."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        d = sizes.hidden_size
        self.probe = nn.Parameter(torch.zeros(1, 1, d))
        self.attention = nn.MultiheadAttention(d, sizes.num_attention_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(d, eps=sizes.layer_norm_eps)
        self.mlp = Mlp(sizes)

    def forward(self, x: Tensor, lengths: list[int]) -> Tensor:
        """``[m, d]`` to ``[clips, d]``."""
        pooled = [
            self.attention(self.probe, clip[None], clip[None], need_weights=False)[0][0]
            if len(clip)
            else torch.zeros_like(self.probe[0])
            for clip in torch.split(x, lengths)
        ]
        y = torch.cat(pooled)
        out: Tensor = y + self.mlp(self.layernorm(y))
        return out


class VisionTower(nn.Module):
    """Embeddings, layers, the last normalisation, and the pooling head where there is one."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Encoder(sizes)
        self.post_layernorm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.head = PoolingHead(sizes) if sizes.pools else None

    def forward(
        self, video: Tensor, tokens: GazedTokens, attend: Attend
    ) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Encode gazed tokens.

        Args:
            video: Normalised frames ``[b, t, 3, h, w]``.
            tokens: What to encode.
            attend: What a token sees.

        Returns:
            The hidden states before the first and after each layer, ``[m, d]`` each; the last of
            them normalised; and pooled features ``[b, d]`` where there is a pooling head.
        """
        lengths = tokens.lengths(len(video))
        visible = [_visible(frame, attend) for frame in torch.split(tokens.frame, lengths)]
        states = [self.embeddings(video, tokens)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1], lengths, visible))
        last = self.post_layernorm(states[-1])
        return states, last, None if self.head is None else self.head(last, lengths)


def _visible(frame: Tensor, attend: Attend) -> Tensor | None:
    """Whether a token (first) sees another (second) of its clip, ``bool [n, n]``; None = always."""
    if attend == "block-causal":
        return frame[:, None] >= frame
    if attend == "frame":
        return frame[:, None] == frame
    if attend == "causal":
        return torch.ones(len(frame), len(frame), dtype=torch.bool, device=frame.device).tril()
    return None
