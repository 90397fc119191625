"""A vision transformer over tokens that lie in one tensor ``[n, d]``, whichever clips they are of.

The families differ in details that ``Sizes`` names; ``families.py`` reads them from checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.encoders.attention import Packing

Activation = Literal["gelu", "gelu_pytorch_tanh", "quick_gelu", "relu", "swiglu"]
Pool = Literal["attention", "class", "mean"]


def _gated(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "swiglu": _gated,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the families differ in.

    Attributes:
        family: The name of the family.
        width: Values of a token, ``d``.
        heads: Attention heads.
        depth: Layers.
        hidden: Width inside the MLP, after the activation.
        patch: Side of a patch in pixels.
        image: Side of the picture the checkpoint was made for, in pixels.
        tubelet: Frames of a token.
        eps: Of the layer norms.
        activation: Of the MLP; ``swiglu`` has two halves, one of which gates the other.
        prefix: Tokens of a frame that are no patch: class and registers.
        patch_bias: Whether the patch embedding has a bias.
        pre_norm: Whether tokens are normalised before the first layer.
        final_norm: Whether tokens are normalised after the last layer.
        layer_scale: Whether what a layer adds is scaled, per channel.
        fixed_positions: Whether positions are sines and cosines, without a table of their own.
        antialias: Whether the table of positions is filtered when it is made smaller.
        pool: ``attention``: a learnt query attends to the tokens. ``class``: the class token.
            ``mean``: the mean of the tokens.
        pool_norm: Whether a pooled class token is normalised.
        pool_dense: Whether a pooled class token goes through a layer and tanh.
    """

    family: str
    width: int
    heads: int
    depth: int
    hidden: int
    patch: int
    image: int
    tubelet: int = 1
    eps: float = 1e-6
    activation: Activation = "gelu"
    prefix: int = 0
    patch_bias: bool = True
    pre_norm: bool = False
    final_norm: bool = True
    layer_scale: bool = False
    fixed_positions: bool = False
    antialias: bool = False
    pool: Pool = "class"
    pool_norm: bool = False
    pool_dense: bool = False

    @property
    def grid(self) -> int:
        """Patches from one side of the picture to the other."""
        return self.image // self.patch


class MLP(nn.Module):
    """Two linear layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        gates = 2 if sizes.activation == "swiglu" else 1
        self.fc1 = nn.Linear(sizes.width, sizes.hidden * gates)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)
        self.activation = ACTIVATIONS[sizes.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``[n, d]`` to ``[n, d]``."""
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class Layer(nn.Module):
    """Attention and MLP, each on normalised tokens and added to them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.norm1 = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.mlp = MLP(sizes)
        if sizes.layer_scale:
            self.scale1 = nn.Parameter(torch.ones(sizes.width))
            self.scale2 = nn.Parameter(torch.ones(sizes.width))
        self.has_scale = sizes.layer_scale

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Tokens ``[n, d]`` to ``[n, d]``."""
        mixed = self.out(packing.attend(self.qkv(self.norm1(x)), self.heads))
        x = x + (mixed * self.scale1 if self.has_scale else mixed)
        changed: Tensor = self.mlp(self.norm2(x))
        return x + (changed * self.scale2 if self.has_scale else changed)


class AttentionPool(nn.Module):
    """A learnt query that attends to tokens, then an MLP."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.probe = nn.Parameter(torch.zeros(sizes.width))
        self.q = nn.Linear(sizes.width, sizes.width)
        self.kv = nn.Linear(sizes.width, 2 * sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.mlp = MLP(sizes)

    def forward(self, x: Tensor, packings: Sequence[Packing]) -> list[Tensor]:
        """Pool tokens ``[n, d]`` over the sequences of each packing: ``[sequences, d]`` each."""
        query, kv, pooled = self.q(self.probe), self.kv(x), []
        for packing in packings:
            mixed = self.out(packing.attend_from(query, kv, self.heads))
            pooled.append(mixed + self.mlp(self.norm(mixed)))
        return pooled


class VisionTransformer(nn.Module):
    """What every family has: ``patchify``, ``positions``, ``layers``, ``norm``, and pooling."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.patch = nn.Linear(
            3 * sizes.tubelet * sizes.patch**2, sizes.width, bias=sizes.patch_bias
        )
        if not sizes.fixed_positions:
            self.position = nn.Parameter(torch.zeros(sizes.grid**2, sizes.width))
        if sizes.prefix:
            self.prefix = nn.Parameter(torch.zeros(sizes.prefix, sizes.width))
        norm = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.pre_norm = norm if sizes.pre_norm else nn.Identity()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.depth))
        final = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.norm = final if sizes.final_norm else nn.Identity()
        if sizes.pool == "attention":
            self.pool = AttentionPool(sizes)
        if sizes.pool_norm:
            self.pool_norm = nn.LayerNorm(sizes.width, eps=sizes.eps)
        if sizes.pool_dense:
            self.pool_dense = nn.Linear(sizes.width, sizes.width)

    def patchify(self, patches: Tensor) -> Tensor:
        """Embed pixels ``[n, 3, tubelet, p, p]``: ``[n, d]``."""
        out: Tensor = self.patch(patches.flatten(1))
        return out

    def positions(self, grids: Sequence[int], bins: int) -> Tensor:
        """The positions of all ids of a frame, in float32.

        Args:
            grids: Patches per side of each scale.
            bins: Temporal positions; those of families without any are all the same one.

        Returns:
            ``[bins, ids, d]``, or ``[1, ids, d]`` where time has no position.
        """
        s = self.sizes
        if s.fixed_positions:
            table = _sinusoids(bins * s.grid**2, s.width).to(self.patch.weight.device)
        else:
            table = self.position.float()
        table = table.view(-1, s.grid, s.grid, s.width).permute(0, 3, 1, 2)
        resized = [
            table
            if grid == s.grid
            else F.interpolate(
                table, (grid, grid), mode="bicubic", align_corners=False, antialias=s.antialias
            )
            for grid in grids
        ]
        return torch.cat([part.flatten(2).transpose(1, 2) for part in resized], dim=1)

    def encode(self, x: Tensor, packing: Packing) -> Tensor:
        """Embedded tokens ``[n, d]`` through all layers and the final norm: ``[n, d]``."""
        x = self.pre_norm(x)
        for layer in self.layers:
            x = layer(x, packing)
        out: Tensor = self.norm(x)
        return out

    def pool_class(self, classes: Tensor) -> Tensor:
        """Pooled features of class tokens ``[..., d]``."""
        if self.sizes.pool_norm:
            classes = self.pool_norm(classes)
        return torch.tanh(self.pool_dense(classes)) if self.sizes.pool_dense else classes


def _sinusoids(positions: int, width: int) -> Tensor:
    """Fixed positions: sines in even columns, cosines in odd ones, float32 ``[positions, d]``."""
    pairs = torch.arange(width, dtype=torch.float64) // 2 * (2 / width)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000**pairs
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).float()
