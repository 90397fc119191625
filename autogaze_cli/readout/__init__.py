"""From gazed points to the input of a downstream model, which never computes with ids.

::

    ids -> points -> rectangles -> tokens of a frame -> tokens of a clip -> coordinates
                          +-----------------------------^

Every helper is exported here. Those that take or return tensors import PyTorch on first use; the
others never do. Source: readout spec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autogaze_cli.readout.coords import (
    Coords,
    batched_video_readout_tokens_to_coords,
    frame_readout_rects_to_video_coords,
    frame_readout_tokens_to_video_coords,
    generated_to_video_readout_coords,
    trace_to_video_readout_coords,
    video_readout_tokens_to_coords,
)
from autogaze_cli.readout.decode import (
    Config,
    HasLayout,
    PublishedConfig,
    ReadoutConfig,
    generated_to_fixation_sets,
    generated_to_readout_points,
    scale_token_layouts,
    scale_token_masks,
    traces,
)
from autogaze_cli.readout.document import (
    FORMAT,
    VERSION,
    Readout,
    ReadoutHeader,
)
from autogaze_cli.readout.files import (
    FORMATS,
    read_readout,
    write_readout,
)
from autogaze_cli.readout.gazing import (
    gazing_info,
)
from autogaze_cli.readout.grids import (
    SparseReadoutGrid,
    SparseReadoutRect,
    SparseVideoPatchGeometry,
    SparseVideoReadoutGrid,
)
from autogaze_cli.readout.keep import (
    KeepIndices,
    keep_indices,
)
from autogaze_cli.readout.make import (
    ReadoutSettings,
    first_frames,
    readout_trace,
)
from autogaze_cli.readout.points import (
    FixationSet,
    TraceLike,
    scaled_bounds,
)
from autogaze_cli.readout.ragged import (
    Ragged,
)
from autogaze_cli.readout.rects import (
    fixation_points_to_readout_rects,
    generated_frame_readout_rects,
    generated_to_frame_readout_rects,
    trace_frame_readout_rects,
    trace_to_frame_readout_rects,
)
from autogaze_cli.readout.settings import (
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
    SparseVideoReadoutProjection,
)
from autogaze_cli.readout.tokens import (
    fixation_points_to_readout_tokens,
    generated_frame_readout_tokens,
    generated_to_frame_readout_tokens,
    readout_rects_to_tokens,
    trace_frame_readout_tokens,
    trace_to_frame_readout_tokens,
)
from autogaze_cli.readout.video import (
    evenly_spaced,
    frame_readout_rects_to_video_tokens,
    frame_readout_tokens_to_video_tokens,
    generated_to_video_readout_tokens,
    trace_to_video_readout_tokens,
)

if TYPE_CHECKING:
    from autogaze_cli.readout.masks import (
        apply_image_mask,
        fixation_image_mask_tensor,
        frame_fixation_masks_tensor,
        pixel_span,
    )
    from autogaze_cli.readout.packet import (
        AutoGazePipelinePacket,
    )
    from autogaze_cli.readout.pyramid import (
        ImagePyramidLevel,
        ImagePyramidMask,
        ImagePyramidMaskOptions,
        ImagePyramidTokens,
        SparseImagePyramidTokens,
        image_pyramid_masks,
        sparsify_image_pyramid_tokens,
        tokenize_masked_image_pyramid,
    )
    from autogaze_cli.readout.tensors import (
        batched_video_readout_tokens_to_coord_tensor,
        frame_readout_rects_to_video_coord_tensor,
        frame_readout_tokens_to_video_coord_tensor,
        generated_to_video_readout_coord_tensor,
        trace_to_video_readout_coord_tensor,
        video_readout_coords_to_tensor,
        video_readout_tokens_to_coord_tensor,
    )

__all__ = [
    "FORMAT",
    "FORMATS",
    "VERSION",
    "AutoGazePipelinePacket",
    "Config",
    "Coords",
    "FixationSet",
    "HasLayout",
    "ImagePyramidLevel",
    "ImagePyramidMask",
    "ImagePyramidMaskOptions",
    "ImagePyramidTokens",
    "KeepIndices",
    "PublishedConfig",
    "Ragged",
    "Readout",
    "ReadoutConfig",
    "ReadoutHeader",
    "ReadoutSettings",
    "SparseImagePyramidTokens",
    "SparseReadoutGrid",
    "SparseReadoutOptions",
    "SparseReadoutRect",
    "SparseVideoPatchGeometry",
    "SparseVideoReadoutGrid",
    "SparseVideoReadoutOptions",
    "SparseVideoReadoutProjection",
    "TraceLike",
    "apply_image_mask",
    "batched_video_readout_tokens_to_coord_tensor",
    "batched_video_readout_tokens_to_coords",
    "evenly_spaced",
    "first_frames",
    "fixation_image_mask_tensor",
    "fixation_points_to_readout_rects",
    "fixation_points_to_readout_tokens",
    "frame_fixation_masks_tensor",
    "frame_readout_rects_to_video_coord_tensor",
    "frame_readout_rects_to_video_coords",
    "frame_readout_rects_to_video_tokens",
    "frame_readout_tokens_to_video_coord_tensor",
    "frame_readout_tokens_to_video_coords",
    "frame_readout_tokens_to_video_tokens",
    "gazing_info",
    "generated_frame_readout_rects",
    "generated_frame_readout_tokens",
    "generated_to_fixation_sets",
    "generated_to_frame_readout_rects",
    "generated_to_frame_readout_tokens",
    "generated_to_readout_points",
    "generated_to_video_readout_coord_tensor",
    "generated_to_video_readout_coords",
    "generated_to_video_readout_tokens",
    "image_pyramid_masks",
    "keep_indices",
    "pixel_span",
    "read_readout",
    "readout_rects_to_tokens",
    "readout_trace",
    "scale_token_layouts",
    "scale_token_masks",
    "scaled_bounds",
    "sparsify_image_pyramid_tokens",
    "tokenize_masked_image_pyramid",
    "trace_frame_readout_rects",
    "trace_frame_readout_tokens",
    "trace_to_frame_readout_rects",
    "trace_to_frame_readout_tokens",
    "trace_to_video_readout_coord_tensor",
    "trace_to_video_readout_coords",
    "trace_to_video_readout_tokens",
    "traces",
    "video_readout_coords_to_tensor",
    "video_readout_tokens_to_coord_tensor",
    "video_readout_tokens_to_coords",
    "write_readout",
]

_WITH_TENSORS = {
    "masks": (
        "apply_image_mask",
        "fixation_image_mask_tensor",
        "frame_fixation_masks_tensor",
        "pixel_span",
    ),
    "packet": ("AutoGazePipelinePacket",),
    "pyramid": (
        "ImagePyramidLevel",
        "ImagePyramidMask",
        "ImagePyramidMaskOptions",
        "ImagePyramidTokens",
        "SparseImagePyramidTokens",
        "image_pyramid_masks",
        "sparsify_image_pyramid_tokens",
        "tokenize_masked_image_pyramid",
    ),
    "tensors": (
        "batched_video_readout_tokens_to_coord_tensor",
        "frame_readout_rects_to_video_coord_tensor",
        "frame_readout_tokens_to_video_coord_tensor",
        "generated_to_video_readout_coord_tensor",
        "trace_to_video_readout_coord_tensor",
        "video_readout_coords_to_tensor",
        "video_readout_tokens_to_coord_tensor",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what knows PyTorch when it is first asked for."""
    for module, names in _WITH_TENSORS.items():
        if name in names:
            return getattr(import_module(f"autogaze_cli.readout.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
