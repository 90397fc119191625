"""What ``AutoGaze.generate`` returns, and what it remembers of a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.cache import KVCache
from autogaze_cli.model.choose import FrameGaze


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GazeOutput:
    """The gaze of ``b`` clips of ``t`` frames.

    The first three attributes, ``scales`` and ``num_vision_tokens_each_frame`` have upstream's
    names, types and shapes. ``gazing_masks`` are upstream's ``gazing_mask`` as uint8 instead of
    float; the others are not upstream's. ``autogaze_cli.upstream`` gives results as published.

    Clips are decoded independently; where they gaze unequally often, the shorter are padded.

    Attributes:
        gazing_pos: Ids in order of choice, frame after frame, offset by ``N * frame`` within the
            call, ``int64 [b, n]``. Padding holds ``N * (frame + 1)``, so consult the next.
        if_padded_gazing: True for padding, ``bool [b, n]``.
        num_gazing_each_frame: Tokens per frame, padding included, the same for every clip,
            ``int64 [t]``.
        gazing_masks: One tensor per scale, coarse first, ``uint8 [b, t, cells]``: 1 = gazed.
        confidences: Probability of the chosen id among those still allowed, 0 for padding,
            ``float32 [b, n]``.
        num_gazing_each_row: Tokens that each clip needed by itself, ``int64 [b, t]``.
        scales: The model's scales, ascending.
        num_vision_tokens_each_frame: Ids per frame, ``N``.
    """

    gazing_pos: Tensor
    if_padded_gazing: Tensor
    num_gazing_each_frame: Tensor
    gazing_masks: list[Tensor]
    confidences: Tensor
    num_gazing_each_row: Tensor
    scales: tuple[int, ...]
    num_vision_tokens_each_frame: int

    @classmethod
    def from_frames(cls, layout: ScaleLayout, frames: list[FrameGaze]) -> GazeOutput:
        """The output of decoded frames; ``layout`` is the model's."""
        counts = np.array([frame.ids.shape[1] for frame in frames])
        ids = np.concatenate(
            [layout.global_ids(frame.ids, t) for t, frame in enumerate(frames)], axis=1
        )
        padded = np.concatenate([frame.padded for frame in frames], axis=1)
        confidences = np.concatenate([frame.confidences for frame in frames], axis=1)
        return cls(
            gazing_pos=torch.from_numpy(ids),
            if_padded_gazing=torch.from_numpy(padded),
            num_gazing_each_frame=torch.from_numpy(counts),
            gazing_masks=[torch.from_numpy(m) for m in layout.masks(ids, padded, len(frames))],
            confidences=torch.from_numpy(confidences),
            num_gazing_each_row=torch.from_numpy(np.stack([f.counts for f in frames], axis=1)),
            scales=layout.scales,
            num_vision_tokens_each_frame=layout.num_tokens,
        )

    def clip(self, row: int) -> GazeOutput:
        """One clip's gaze, without the padding that it has for the sake of the others."""
        counts = self.num_gazing_each_row[row]
        own = _own_tokens(counts, self.num_gazing_each_frame)
        return replace(
            self,
            gazing_pos=self.gazing_pos[row, own][None],
            if_padded_gazing=self.if_padded_gazing[row, own][None],
            num_gazing_each_frame=counts,
            gazing_masks=[mask[row][None] for mask in self.gazing_masks],
            confidences=self.confidences[row, own][None],
            num_gazing_each_row=counts[None],
        )

    def joined(self, adapt: AdaptLayout) -> GazeOutput:
        """This gaze at tiles as the gaze at whole pictures.

        Ids come in ascending order, so confidences are lost: 1, and 0 for padding.
        """
        own = [
            _own_tokens(counts, self.num_gazing_each_frame) for counts in self.num_gazing_each_row
        ]
        gaze = adapt.join(
            [ids[keep] for ids, keep in zip(self.gazing_pos, own, strict=True)],
            [pad[keep] for pad, keep in zip(self.if_padded_gazing, own, strict=True)],
            list(self.num_gazing_each_row),
        )
        frames = len(gaze.num_gazing_each_frame)
        masks = adapt.target.masks(gaze.gazing_pos, gaze.if_padded_gazing, frames)
        padded = torch.from_numpy(gaze.if_padded_gazing)
        return GazeOutput(
            gazing_pos=torch.from_numpy(gaze.gazing_pos),
            if_padded_gazing=padded,
            num_gazing_each_frame=torch.from_numpy(gaze.num_gazing_each_frame),
            gazing_masks=[torch.from_numpy(mask) for mask in masks],
            confidences=(~padded).float(),
            num_gazing_each_row=torch.from_numpy(gaze.num_gazing_each_frame).expand(
                len(padded), frames
            ),
            scales=self.scales,
            num_vision_tokens_each_frame=adapt.target.num_tokens,
        )


def _own_tokens(own: Tensor, counts: Tensor) -> Tensor:
    """Which tokens a clip needed by itself: the first ``own[t]`` of ``counts[t]``, ``bool [n]``."""
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return torch.arange(len(starts)) - starts < torch.repeat_interleave(own, counts)


@dataclass(slots=True)
class GazeState:
    """The memory of streams between calls of ``generate``.

    Attributes:
        caches: Decoder caches, one per stream.
        conv: Last frames seen by each convolution block; None before the first frame.
        horizon_frames: Frames that a query sees, the present one included; None = all.
    """

    caches: list[KVCache]
    conv: list[Tensor] | None = None
    horizon_frames: int | None = None
