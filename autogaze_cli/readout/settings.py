"""The settings of a readout: limits, dilation and grids, used by every helper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from msgspec import Meta

from autogaze_cli.readout.grids import (
    Count,
    SparseReadoutGrid,
    SparseVideoPatchGeometry,
    SparseVideoReadoutGrid,
    check_whole,
)

Finite = Annotated[float, Meta(ge=-1e30, le=1e30)]
"""A number in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseReadoutOptions:
    """How the fixations of one frame become tokens of that frame.

    Attributes:
        confidence_threshold: Fixations count whose confidence is above this, clamped to 0..1.
        max_fixations_per_frame: Maximum number of rectangles per frame; None = all, 0 = none.
        fixation_scale: Factor on the width and height of a cell, at least 1e-6.
        dilation: Whole tokens added on all four sides.
        max_tokens_per_frame: Maximum number of tokens per frame; None = all, 0 = none.

    Raises:
        ConfigError: A count is not a whole number of at least 0.

    Source: readout spec 4.
    """

    confidence_threshold: Finite = 0.0
    max_fixations_per_frame: Count | None = None
    fixation_scale: Finite = 1.0
    dilation: Count = 0
    max_tokens_per_frame: Count | None = None

    def __post_init__(self) -> None:
        """Refuse invalid counts."""
        check_whole(dilation=self.dilation)
        if self.max_fixations_per_frame is not None:
            check_whole(max_fixations_per_frame=self.max_fixations_per_frame)
        if self.max_tokens_per_frame is not None:
            check_whole(max_tokens_per_frame=self.max_tokens_per_frame)

    def with_confidence_threshold(self, threshold: float) -> Self:
        """The same with another ``confidence_threshold``."""
        return replace(self, confidence_threshold=threshold)

    def with_max_fixations_per_frame(self, cap: int | None) -> Self:
        """The same with another ``max_fixations_per_frame``."""
        return replace(self, max_fixations_per_frame=cap)

    def with_fixation_scale(self, scale: float) -> Self:
        """The same with another ``fixation_scale``."""
        return replace(self, fixation_scale=scale)

    def with_dilation(self, dilation: int) -> Self:
        """The same with another ``dilation``."""
        return replace(self, dilation=dilation)

    def with_max_tokens_per_frame(self, cap: int | None) -> Self:
        """The same with another ``max_tokens_per_frame``."""
        return replace(self, max_tokens_per_frame=cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseVideoReadoutOptions:
    """How the tokens or rectangles of all frames become tokens of a clip.

    Attributes:
        tubelet_size: Frames of a temporal bin; 0 is refused where it is used.
        dilation: Whole tokens of the clip's grid added on all four sides, within the bin.
        min_tokens: Minimum number of tokens of the clip; missing ones are filler without gaze.
        max_tokens: Maximum number of tokens of the clip; None = all, 0 = none.

    Raises:
        ConfigError: A count is not a whole number of at least 0.

    Source: readout spec 4.
    """

    tubelet_size: Count = 1
    dilation: Count = 0
    min_tokens: Count = 0
    max_tokens: Count | None = None

    def __post_init__(self) -> None:
        """Refuse invalid counts."""
        check_whole(
            tubelet_size=self.tubelet_size, dilation=self.dilation, min_tokens=self.min_tokens
        )
        if self.max_tokens is not None:
            check_whole(max_tokens=self.max_tokens)

    def with_tubelet_size(self, frames: int) -> Self:
        """The same with another ``tubelet_size``."""
        return replace(self, tubelet_size=frames)

    def with_dilation(self, dilation: int) -> Self:
        """The same with another ``dilation``."""
        return replace(self, dilation=dilation)

    def with_min_tokens(self, tokens: int) -> Self:
        """The same with another ``min_tokens``."""
        return replace(self, min_tokens=tokens)

    def with_max_tokens(self, tokens: int | None) -> Self:
        """The same with another ``max_tokens``."""
        return replace(self, max_tokens=tokens)

    def with_exact_tokens(self, tokens: int) -> Self:
        """The same with exactly that many tokens, or all of the grid if it has fewer."""
        return replace(self, min_tokens=tokens, max_tokens=tokens)


Route = Literal["tokens", "rects"]
"""How the gaze of frames reaches the clip's grid: by the tokens of each frame, which rounds outward
twice, or by its rectangles, which rounds once. Source: readout spec 8.5."""

READOUT_DEFAULTS = SparseReadoutOptions()
VIDEO_DEFAULTS = SparseVideoReadoutOptions()


@dataclass(frozen=True, slots=True)
class SparseVideoReadoutProjection:
    """Both grids and both options, as one value.

    ``video_options.tubelet_size`` is not taken from any geometry: set it, or the frames past the
    first ``temporal_bins`` are lost. Source: readout spec 4.
    """

    image_grid: SparseReadoutGrid
    video_grid: SparseVideoReadoutGrid
    readout_options: SparseReadoutOptions = READOUT_DEFAULTS
    video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS

    @classmethod
    def new(cls, image_grid: SparseReadoutGrid, video_grid: SparseVideoReadoutGrid) -> Self:
        """With the default options."""
        return cls(image_grid, video_grid)

    @classmethod
    def from_patch_geometry(
        cls, image_grid: SparseReadoutGrid, geometry: SparseVideoPatchGeometry
    ) -> Self:
        """With the grid of a clip's patches.

        Raises:
            ConfigError: See ``SparseVideoPatchGeometry.readout_grid``.
        """
        return cls(image_grid, geometry.readout_grid())

    def with_readout_options(self, options: SparseReadoutOptions) -> Self:
        """The same with other ``readout_options``."""
        return replace(self, readout_options=options)

    def with_video_options(self, options: SparseVideoReadoutOptions) -> Self:
        """The same with other ``video_options``."""
        return replace(self, video_options=options)
