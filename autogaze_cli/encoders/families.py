"""The families of vision transformers, as the checkpoints of the Hub's format have them.

A family is two functions: one reads its ``Sizes`` from ``config.json``, the other its weights, by
the names of ``VisionTransformer``. To add one, write them, and add them to ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from autogaze_cli.encoders.config import VisionFile
from autogaze_cli.encoders.network import Activation, Pool, Sizes
from autogaze_cli.errors import ConfigError

_MOST_POSITIONS = 1 << 26
"""Numbers in a table of positions."""

Named = Iterator[tuple[str, Tensor]]


class Weights(Protocol):
    """The tensors of a checkpoint, by the names within its vision model."""

    def __contains__(self, name: object) -> bool:
        """Whether there is one of that name."""

    def __getitem__(self, name: str) -> Tensor:
        """The tensor, float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the checkpoints of one family are read.

    Attributes:
        sizes: From ``config.json``, and the names of the weights, to ``Sizes``.
        weights: Yields every parameter of ``VisionTransformer``, by its name.
        first: The weight that tells where in a checkpoint the vision model is.
        mean: Of the processor, per channel, where the checkpoint has no processor file.
        std: As ``mean``.
        resample: As ``mean``: Pillow's number of the filter that resizes frames.
    """

    sizes: Callable[[VisionFile, Weights], Sizes]
    weights: Callable[[Weights, Sizes], Named]
    first: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int = 3


def _sizes(
    config: VisionFile, family: str, *, eps: float, act: Activation = "gelu", patch: int = 16
) -> Sizes:
    """What all families have, with what a family's class has where the file says nothing."""
    width, heads = config.hidden_size, config.num_attention_heads
    if width % heads:
        raise ConfigError(f"hidden_size {width} must be a multiple of num_attention_heads {heads}")
    image, patch = (
        _side("image_size", config.image_size),
        _side("patch_size", config.patch_size or patch),
    )
    if image < patch:
        raise ConfigError(f"image_size {image} must be at least patch_size {patch}")
    if (image // patch) ** 2 * width > _MOST_POSITIONS:
        raise ConfigError(f"image_size {image} has too many patches of {patch} pixels")
    return Sizes(
        family=family,
        width=width,
        heads=heads,
        depth=config.num_hidden_layers,
        hidden=config.intermediate_size,
        patch=patch,
        image=image,
        eps=config.layer_norm_eps or eps,
        activation=config.hidden_act or act,
    )


def _side(name: str, side: int | list[int]) -> int:
    """The side of a square, which may be given as height and width."""
    if isinstance(side, int):
        return side
    if side[0] != side[1]:
        raise ConfigError(f"{name} is {side}, not that of a square")
    return side[0]


def _with_bias(weights: Weights, ours: str, theirs: str) -> Named:
    yield f"{ours}.weight", weights[f"{theirs}.weight"]
    yield f"{ours}.bias", weights[f"{theirs}.bias"]


def _joined(weights: Weights, ours: str, theirs: list[str]) -> Named:
    """Queries, keys and values as one layer; those without a bias have one of 0."""
    parts = [weights[f"{name}.weight"] for name in theirs]
    yield f"{ours}.weight", torch.cat(parts)
    biases = [
        weights[f"{name}.bias"] if f"{name}.bias" in weights else part.new_zeros(len(part))
        for name, part in zip(theirs, parts, strict=True)
    ]
    yield f"{ours}.bias", torch.cat(biases)


# SigLIP, SigLIP 2 (of a fixed size) and CLIP: the same names, but for CLIP's class token.


def _siglip_sizes(config: VisionFile, weights: Weights) -> Sizes:
    sizes = _sizes(config, "siglip", eps=1e-6, act="gelu_pytorch_tanh")
    if len(weights["embeddings.patch_embedding.weight"].shape) != 4:
        raise ConfigError(
            "its patch embedding is for pictures of any shape (NaFlex)",
            hint="give a SigLIP 2 checkpoint of a fixed size",
        )
    pool: Pool = "attention" if "head.probe" in weights else "mean"
    return replace(sizes, pool=pool)


def _clip_sizes(config: VisionFile, weights: Weights) -> Sizes:
    return replace(
        _sizes(config, "clip", eps=1e-5, act="quick_gelu", patch=32),
        prefix=1,
        patch_bias=False,
        pre_norm=True,
        final_norm=False,
        pool_norm=True,
    )


def _siglip_weights(weights: Weights, sizes: Sizes) -> Named:
    yield from _with_bias(weights, "patch", "embeddings.patch_embedding")
    yield "position", weights["embeddings.position_embedding.weight"]
    yield from _siglip_layers(weights, sizes)
    yield from _with_bias(weights, "norm", "post_layernorm")
    if sizes.pool == "attention":
        yield "pool.probe", weights["head.probe"].flatten()
        for kind in ("weight", "bias"):
            joined = weights[f"head.attention.in_proj_{kind}"]
            yield f"pool.q.{kind}", joined[: sizes.width]
            yield f"pool.kv.{kind}", joined[sizes.width :]
        yield from _with_bias(weights, "pool.out", "head.attention.out_proj")
        yield from _with_bias(weights, "pool.norm", "head.layernorm")
        yield from _with_bias(weights, "pool.mlp.fc1", "head.mlp.fc1")
        yield from _with_bias(weights, "pool.mlp.fc2", "head.mlp.fc2")


def _clip_weights(weights: Weights, sizes: Sizes) -> Named:
    table = weights["embeddings.position_embedding.weight"]
    yield "patch.weight", weights["embeddings.patch_embedding.weight"]
    yield "position", table[1:]
    yield "prefix", weights["embeddings.class_embedding"].view(1, -1) + table[:1]
    yield from _with_bias(weights, "pre_norm", "pre_layrnorm")
    yield from _siglip_layers(weights, sizes)
    yield from _with_bias(weights, "pool_norm", "post_layernorm")


def _siglip_layers(weights: Weights, sizes: Sizes) -> Named:
    for n in range(sizes.depth):
        ours, theirs = f"layers.{n}", f"encoder.layers.{n}"
        names = [f"{theirs}.self_attn.{part}_proj" for part in "qkv"]
        yield from _with_bias(weights, f"{ours}.norm1", f"{theirs}.layer_norm1")
        yield from _joined(weights, f"{ours}.qkv", names)
        yield from _with_bias(weights, f"{ours}.out", f"{theirs}.self_attn.out_proj")
        yield from _with_bias(weights, f"{ours}.norm2", f"{theirs}.layer_norm2")
        yield from _with_bias(weights, f"{ours}.mlp.fc1", f"{theirs}.mlp.fc1")
        yield from _with_bias(weights, f"{ours}.mlp.fc2", f"{theirs}.mlp.fc2")


# DINOv2 (with and without registers), ViT and VideoMAE: again names in common.


def _dinov2_sizes(config: VisionFile, weights: Weights, *, registers: bool) -> Sizes:
    sizes = _sizes(config, "dinov2", eps=1e-6, patch=14)
    hidden = sizes.width * config.mlp_ratio
    if config.use_swiglu_ffn:  # two thirds of it, in whole eights
        hidden = -(-(hidden * 2 // 3) // 8) * 8
        sizes = replace(sizes, activation="swiglu")
    count = config.num_register_tokens if registers else 0
    return replace(sizes, hidden=hidden, prefix=1 + count, layer_scale=True, antialias=registers)


def _vit_sizes(config: VisionFile, weights: Weights) -> Sizes:
    sizes = _sizes(config, "vit", eps=1e-12)
    return replace(sizes, prefix=1, pool_dense="pooler.dense.weight" in weights)


def _videomae_sizes(config: VisionFile, weights: Weights) -> Sizes:
    sizes = _sizes(config, "videomae", eps=1e-12)
    return replace(
        sizes,
        tubelet=config.tubelet_size,
        final_norm=not config.use_mean_pooling,
        fixed_positions=True,
        pool="mean",
    )


def _vit_weights(weights: Weights, sizes: Sizes) -> Named:
    yield from _with_bias(weights, "patch", "embeddings.patch_embeddings.projection")
    if not sizes.fixed_positions:
        table = weights["embeddings.position_embeddings"][0]
        yield "position", table[1:]
        prefix = [weights["embeddings.cls_token"][0] + table[:1]]
        if sizes.prefix > 1:
            prefix.append(weights["embeddings.register_tokens"][0])
        yield "prefix", torch.cat(prefix)
    for n in range(sizes.depth):
        yield from _vit_layer(weights, f"layers.{n}", f"encoder.layer.{n}", sizes)
    if sizes.final_norm:
        yield from _with_bias(weights, "norm", "layernorm")
    if sizes.pool_dense:
        yield from _with_bias(weights, "pool_dense", "pooler.dense")


def _vit_layer(weights: Weights, ours: str, theirs: str, sizes: Sizes) -> Named:
    if sizes.layer_scale:
        norms, mlp = ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2")
        if sizes.activation == "swiglu":
            mlp = ("mlp.weights_in", "mlp.weights_out")
        yield f"{ours}.scale1", weights[f"{theirs}.layer_scale1.lambda1"]
        yield f"{ours}.scale2", weights[f"{theirs}.layer_scale2.lambda1"]
    else:
        norms = ("layernorm_before", "layernorm_after")
        mlp = ("intermediate.dense", "output.dense")
    attention = f"{theirs}.attention.attention"
    joined = [f"{attention}.{part}" for part in ("query", "key", "value")]
    for name, tensor in _joined(weights, f"{ours}.qkv", joined):
        if name.endswith("bias") and f"{attention}.q_bias" in weights:  # VideoMAE: keys have none
            q, v = weights[f"{attention}.q_bias"], weights[f"{attention}.v_bias"]
            tensor = torch.cat([q, torch.zeros_like(q), v])
        yield name, tensor
    yield from _with_bias(weights, f"{ours}.out", f"{theirs}.attention.output.dense")
    for n in (0, 1):
        yield from _with_bias(weights, f"{ours}.norm{n + 1}", f"{theirs}.{norms[n]}")
        yield from _with_bias(weights, f"{ours}.mlp.fc{n + 1}", f"{theirs}.{mlp[n]}")


_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_SIGLIP = Family(
    sizes=_siglip_sizes,
    weights=_siglip_weights,
    first="embeddings.patch_embedding.weight",
    mean=_HALF,
    std=_HALF,
)
_CLIP = Family(
    sizes=_clip_sizes,
    weights=_clip_weights,
    first="embeddings.class_embedding",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
_DINOV2 = Family(
    sizes=partial(_dinov2_sizes, registers=False),
    weights=_vit_weights,
    first="embeddings.patch_embeddings.projection.weight",
    mean=_IMAGENET[0],
    std=_IMAGENET[1],
)
_VIT = replace(_DINOV2, sizes=_vit_sizes, mean=_HALF, std=_HALF, resample=2)

FAMILIES: dict[str, Family] = {
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "siglip2": _SIGLIP,
    "siglip2_vision_model": _SIGLIP,
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "dinov2": _DINOV2,
    "dinov2_with_registers": replace(_DINOV2, sizes=partial(_dinov2_sizes, registers=True)),
    "vit": _VIT,
    "videomae": replace(_DINOV2, sizes=_videomae_sizes, resample=2),
}
"""By ``model_type`` of ``config.json``."""
