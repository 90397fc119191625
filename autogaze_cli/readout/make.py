"""From a trace to its readout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.coords import BATCHES, video_readout_tokens_to_coords
from autogaze_cli.readout.document import COLUMNS, EMITS, Readout, ReadoutHeader
from autogaze_cli.readout.gazing import gazing_info
from autogaze_cli.readout.grids import (
    SparseReadoutGrid,
    SparseVideoPatchGeometry,
    SparseVideoReadoutGrid,
)
from autogaze_cli.readout.keep import keep_of_groups, merged_grid
from autogaze_cli.readout.ragged import Ragged
from autogaze_cli.readout.rects import trace_to_frame_readout_rects
from autogaze_cli.readout.settings import (
    READOUT_DEFAULTS,
    VIDEO_DEFAULTS,
    Route,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.readout.tokens import frame_rects_to_tokens
from autogaze_cli.readout.video import (
    frame_readout_rects_to_video_tokens,
    frame_readout_tokens_to_video_tokens,
)
from autogaze_cli.trace import Trace
from autogaze_cli.version import __version__

MOST_SCALE = 1e6
"""Of ``fixation_scale``: a frame is covered long before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutSettings:
    """What is read out, and for which consumer.

    Attributes:
        patch_h: Height of the consumer's patches, in pixels.
        patch_w: Width of the consumer's patches, in pixels.
        clip_height: Height of the consumer's clip, in pixels; None = that of the trace's frames.
        clip_width: Width of the consumer's clip, in pixels; None = that of the trace's frames.
        image_grid: Token grid of a frame; None = the patches of a frame.
        readout_options: How points become tokens of a frame.
        video_options: From those to tokens of the clip; its tubelet size is the consumer's.
        emit: Any of ``rects``, ``tokens``, ``coords``, ``gazing-info``, ``keep-indices``.
        merge: Patches on each side of a group of ``keep-indices``.
        route: ``tokens`` projects the tokens of frames on the clip's grid, ``rects`` their
            rectangles, to which the dilation and the caps on tokens of frames do not apply.
        batch_index: The first column of ``coords``.

    Raises:
        ConfigError: Nothing, or something unknown, is to be emitted.
    """

    patch_h: int = 16
    patch_w: int = 16
    clip_height: int | None = None
    clip_width: int | None = None
    image_grid: SparseReadoutGrid | None = None
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS
    emit: tuple[str, ...] = ("rects", "tokens", "coords")
    merge: int = 1
    route: Route = "tokens"
    batch_index: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be emitted."""
        unknown = [name for name in self.emit if name not in EMITS]
        if unknown or not self.emit:
            what = repr(unknown[0]) if unknown else "nothing"
            raise ConfigError(f"emit must be some of {', '.join(EMITS)}, not {what}")
        if self.merge != 1 and "keep-indices" not in self.emit:
            raise ConfigError("merge is for keep-indices alone", hint="give --emit keep-indices")
        if self.route not in get_args(Route):
            raise ConfigError(f"route must be tokens or rects, not {self.route!r}")
        if not 0 <= self.batch_index < BATCHES:
            raise ConfigError(
                f"batch_index must be at least 0 and below {BATCHES}, not {self.batch_index}"
            )
        scale = self.readout_options.fixation_scale
        if not 0 < scale < MOST_SCALE:
            raise ConfigError(
                f"fixation_scale must be above 0 and below {MOST_SCALE:g}, not {scale}"
            )

    def geometry(self, frames: int, height: int, width: int) -> SparseVideoPatchGeometry:
        """How the consumer cuts a clip into patches.

        Args:
            frames: Frames of the clip.
            height: Height of the frames that were gazed at, in pixels; 0 = unknown.
            width: Their width, in pixels; 0 = unknown.

        Raises:
            ConfigError: No size is known, or the patches do not fit.
        """
        height, width = self.clip_height or height, self.clip_width or width
        if not (height and width):
            raise ConfigError(
                "the trace does not say how large its frames are",
                hint="give --clip-height and --clip-width, the size of the consumer's clip",
            )
        tubelet = self.video_options.tubelet_size
        geometry = SparseVideoPatchGeometry(
            frames, height, width, tubelet, self.patch_h, self.patch_w
        )
        merged_grid(geometry.readout_grid(), self.merge)
        return geometry


def readout_trace(trace: Trace, settings: ReadoutSettings) -> Readout:
    """The readout of a trace.

    ``gazing-info`` is the gaze as it was generated: no option applies to it.

    Raises:
        ConfigError: The trace has no frames, the clip cannot be cut into patches, the image grid is
            empty, there are more than ``most_tokens``, or ``gazing-info`` is requested for a trace
            without ids.
    """
    geometry, image_grid = _grids(trace, settings)
    video_grid = geometry.readout_grid()
    emit = tuple(name for name in EMITS if name in settings.emit)
    options, video_options = settings.readout_options, settings.video_options
    arrays: dict[str, NDArray[Any]] = {
        "frame_index": trace.index,
        "frame_time_s": np.array([float(time) for time in trace.times], np.float64),
    }
    rects = trace_to_frame_readout_rects(trace, options)
    if "rects" in emit:
        arrays |= {"rects": rects.values, "rect_offsets": rects.offsets}
    projected = None
    tokens = Ragged.of([], np.int64)
    if "tokens" in emit or (settings.route == "tokens" and {"coords", "keep-indices"} & set(emit)):
        tokens = frame_rects_to_tokens(rects, image_grid, options)
    project = partial(_project, settings, image_grid, rects, tokens)
    if "tokens" in emit or "coords" in emit:
        video_tokens = project(video_grid, video_options.with_min_tokens(0))
        projected = len(video_tokens)
        if projected < video_options.min_tokens:
            video_tokens = project(video_grid, video_options)
        if "tokens" in emit:
            arrays |= {"image_tokens": tokens.values, "image_token_offsets": tokens.offsets}
            arrays["video_tokens"] = video_tokens
        if "coords" in emit:
            arrays["coords"] = video_readout_tokens_to_coords(
                video_tokens, video_grid, settings.batch_index
            )
    if "gazing-info" in emit:
        arrays |= gazing_info(trace)
    if "keep-indices" in emit:
        found = project(merged_grid(video_grid, settings.merge), video_options)
        kept = keep_of_groups(found, video_grid, settings.merge)
        arrays |= dict(zip(COLUMNS["keep-indices"], kept.arrays(), strict=True))
    header = ReadoutHeader(
        source=trace.header,
        geometry=geometry,
        image_grid=image_grid,
        video_grid=video_grid,
        readout_options=options,
        video_options=video_options,
        emit=emit,
        projected_tokens=projected,
        tool_version=__version__,
        merge=settings.merge,
        route=settings.route,
    )
    return Readout(header=header, arrays=arrays)


def _project(
    settings: ReadoutSettings,
    image_grid: SparseReadoutGrid,
    rects: Ragged,
    tokens: Ragged,
    grid: SparseVideoReadoutGrid,
    options: SparseVideoReadoutOptions,
) -> NDArray[np.int64]:
    """The tokens of a clip's grid, by the route of the settings."""
    if settings.route == "rects":
        return frame_readout_rects_to_video_tokens(rects, grid, options)
    return frame_readout_tokens_to_video_tokens(tokens, image_grid, grid, options)


def _grids(
    trace: Trace, settings: ReadoutSettings
) -> tuple[SparseVideoPatchGeometry, SparseReadoutGrid]:
    """How the clip is cut into patches, and the grid of its frames."""
    if len(trace) == 0:
        raise ConfigError("the trace has no frames", hint="trace the video again")
    geometry = settings.geometry(len(trace), trace.header.height, trace.header.width)
    video_grid = geometry.readout_grid()
    image_grid = settings.image_grid or SparseReadoutGrid(video_grid.height, video_grid.width)
    image_grid.require_tokens("image readout grid")
    return geometry, image_grid


def first_frames(trace: Trace, frames: int) -> Trace:
    """The first frames of a trace.

    Raises:
        ConfigError: It has fewer.
    """
    if frames > len(trace):
        raise ConfigError(f"{frames} frames were requested, and the trace has {len(trace)}")
    end = int(trace.offsets[frames])
    return replace(
        trace,
        index=trace.index[:frames],
        times=trace.times[:frames],
        stop_probability=trace.stop_probability[:frames],
        num_gazing=trace.num_gazing[:frames],
        offsets=trace.offsets[: frames + 1],
        fixations=trace.fixations.select(slice(end)),
    )
