"""The network at training speed: one causal pass over whole clips, and cached greedy decoding.

The modules only hold weights here. Rows have equal budgets, so a batch is dense: a frame's vision
tokens, then the frame's gazes, then the next frame. A slot is fed once at decoding time, so one
causal pass on decoding's own positions gives decoding's scores.

Source: inference spec 3.2 to 3.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork, GazeModel, rotary_frequencies


class LayerWeights(NamedTuple):
    """A decoder layer's weights, those that share an input joined."""

    norm1: Tensor
    qkv: Tensor
    out: Tensor
    norm2: Tensor
    gate_up: Tensor
    down: Tensor


Layer = Callable[[Tensor, Tensor, Tensor, LayerWeights, int, float], Tensor]


def embed_video(model: GazeModel, video: Tensor, dtype: torch.dtype) -> Tensor:
    """Normalised frames ``[b, t, 3, side, side]`` to decoder inputs ``[b, t, tokens, c]``, float32.

    The patch embedding sees full precision, for small differences between frames matter; the
    convolutions run in ``dtype``, the frames they read side by side as channels.
    """
    vision = model.vision_model
    b, t = video.shape[:2]
    patch = vision.temporal_conv
    p = patch.kernel_size[-1]
    grid = video.shape[-1] // p
    x = video.view(b, t, 3, grid, p, grid, p).permute(0, 1, 3, 5, 2, 4, 6)
    x = F.linear(x.flatten(4), patch.weight.flatten(1), patch.bias)  # [b, t, gh, gw, c]
    x = vision.norm(x).to(dtype)
    block: Any
    for block in vision.blocks:
        conv = block.conv3d
        past = conv.kernel_size[0] - 1
        padded = F.pad(x, (0, 0, 0, 0, 0, 0, past, 0))
        side_by_side = torch.cat([padded[:, i : i + t] for i in range(past + 1)], dim=-1)
        weight = conv.weight.to(dtype).transpose(1, 2).flatten(1, 2)  # [c, time * c, k, k]
        x = F.conv2d(
            side_by_side.flatten(0, 1).permute(0, 3, 1, 2),
            weight.contiguous(memory_format=torch.channels_last),
            conv.bias.to(dtype),
            padding=conv.kernel_size[-1] // 2,
        ).relu()
        x = x.permute(0, 2, 3, 1).reshape(b, t, grid, grid, -1)
    out: Any = vision.out_proj
    y = F.linear(x.flatten(2, 3), out.weight.flatten(1).to(dtype), out.bias.to(dtype))
    embedded: Tensor = model.connector(y.float())
    return embedded


def clip_positions(tokens: int, budgets: Sequence[int], k: int) -> Tensor:
    """Rotary positions of a clip's slots: frames of ``tokens`` slots, each followed by its gazes.

    A frame's last chunk has true positions; those before it sit on the frame's last ``k`` vision
    slots. Source: inference spec 3.6 step 13.
    """
    parts = []
    start = 0
    for n in budgets:
        parts.append(torch.arange(start, start + tokens + n))
        last = (n - 1) // k * k  # gazes before the last chunk
        tail = parts[-1][tokens - k : tokens]
        parts[-1][tokens : tokens + last] = tail.repeat(last // k)
        start += tokens + n
    return torch.cat(parts)


def chunk_slots(tokens: int, budgets: Sequence[int], k: int) -> Tensor:
    """The slot before each chunk, whose scores choose it."""
    slots = []
    start = 0
    for n in budgets:
        slots.append(torch.arange(start + tokens - 1, start + tokens - 1 + n, k))
        start += tokens + n
    return torch.cat(slots)


def layer_weights(layer: nn.Module, dtype: torch.dtype) -> LayerWeights:
    """The weights of a ``DecoderLayer`` for ``layer_forward``; gradients pass through."""
    w = dict(layer.named_parameters())
    qkv = torch.cat([w[f"self_attn.{name}_proj.weight"] for name in "qkv"])
    gate_up = torch.cat([w["mlp.gate_proj.weight"], w["mlp.up_proj.weight"]])
    return LayerWeights(
        w["input_layernorm.weight"],
        qkv.to(dtype),
        w["self_attn.o_proj.weight"].to(dtype),
        w["post_attention_layernorm.weight"],
        gate_up.to(dtype),
        w["mlp.down_proj.weight"].to(dtype),
    )


def project(
    x: Tensor, cos: Tensor, sin: Tensor, w: LayerWeights, heads: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values, ``[b, n, heads, d]`` each, of ``x`` ``[b, n, c]``."""
    y = F.rms_norm(x, x.shape[-1:], w.norm1, eps).to(w.qkv.dtype)
    qkv = F.linear(y, w.qkv).view(*x.shape[:2], 3, heads, -1)
    qk = qkv[:, :, :2].float()
    half = qk.shape[-1] // 2
    turned = torch.cat([-qk[..., half:], qk[..., :half]], dim=-1)
    qk = (qk * cos + turned * sin).to(qkv.dtype)
    return qk[:, :, 0], qk[:, :, 1], qkv[:, :, 2]


def attend_last(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of the last slots ``[b, n, heads, d]`` over all ``[b, m, heads, d]``."""
    n, m = q.shape[1], k.shape[1]
    mask: Any
    if q.is_cuda:
        from torch.nn.attention.bias import causal_lower_right  # imports the compiler

        mask = causal_lower_right(n, m)
    else:
        mask = torch.ones(n, m, dtype=torch.bool).tril(m - n)
    q, k, v = (y.transpose(1, 2) for y in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def finish(x: Tensor, mixed: Tensor, w: LayerWeights, eps: float) -> Tensor:
    """What follows attention; ``x`` stays float32."""
    x = x + F.linear(mixed, w.out)
    y = F.rms_norm(x, x.shape[-1:], w.norm2, eps).to(w.out.dtype)
    gate, up = F.linear(y, w.gate_up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, w.down)


def layer_forward(
    x: Tensor, cos: Tensor, sin: Tensor, w: LayerWeights, heads: int, eps: float
) -> Tensor:
    """A decoder layer over whole sequences ``[b, n, c]``."""
    q, k, v = (y.transpose(1, 2) for y in project(x, cos, sin, w, heads, eps))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return finish(x, mixed.transpose(1, 2).flatten(2), w, eps)


class Runner:
    """Runs a network's weights over batches of clips.

    Args:
        network: Holds the weights; they are read anew at every call of ``scores`` or ``reader``.
        config: Its sizes.
        dtype: Of products and attention; sums along the layers stay float32.
        layer: ``layer_forward``, perhaps compiled.
    """

    def __init__(
        self,
        network: AutoGazeNetwork,
        config: GazeConfig,
        dtype: torch.dtype = torch.float32,
        layer: Layer = layer_forward,
    ) -> None:
        if config.num_key_value_heads != config.num_attention_heads or config.attention_bias:
            raise ValueError("training knows only full attention heads without biases")
        self.model, self.config, self.dtype, self.layer = network.gazing_model, config, dtype, layer
        self.frequencies = rotary_frequencies(config.head_dim, config.rope)

    def scores(self, video: Tensor, ids: Tensor, budgets: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scores before each chunk of given gazes, in one causal pass.

        Args:
            video: Normalised frames ``[b, t, 3, side, side]``.
            ids: The gazes, frame after frame, ``[b, sum(budgets)]``.
            budgets: Gazes a frame.

        Returns:
            Logits ``[b, chunks, k, N]`` without the padding id's, and predicted losses
            ``[b, chunks, k]``, float32.
        """
        c = self.config
        decoder = self.model.gaze_decoder.model
        vision = embed_video(self.model, video, self.dtype)
        gazes = decoder.embed_tokens(ids).split(list(budgets), dim=1)
        frames = zip(vision.unbind(1), gazes, strict=True)
        x = torch.cat([part for frame in frames for part in frame], dim=1)
        cos, sin = self.turns(clip_positions(c.num_tokens, budgets, c.num_multi_token_pred))
        for layer in decoder.layers:
            w = layer_weights(layer, self.dtype)
            x = self.layer(x, cos, sin, w, c.num_attention_heads, c.rms_norm_eps)
        slots = chunk_slots(c.num_tokens, budgets, c.num_multi_token_pred).to(x.device)
        return self.heads(x[:, slots])

    def turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of positions ``[n]``, ``[n, 1, 1, d]`` each, on the weights' device."""
        device = self.model.connector.pos_embed.device
        angles = (positions[:, None].float() * self.frequencies).repeat(1, 2).to(device)
        return angles.cos()[:, None, None], angles.sin()[:, None, None]

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[..., k, N]`` and predicted losses ``[..., k]`` of slots ``[..., c]``."""
        decoder, k = self.model.gaze_decoder, self.config.num_multi_token_pred
        hidden = decoder.model.norm(x)
        logits = decoder.lm_head(hidden).view(*x.shape[:-1], k, -1)[..., : self.config.eos_token_id]
        return logits, decoder.task_loss_prediction_head(hidden)

    def reader(self, video: Tensor, budgets: Sequence[int]) -> Reader:
        """Start decoding clips."""
        return Reader(self, video, budgets)


class Reader:
    """Cached decoding of a batch of clips with equal budgets, slot by slot as at inference."""

    def __init__(self, runner: Runner, video: Tensor, budgets: Sequence[int]) -> None:
        c = runner.config
        self.runner, self.end = runner, 0
        decoder = runner.model.gaze_decoder.model
        self.vision = embed_video(runner.model, video, runner.dtype)
        self.embed = decoder.embed_tokens.weight
        self.weights = [layer_weights(layer, runner.dtype) for layer in decoder.layers]
        slots = clip_positions(c.num_tokens, budgets, c.num_multi_token_pred)
        self.cos, self.sin = runner.turns(slots)
        shape = (len(self.weights), 2, len(video), len(slots), c.num_attention_heads, c.head_dim)
        self.cache = torch.empty(shape, dtype=runner.dtype, device=video.device)

    def read(self, ids: Tensor, frame: int | None = None) -> tuple[Tensor, Tensor]:
        """Read gazes ``[b, n]``, and then perhaps a frame; scores of the chunk that follows."""
        x = self.embed[ids]
        if frame is not None:
            x = torch.cat([x, self.vision[:, frame]], dim=1)
        c, n = self.runner.config, x.shape[1]
        new = slice(self.end, self.end + n)
        self.end += n
        for w, cache in zip(self.weights, self.cache, strict=True):
            q, k, v = project(
                x, self.cos[new], self.sin[new], w, c.num_attention_heads, c.rms_norm_eps
            )
            cache[0, :, new], cache[1, :, new] = k, v
            mixed = attend_last(q, cache[0, :, : self.end], cache[1, :, : self.end])
            x = finish(x, mixed.flatten(2), w, c.rms_norm_eps)
        return self.runner.heads(x[:, -1])
