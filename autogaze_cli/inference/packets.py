"""Makes packets: clips with what was asked for of their gaze, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.media.video import Frame
from autogaze_cli.model.output import GazeOutput, GazeState
from autogaze_cli.readout.masks import frame_fixation_masks_tensor
from autogaze_cli.readout.packet import AutoGazePipelinePacket
from autogaze_cli.readout.points import FixationSet
from autogaze_cli.readout.pyramid import ImagePyramidLevel, tokenize_masked_image_pyramid
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace

_LEVELS = tuple(ImagePyramidLevel(side, side) for side in (2, 4, 7, 14))


class _Config(NamedTuple):
    """What gives the ids of packets a meaning."""

    layout: ScaleLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """What packets hold; see ``PacketSettings``."""

    emit_traces: bool = False
    emit_readout_points: bool = False
    emit_generated: bool = False
    emit_mask: bool = False
    emit_pyramid: bool = False
    pyramid_levels: Sequence[ImagePyramidLevel] = _LEVELS

    @classmethod
    def split(cls, given: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """What packets hold, and the other settings given."""
        own = {name: given[name] for name in cls.__dataclass_fields__ if name in given}
        return cls(**own), {name: given[name] for name in given if name not in own}

    @property
    def needs_gaze(self) -> bool:
        """Whether any of it depends on the gaze."""
        return any(
            getattr(self, name) for name in type(self).__dataclass_fields__ if "emit" in name
        )

    def check(self, source: GazeSource) -> None:
        """Refuse what ``source`` cannot give.

        Raises:
            ConfigError: Ids were asked for, and the source has none, or those of tiles.
        """
        if self.emit_generated and not _gives_ids(source):
            raise ConfigError(
                "emit_generated needs a model in mode resize, "
                f"not {source.mask_source} in mode {source.settings.mode}",
                hint="use emit_readout_points",
            )


def make_packet(
    source: GazeSource,
    clips: NDArray[np.uint8] | Tensor,
    stamps: Sequence[tuple[int, Fraction]],
    emit: Emit,
    state: GazeState | None = None,
) -> AutoGazePipelinePacket:
    """Gaze at clips as far as ``emit`` needs it.

    Args:
        source: The gaze source.
        clips: uint8 ``[b, t, h, w, 3]``.
        stamps: Index and time of each of the ``t`` frames.
        emit: What the packet holds.
        state: Memory of the stream that the clip continues (a model in mode ``resize`` only).
    """
    settings = source.settings
    gazes: list[list[FrameTrace]] = []
    generated: GazeOutput | None = None
    if emit.needs_gaze:
        gazes, generated = _gaze(source, clips, stamps, state)
    height, width = clips.shape[2:4]
    each = max(source.max_gaze_tokens_each_frame, settings.top_k) * source.tile_count(width, height)
    traces = [
        [FixationSet.with_min_len(gaze.fixations, gaze.stop_probability, each) for gaze in row]
        for row in (gazes if emit.emit_traces else ())
    ]
    points = None
    if emit.emit_readout_points:
        points = [[frame.fixations for frame in row] for row in traces or gazes]
    clip = torch.as_tensor(clips).permute(0, 1, 4, 2, 3)
    masks = None
    if emit.emit_mask or emit.emit_pyramid:
        frames = [
            frame_fixation_masks_tensor(gazes, t, height, width, clip.device)
            for t in range(len(stamps))
        ]
        masks = torch.stack(frames, dim=1)
    pyramid = None
    if emit.emit_pyramid and masks is not None:
        pyramid = [
            tokenize_masked_image_pyramid(
                clip[:, t].float() / 255, masks[:, t], emit.pyramid_levels
            )
            for t in range(len(stamps))
        ]
    return AutoGazePipelinePacket(
        clip=clip,
        config=_Config(source.token_layout) if isinstance(source, AutoGazeSource) else None,
        traces=traces,
        readout_points=points,
        generated=generated if emit.emit_generated else None,
        mode=settings.mode,
        top_k=settings.top_k,
        masks=masks if emit.emit_mask else None,
        pyramid=pyramid,
        index=stamps[0][0],
    )


def _gives_ids(source: GazeSource) -> bool:
    return isinstance(source, AutoGazeSource) and source.settings.mode == "resize"


def _gaze(
    source: GazeSource,
    clips: NDArray[np.uint8] | Tensor,
    stamps: Sequence[tuple[int, Fraction]],
    state: GazeState | None,
) -> tuple[list[list[FrameTrace]], GazeOutput | None]:
    """The gaze at each frame of each clip, and the model's output where ids are those of frames."""
    if not isinstance(source, AutoGazeSource):
        rows = []
        for clip in clips:
            frames = (Frame(*stamp, rgb) for stamp, rgb in zip(stamps, clip, strict=True))
            rows.append([gaze for _, gaze in source.trace(frames)])
        return rows, None
    if not _gives_ids(source):
        return [list(source.gaze_clip(clip, stamps)) for clip in clips], None
    if state is None and (horizon := source.settings.horizon_frames):
        state = source.new_state(horizon, len(clips))
    output = source.generate(source.preprocess(clips), state)
    layout = source.layout(clips.shape[3], clips.shape[2])
    gazes = [
        [source.frame_trace([alone], t, layout, stamp) for t, stamp in enumerate(stamps)]
        for alone in map(output.clip, range(len(clips)))
    ]
    return gazes, output
