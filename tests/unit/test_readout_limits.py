"""Where the limits of a readout are: the last value that is taken, and the first that is not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.trace import FrameTrace, Trace, read_trace

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "v1.readout.json"
TRACE = ROOT / "fixtures" / "traces" / "v1.trace.json"


def test_settings() -> None:
    for batch in (0, 2**32 - 1):
        assert ro.ReadoutSettings(batch_index=batch).batch_index == batch
    for batch in (-1, 2**32):
        with pytest.raises(ConfigError, match=f"batch_index must be .* not {batch}"):
            ro.ReadoutSettings(batch_index=batch)
    for scale in (1e-9, 999_999.0):
        ro.ReadoutSettings(readout_options=ro.SparseReadoutOptions(fixation_scale=scale))
    for scale in (0.0, -1.0, 1e6, float("nan")):
        options = ro.SparseReadoutOptions(fixation_scale=scale)
        with pytest.raises(ConfigError, match="fixation_scale must be above 0 and below 1e\\+06"):
            ro.ReadoutSettings(readout_options=options)


def test_a_group_is_at_least_a_patch() -> None:
    grid = ro.SparseVideoReadoutGrid(1, 4, 6)
    trace = [Fixations.empty()]
    image = ro.SparseReadoutGrid(4, 6)
    assert ro.keep_indices(trace, image, grid).indices.tolist() == []
    for merge in (0, 3, 4):
        with pytest.raises(ConfigError, match=f"groups of {merge} x {merge} patches do not"):
            ro.keep_indices(trace, image, grid, merge=merge)


@pytest.mark.parametrize(
    ("height", "hint"), [(40, "32 and 48 are"), (15, "16 is"), (17, "16 and 32 are")]
)
def test_what_would_fit_is_said(height: int, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"height .{height}. must be divisible") as caught:
        ro.SparseVideoPatchGeometry.square_patch(2, height, 32, 1, 16).readout_grid()
    assert caught.value.hint == hint


def test_corners_of_a_grid() -> None:
    grid = ro.SparseReadoutGrid(3, 4)
    found = [[grid.token_index(row, col) for col in range(-1, 5)] for row in range(-1, 4)]
    assert found == [
        [None] * 6,
        *([None, *range(first, first + 4), None] for first in (0, 4, 8)),
        [None] * 6,
    ]
    assert grid.token_rect(-1) is None
    assert grid.token_rect(12) is None
    last = grid.token_rect(11)
    assert last is not None
    assert (last.x0, last.y1) == (0.75, 1)
    video = ro.SparseVideoReadoutGrid(2, 3, 4)
    assert [video.token_index(t, 0, 0) for t in (-1, 0, 1, 2)] == [None, 0, 12, None]
    assert [ro.SparseReadoutGrid.square_from_token_count(n).height for n in (1, 4, 196)] == [
        1,
        2,
        14,
    ]


def gazed(slots: int) -> Trace:
    """A frame of one tile with so many slots, all of them padding."""
    frame = FrameTrace(
        index=0,
        time=Fraction(0),
        fixations=Fixations.empty(),
        stop_probability=1.0,
        num_gazing=np.array([slots], np.int32),
    )
    return Trace.from_frames(replace(read_trace(TRACE).header, tile_count=1), [frame])


def test_positions_of_gazing_info() -> None:
    most = 16_777_216
    assert ro.gazing_info(gazed(most))["gazing_pos"].shape == (1, most)
    with pytest.raises(ConfigError, match="16777217 positions for 0 fixations"):
        ro.gazing_info(gazed(most + 1))


def test_numbers_of_a_file() -> None:
    readout = ro.read_readout(GOLDEN)
    coords = readout.coords.copy()
    coords[:, 0] = 2**32 - 1
    changed = ro.Readout(header=readout.header, arrays=dict(readout.arrays) | {"coords": coords})
    assert (changed.coords[:, 0] == 2**32 - 1).all()
    coords[0, 0] = 2**32
    with pytest.raises(FormatError, match="coords"):
        ro.Readout(header=readout.header, arrays=dict(readout.arrays) | {"coords": coords})
    times = np.array([-1.7e308, 1.7e308])
    arrays = dict(readout.arrays) | {"frame_time_s": times}
    assert ro.Readout(header=readout.header, arrays=arrays).arrays["frame_time_s"] is times
    for name, bad in {"rects": 1.5, "frame_time_s": np.inf, "image_tokens": -1}.items():
        array = readout.arrays[name].copy()
        array.flat[0] = bad
        with pytest.raises(FormatError, match=f"{name} holds"):
            ro.Readout(header=readout.header, arrays=dict(readout.arrays) | {name: array})
    tokens = readout.arrays["image_tokens"].copy()
    tokens[:2] = [0, readout.header.image_grid.token_count - 1]
    ro.Readout(header=readout.header, arrays=dict(readout.arrays) | {"image_tokens": tokens})


def test_frames_of_a_packet() -> None:
    clip = torch.tensor([[[[[0]]], [[[51]]], [[[255]]]]], dtype=torch.uint8)
    masks = torch.tensor([[[[[0.0]]], [[[1.0]]]]])
    packet = ro.AutoGazePipelinePacket(clip=clip, masks=masks)
    assert [packet.frame_tensor(n).item() for n in range(3)] == pytest.approx([0, 0.2, 1])
    assert [packet.frame_mask(n).item() for n in range(2)] == [0, 1]
    for frame in (-1, 3):
        with pytest.raises(ConfigError, match=f"frame {frame} is outside clip length 3"):
            packet.frame_tensor(frame)
    for frame in (-1, 2):
        with pytest.raises(ConfigError, match="emit_traces"):
            packet.frame_mask(frame)
    assert (packet.mode, packet.top_k, packet.index) == ("resize", 1, 0)


def test_sizes_of_images_and_masks() -> None:
    one = torch.ones(1, 1, 1, 1)
    assert ro.fixation_image_mask_tensor(1, 1, 1, Fixations.empty()).tolist() == [[[[0]]]]
    for batch, height, width in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ConfigError, match="must be at least 1"):
            ro.fixation_image_mask_tensor(batch, height, width, Fixations.empty())
    assert ro.apply_image_mask(one, one).tolist() == [[[[1]]]]
    assert ro.apply_image_mask(one, one * 0.25).tolist() == [[[[0.25]]]]
    for shape in ((1, 1, 0, 1), (1, 1, 1, 0), (1, 0, 1, 1)):
        with pytest.raises(ConfigError, match=r"^mask "):
            ro.apply_image_mask(one, torch.ones(shape))
        with pytest.raises(ConfigError, match=r"^image "):
            ro.apply_image_mask(torch.ones(shape), one)
    for height, width in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="image dimensions must be nonzero"):
            ro.image_pyramid_masks(one, height, width, [])
    assert ro.image_pyramid_masks(one, 1, 1, []) == []


def test_levels_of_a_pyramid() -> None:
    image = torch.arange(8.0).reshape(1, 1, 2, 4)
    levels = [ro.ImagePyramidLevel(0, 0), ro.ImagePyramidLevel(2, 0), ro.ImagePyramidLevel(1, 2)]
    found = ro.tokenize_masked_image_pyramid(image, torch.ones(1, 1, 1, 1), levels)
    assert [(level.height, level.width) for level in found.levels] == [(1, 1), (2, 1), (1, 2)]
    assert found.ranges == ((0, 1), (1, 3), (3, 5))
    assert found.tokens.flatten().tolist() == [3.5, 1.5, 5.5, 2.5, 4.5]
    assert found.weights.shape == (1, 5, 1)
    for most, indices in {0: [0], 1: [0], 4: [0, 1, 2, 3], 9: [0, 1, 2, 3, 4]}.items():
        assert ro.sparsify_image_pyramid_tokens(found, most).indices.tolist() == [indices]


def test_how_many_points_there_are_at_least() -> None:
    points = Fixations.empty()
    assert [len(ro.FixationSet.new(points, 0.5, k).fixations) for k in (0, 1, 3)] == [1, 1, 3]
    assert ro.FixationSet.new(points, 0.5, 2).fixations.slot.tolist() == [0, 1]
    filler = ro.FixationSet.with_min_len(points, 7.0, 0)
    assert (filler.stop_probability, len(filler.fixations)) == (1, 1)
    assert filler.fixations.confidence.tolist() == [0]
    with pytest.raises(ConfigError, match="-1"):
        ro.FixationSet.new(points, 0.5, -1)
    generated = {"gazing_pos": [[]], "if_padded_gazing": [[]], "num_gazing_each_frame": [0]}
    config = ro.ReadoutConfig(scales="32", num_vision_tokens_each_frame=4)
    (frame,) = ro.generated_to_fixation_sets(generated, config, 0)
    assert len(frame.fixations) == 1
    with pytest.raises(ConfigError, match="num_gazing_each_frame holds -1"):
        ro.generated_to_fixation_sets(generated | {"num_gazing_each_frame": [-1]}, config, 0)


def test_a_patch_is_16_pixels_unless_told() -> None:
    config = ro.ReadoutConfig(scales="24+64", num_vision_tokens_each_frame=17)
    assert config.layout.counts == (1, 16)
    # Patches of 17 pixels make 1 + 9 cells and not 17, which are then shared out by area.
    assert replace(config, kernel_size=17).layout.counts == (2, 15)
    assert replace(config, kernel_size=0).layout == replace(config, kernel_size=1).layout
