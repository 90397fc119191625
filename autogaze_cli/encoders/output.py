"""What an encoder takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze_cli.encoders.tokens import GazeTokens


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderOutput:
    """The features of the gazed patches of ``b`` clips (or tiles of one) of ``t`` frames.

    Where the encoder's tokens span several frames, ``t`` counts these tubelets.

    Attributes:
        last_hidden_state: ``[tokens, d]``: clip by clip, frame by frame, in the order of gaze.
        coords: Clip, frame, and row and column in the token's own scale, int64 ``[tokens, 4]``.
        scale: Side in pixels of the scale of each token, int64 ``[tokens]``.
        prefix: The class and register tokens of each frame, ``[b, t, k, d]``; ``k`` may be 0.
        frame_features: Pooled features of each frame, ``[b, t, d]``; 0 for a frame without tokens
            of an encoder without a class token.
        clip_features: Pooled features of each clip, ``[b, d]``.
    """

    last_hidden_state: Tensor
    coords: Tensor
    scale: Tensor
    prefix: Tensor
    frame_features: Tensor
    clip_features: Tensor

    def joined(self, others: Sequence[EncoderOutput]) -> EncoderOutput:
        """This and others, each of further clips, as one."""
        parts, clips = [self, *others], 0
        coords = []
        for part in parts:
            coords.append(part.coords + torch.tensor([clips, 0, 0, 0]))
            clips += len(part.clip_features)
        names = ("last_hidden_state", "scale", "prefix", "frame_features", "clip_features")
        rest = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return EncoderOutput(coords=torch.cat(coords), **rest)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Patches:
    """Gazed patches that were cut, before they are embedded.

    Attributes:
        tokens: Which they are.
        pixels: Normalised, float32 ``[n, 3, tubelet, p, p]``.
    """

    tokens: GazeTokens
    pixels: Tensor

    def halves(self) -> tuple[Patches, Patches]:
        """Those of the first half of the clips, and the others."""
        clips = self.tokens.clips
        first = self.tokens.of_clips(0, clips // 2)
        second = self.tokens.of_clips(clips // 2, clips)
        return (
            Patches(tokens=first, pixels=self.pixels[: len(first)]),
            Patches(tokens=second, pixels=self.pixels[len(first) :]),
        )
