"""Teacher-forced scores of given gazes: one full pass over the finished sequence.

Source: inference spec 3.12. Ordinary positions and masks are used here, so after a frame's first
step these numbers are not those that decoding saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import GazeModel


class Gaze(Protocol):
    """What is scored, by upstream's names; either package's output will do."""

    @property
    def gazing_pos(self) -> Tensor:
        """Ids, ``int64 [b, n]``."""

    @property
    def if_padded_gazing(self) -> Tensor:
        """True for padded tokens, ``[b, n]``."""

    @property
    def num_gazing_each_frame(self) -> Tensor:
        """Tokens per frame, ``[t]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GazeScores:
    """Scores of ``n`` gazed tokens in each of ``b`` clips.

    Attributes:
        log_action_probs: ``log(p + 1e-8)`` of the token's id over all ids, ``float32 [b, n]``.
        task_loss_prediction: Predicted loss after the token was gazed at, ``float32 [b, n]``.
    """

    log_action_probs: Tensor
    task_loss_prediction: Tensor


@torch.inference_mode()
def score_gaze(model: GazeModel, config: GazeConfig, video: Tensor, gaze: Gaze) -> GazeScores:
    """Score ``gaze`` on square normalised frames ``[b, t, 3, side, side]``."""
    vision, _ = model.embed_video(video, None)  # [b, t, tokens, c]
    decoder = model.gaze_decoder
    b, _, tokens, _ = vision.shape
    device, k = vision.device, config.num_multi_token_pred
    counts = [int(n) for n in gaze.num_gazing_each_frame]
    padded = gaze.if_padded_gazing.to(device, torch.bool)  # [b, n]
    ids = torch.from_numpy(config.layout.clip_ids(gaze.gazing_pos.cpu(), counts)).to(device)
    ids = ids.masked_fill(padded, config.eos_token_id)  # [b, n]
    embedded = decoder.model.embed_tokens(ids)  # [b, n, c]

    # The sequence: each frame's vision tokens, then its gazed tokens.
    parts, real, places = [], [], []
    at = length = 0
    for t, n in enumerate(counts):
        parts += [vision[:, t], embedded[:, at : at + n]]
        real += [padded.new_ones(b, tokens), ~padded[:, at : at + n]]
        places.append(torch.arange(length + tokens, length + tokens + n))
        at, length = at + n, length + tokens + n
    mask = torch.cat(real, dim=1)  # [b, length]
    positions = mask.long().cumsum(dim=1) - 1
    hidden = decoder.model(torch.cat(parts, dim=1), positions, mask)  # [b, length, c]

    place = torch.cat(places).to(device)  # of each gazed token in the sequence, [n]
    head = torch.cat([torch.arange(n) % k for n in counts]).to(device)  # which one chose it, [n]
    # Logits are wanted at the token before each chunk alone, one in twenty or fewer.
    before, chunk = torch.unique(place - head - 1, return_inverse=True)
    logits = decoder.lm_head(hidden[:, before]).unflatten(-1, (k, -1))  # [b, chunks, K, vocabulary]
    probabilities = logits[:, chunk, head].float().softmax(dim=-1)  # [b, n, vocabulary]
    chosen = probabilities.gather(2, ids[:, :, None])[:, :, 0]
    losses = decoder.task_loss_prediction_head(hidden)  # [b, length, K]
    ahead = (head + 1) % k
    return GazeScores(
        log_action_probs=torch.log(chosen + 1e-8).cpu(),
        task_loss_prediction=losses[:, place - ahead, ahead].float().cpu(),
    )
