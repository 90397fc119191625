"""The names that downstream code is told to call."""

from __future__ import annotations

import pytest

from autogaze_cli import readout as ro

# As the readout specification writes them, sections 3 to 14.
NAMES = """
    SparseReadoutGrid SparseVideoReadoutGrid SparseReadoutRect SparseVideoPatchGeometry
    SparseReadoutOptions SparseVideoReadoutOptions SparseVideoReadoutProjection FixationSet
    ImagePyramidLevel ImagePyramidMaskOptions traces scale_token_layouts scale_token_masks
    fixation_points_to_readout_rects trace_frame_readout_rects trace_to_frame_readout_rects
    generated_frame_readout_rects generated_to_frame_readout_rects readout_rects_to_tokens
    fixation_points_to_readout_tokens trace_frame_readout_tokens trace_to_frame_readout_tokens
    generated_frame_readout_tokens generated_to_frame_readout_tokens
    frame_readout_tokens_to_video_tokens frame_readout_rects_to_video_tokens
    video_readout_tokens_to_coords batched_video_readout_tokens_to_coords
    video_readout_coords_to_tensor video_readout_tokens_to_coord_tensor
    batched_video_readout_tokens_to_coord_tensor frame_readout_tokens_to_video_coords
    frame_readout_tokens_to_video_coord_tensor frame_readout_rects_to_video_coords
    frame_readout_rects_to_video_coord_tensor trace_to_video_readout_tokens
    trace_to_video_readout_coords trace_to_video_readout_coord_tensor
    generated_to_video_readout_tokens generated_to_video_readout_coords
    generated_to_video_readout_coord_tensor fixation_image_mask_tensor
    frame_fixation_masks_tensor apply_image_mask image_pyramid_masks
    tokenize_masked_image_pyramid sparsify_image_pyramid_tokens
"""
METHODS = {
    "SparseReadoutGrid": "square_from_token_count token_count is_empty token_index token_rect",
    "SparseVideoReadoutGrid": "token_count tokens_per_temporal_bin is_empty token_index "
    "token_coords",
    "SparseReadoutRect": "new is_empty",
    "SparseVideoPatchGeometry": "square_patch readout_grid",
    "SparseReadoutOptions": "with_confidence_threshold with_max_fixations_per_frame "
    "with_fixation_scale with_dilation with_max_tokens_per_frame",
    "SparseVideoReadoutOptions": "with_tubelet_size with_dilation with_min_tokens with_max_tokens "
    "with_exact_tokens",
    "SparseVideoReadoutProjection": "new from_patch_geometry with_readout_options "
    "with_video_options",
    "FixationSet": "new with_min_len",
    "AutoGazePipelinePacket": "frame_tensor frame_mask frame_pyramid_tokens frame_readout_tokens "
    "frame_readout_rects video_readout_tokens video_readout_coords video_readout_coord_tensor "
    "video_readout_tokens_with_projection video_readout_coords_with_projection "
    "video_readout_coord_tensor_with_projection",
}


@pytest.mark.parametrize("name", NAMES.split())
def test_the_helper_is_there(name: str) -> None:
    assert name in ro.__all__
    assert callable(getattr(ro, name))


@pytest.mark.parametrize(("name", "methods"), METHODS.items())
def test_the_methods_are_there(name: str, methods: str) -> None:
    assert [method for method in methods.split() if not hasattr(getattr(ro, name), method)] == []


def test_everything_announced_can_be_imported() -> None:
    assert len(ro.__all__) == len(set(ro.__all__))
    for name in ro.__all__:
        assert getattr(ro, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'colours'"):
        _ = ro.colours


def test_options_change_one_field_at_a_time() -> None:
    options = ro.SparseReadoutOptions()
    assert options.with_dilation(2).with_fixation_scale(0.5) == ro.SparseReadoutOptions(
        dilation=2, fixation_scale=0.5
    )
    assert options.with_confidence_threshold(0.1).with_max_fixations_per_frame(
        0
    ) == ro.SparseReadoutOptions(confidence_threshold=0.1, max_fixations_per_frame=0)
    video = ro.SparseVideoReadoutOptions().with_dilation(1).with_exact_tokens(5)
    assert video == ro.SparseVideoReadoutOptions(dilation=1, min_tokens=5, max_tokens=5)
    assert video.with_max_tokens(None).with_min_tokens(0) == ro.SparseVideoReadoutOptions(
        dilation=1
    )
