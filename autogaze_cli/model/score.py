"""Teacher-forced scores of given gazes: one full pass over the finished sequence.

Source: inference spec 3.12. Ordinary positions and masks are used here, so after a frame's first
step these numbers are not those that decoding saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import GazeModel, rotary_frequencies


class Gaze(Protocol):
    """What is scored: upstream's names and shapes."""

    @property
    def gazing_pos(self) -> Tensor:
        """Ids, ``int64 [b, n]``."""

    @property
    def if_padded_gazing(self) -> Tensor:
        """True for padded slots, ``[b, n]``."""

    @property
    def num_gazing_each_frame(self) -> Tensor:
        """Slots a frame, ``[t]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GazeScores:
    """Scores of ``n`` slots in each of ``b`` rows.

    Attributes:
        log_action_probs: ``log(p + 1e-8)`` of the slot's id over all ids, ``float32 [b, n]``.
        task_loss_prediction: Predicted loss after the slot was gazed, ``float32 [b, n]``.
    """

    log_action_probs: Tensor
    task_loss_prediction: Tensor


@torch.inference_mode()
def score_gaze(model: GazeModel, config: GazeConfig, video: Tensor, gaze: Gaze) -> GazeScores:
    """Score ``gaze`` on square normalised frames ``[b, t, 3, side, side]``."""
    vision, _ = model.embed_video(video, None)
    b, frames, tokens, _ = vision.shape
    device = vision.device
    n_ids, k = config.num_vision_tokens_each_frame, config.num_multi_token_pred
    counts = [int(n) for n in gaze.num_gazing_each_frame]
    padded = gaze.if_padded_gazing.to(device, torch.bool)
    frame_of = torch.repeat_interleave(torch.arange(frames), torch.tensor(counts)).to(device)
    ids = gaze.gazing_pos.to(device) - n_ids * frame_of
    ids = ids.masked_fill(padded, config.eos_token_id)
    embedded = model.gaze_decoder.model.embed_tokens(ids)

    parts, masks, slots = [], [], []
    at = end = 0
    for t, n in enumerate(counts):
        parts += [vision[:, t], embedded[:, at : at + n]]
        masks += [padded.new_ones(b, tokens), ~padded[:, at : at + n]]
        slots.append(torch.arange(end + tokens, end + tokens + n))
        at, end = at + n, end + tokens + n
    hidden = forward(model, config, torch.cat(parts, dim=1), torch.cat(masks, dim=1))

    slot = torch.cat(slots).to(device)  # where each gazed slot stands in the sequence
    head = torch.cat([torch.arange(n) % k for n in counts]).to(device)
    logits = model.gaze_decoder.lm_head(hidden).float().view(b, hidden.shape[1], k, -1)
    losses = model.gaze_decoder.task_loss_prediction_head(hidden).float()
    probabilities = logits[:, slot - head - 1, head].softmax(dim=-1)
    chosen = probabilities.gather(2, ids[:, :, None])[:, :, 0]
    ahead = (head + 1) % k
    return GazeScores(
        log_action_probs=torch.log(chosen + 1e-8).cpu(),
        task_loss_prediction=losses[:, slot - ahead, ahead].cpu(),
    )


def forward(model: GazeModel, config: GazeConfig, x: Tensor, mask: Tensor) -> Tensor:
    """All slots ``[b, n, c]`` through the decoder, positions cumulative, masked keys hidden."""
    b, n, _ = x.shape
    d, heads, kv_heads = config.head_dim, config.num_attention_heads, config.num_key_value_heads
    positions = mask.long().cumsum(dim=1) - 1
    frequencies = rotary_frequencies(d, config.rope).to(x.device)
    angles = positions[..., None].float() * frequencies  # [b, n, d/2]
    cos, sin = (f(angles).repeat(1, 1, 2)[:, None].to(x.dtype) for f in (torch.cos, torch.sin))
    seen = mask[:, None, None, :] & torch.ones(n, n, dtype=torch.bool, device=x.device).tril()

    def split(y: Tensor, count: int) -> Tensor:
        return y.view(b, n, count, d).transpose(1, 2)

    def rotate(y: Tensor) -> Tensor:
        return y * cos + torch.cat([-y[..., d // 2 :], y[..., : d // 2]], dim=-1) * sin

    layer: Any
    for layer in model.gaze_decoder.model.layers:
        attn, mlp = layer.self_attn, layer.mlp
        y = layer.input_layernorm(x)
        mixed = F.scaled_dot_product_attention(
            rotate(split(attn.q_proj(y), heads)),
            rotate(split(attn.k_proj(y), kv_heads)),
            split(attn.v_proj(y), kv_heads),
            attn_mask=seen,
            enable_gqa=heads != kv_heads,
        )
        x = x + attn.o_proj(mixed.transpose(1, 2).reshape(b, n, -1))
        y = layer.post_attention_layernorm(x)
        x = x + mlp.down_proj(F.silu(mlp.gate_proj(y)) * mlp.up_proj(y))
    hidden: Tensor = model.gaze_decoder.model.norm(x)
    return hidden
