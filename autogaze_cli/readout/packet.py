"""A batch of clips with their gaze, in whichever form it is available.

Source: readout spec 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.coords import Coords, batched_video_readout_tokens_to_coords
from autogaze_cli.readout.decode import Config, batch_size
from autogaze_cli.readout.grids import SparseReadoutGrid, SparseVideoReadoutGrid
from autogaze_cli.readout.masks import Device, frame_fixation_masks_tensor
from autogaze_cli.readout.points import TraceLike
from autogaze_cli.readout.pyramid import (
    MASK_DEFAULTS,
    ImagePyramidLevel,
    ImagePyramidMaskOptions,
    ImagePyramidTokens,
    tokenize_masked_image_pyramid,
)
from autogaze_cli.readout.rects import (
    Rects,
    generated_frame_readout_rects,
    trace_frame_readout_rects,
)
from autogaze_cli.readout.settings import (
    READOUT_DEFAULTS,
    VIDEO_DEFAULTS,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
    SparseVideoReadoutProjection,
)
from autogaze_cli.readout.tensors import video_readout_coords_to_tensor
from autogaze_cli.readout.tokens import (
    Tokens,
    generated_frame_readout_tokens,
    trace_frame_readout_tokens,
)
from autogaze_cli.readout.video import (
    generated_to_video_readout_tokens,
    trace_to_video_readout_tokens,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AutoGazePipelinePacket:
    """A batch of ``b`` clips and their gaze: traces if available, otherwise points, otherwise ids.

    ``AutoGazePipeline.packet`` and the streams make them, with what their ``emit_...`` ask for.

    Attributes:
        clip: ``uint8`` or ``float32 [b, t, c, h, w]``.
        config: How ids are decoded; needed for ``generated`` only.
        traces: A trace a row; may be none.
        readout_points: For each sequence the points of each frame, or None.
        generated: What the model returned, or None; see ``autogaze_cli.readout.decode``.
        mode: Inference mode. In tiled modes ids are local to a tile, so give traces or points.
        top_k: Lower bound of the token budget.
        masks: The gazed pixels, ``float32 [b, t, 1, h, w]``, 0 or 1; or None.
        pyramid: For each frame the pyramid tokens of all clips, or None.
        index: Number of the clip's first frame in its stream.
    """

    clip: Tensor
    config: Config | None = None
    traces: Sequence[TraceLike] = ()
    readout_points: Sequence[Sequence[Fixations]] | None = None
    generated: Any = None
    mode: str = "resize"
    top_k: int = 1
    masks: Tensor | None = None
    pyramid: Sequence[ImagePyramidTokens] | None = None
    index: int = 0

    def frame_tensor(self, frame: int) -> Tensor:
        """One frame of each clip, ``float32 [b, c, h, w]``; those of 8 bits are scaled to 0..1.

        Raises:
            ConfigError: There is no such frame.
        """
        length = self.clip.shape[1]
        if not 0 <= frame < length:
            raise ConfigError(f"frame {frame} is outside clip length {length}")
        picture = self.clip[:, frame]
        return picture if picture.is_floating_point() else picture.float() / 255

    def frame_mask(self, frame: int, device: Device = "cpu") -> Tensor:
        """The gazed pixels of one frame, ``float32 [b, 1, h, w]``, 0 or 1.

        Raises:
            ConfigError: There are neither masks nor traces.
        """
        if self.masks is not None and 0 <= frame < self.masks.shape[1]:
            return self.masks[:, frame].to(device)
        if not len(self.traces):
            raise ConfigError("a frame mask needs traces: emit_traces was off")
        height, width = self.clip.shape[-2:]
        return frame_fixation_masks_tensor(self.traces, frame, height, width, device)

    def frame_pyramid_tokens(
        self,
        frame: int,
        levels: Sequence[ImagePyramidLevel],
        options: ImagePyramidMaskOptions = MASK_DEFAULTS,
        device: Device = "cpu",
    ) -> ImagePyramidTokens:
        """One frame of each clip as pyramid tokens.

        Raises:
            ConfigError: See ``frame_tensor``, ``frame_mask``, ``tokenize_masked_image_pyramid``.
        """
        image = self.frame_tensor(frame).to(device)
        return tokenize_masked_image_pyramid(image, self.frame_mask(frame, device), levels, options)

    def frame_readout_tokens(
        self,
        frame: int,
        grid: SparseReadoutGrid,
        options: SparseReadoutOptions = READOUT_DEFAULTS,
    ) -> list[Tokens]:
        """The tokens of one frame, one list per sequence.

        Raises:
            ConfigError: There is no gaze, the grid is empty, or generated ids lack the frame.
        """
        return self._rows(
            lambda trace: trace_frame_readout_tokens(trace, frame, grid, options),
            lambda config, row: generated_frame_readout_tokens(
                self.generated, config, row, frame, grid, options
            ),
        )

    def frame_readout_rects(
        self, frame: int, options: SparseReadoutOptions = READOUT_DEFAULTS
    ) -> list[Rects]:
        """The rectangles of one frame, one list per sequence.

        Raises:
            ConfigError: There is no gaze, or generated ids lack the frame.
        """
        return self._rows(
            lambda trace: trace_frame_readout_rects(trace, frame, options),
            lambda config, row: generated_frame_readout_rects(
                self.generated, config, row, frame, options
            ),
        )

    def video_readout_tokens(
        self,
        image_grid: SparseReadoutGrid,
        video_grid: SparseVideoReadoutGrid,
        readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
        video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    ) -> list[Tokens]:
        """The tokens of each clip, one list per sequence.

        Raises:
            ConfigError: There is no gaze, a grid is empty, or the tubelet size is 0.
        """
        how = (image_grid, video_grid, readout_options, video_options)
        return self._rows(
            lambda trace: trace_to_video_readout_tokens(trace, *how),
            lambda config, row: generated_to_video_readout_tokens(
                self.generated, config, row, *how
            ),
        )

    def video_readout_coords(
        self,
        image_grid: SparseReadoutGrid,
        video_grid: SparseVideoReadoutGrid,
        readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
        video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
    ) -> Coords:
        """The coordinates of all clips, ``int64 [n, 4]``; the first column is the sequence.

        Raises:
            ConfigError: As ``video_readout_tokens``.
        """
        tokens = self.video_readout_tokens(image_grid, video_grid, readout_options, video_options)
        return batched_video_readout_tokens_to_coords(tokens, video_grid)

    def video_readout_coord_tensor(
        self,
        image_grid: SparseReadoutGrid,
        video_grid: SparseVideoReadoutGrid,
        readout_options: SparseReadoutOptions = READOUT_DEFAULTS,
        video_options: SparseVideoReadoutOptions = VIDEO_DEFAULTS,
        device: Device = "cpu",
    ) -> Tensor:
        """``video_readout_coords`` as a tensor."""
        coords = self.video_readout_coords(image_grid, video_grid, readout_options, video_options)
        return video_readout_coords_to_tensor(coords, device)

    def video_readout_tokens_with_projection(
        self, projection: SparseVideoReadoutProjection
    ) -> list[Tokens]:
        """``video_readout_tokens`` with the projection's grids and options."""
        return self.video_readout_tokens(*_parts(projection))

    def video_readout_coords_with_projection(
        self, projection: SparseVideoReadoutProjection
    ) -> Coords:
        """``video_readout_coords`` with the projection's grids and options."""
        return self.video_readout_coords(*_parts(projection))

    def video_readout_coord_tensor_with_projection(
        self, projection: SparseVideoReadoutProjection, device: Device = "cpu"
    ) -> Tensor:
        """``video_readout_coord_tensor`` with the projection's grids and options."""
        return self.video_readout_coord_tensor(*_parts(projection), device=device)

    def _rows(
        self,
        of_trace: Callable[[TraceLike], T],
        of_generated: Callable[[Config, int], T],
    ) -> list[T]:
        """The result for each sequence, from the first form of gaze that is available."""
        if len(self.traces):
            return [of_trace(trace) for trace in self.traces]
        if self.readout_points is not None:
            return [of_trace(points) for points in self.readout_points]
        if self.generated is None or self.config is None:
            raise ConfigError(
                "there is nothing to read out: emit_traces, emit_readout_points and "
                "emit_generated were all off",
                hint="turn one of them on (generated ids need the model's config too)",
            )
        return [of_generated(self.config, row) for row in range(batch_size(self.generated))]


def _parts(
    projection: SparseVideoReadoutProjection,
) -> tuple[
    SparseReadoutGrid, SparseVideoReadoutGrid, SparseReadoutOptions, SparseVideoReadoutOptions
]:
    return (
        projection.image_grid,
        projection.video_grid,
        projection.readout_options,
        projection.video_options,
    )
