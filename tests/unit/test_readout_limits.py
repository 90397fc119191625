"""Where the limits of a readout are: the last value that is taken, and the first that is not."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.reading import DOCUMENT_VARIABLE
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


def looking(frames: int, side: int, fixations: int = 1) -> Trace:
    """A trace that gazes at the whole of each frame of so many pixels, several times."""
    width = np.linspace(1, 0.999, fixations, dtype=np.float32)
    columns = {"x": width * 0 + 0.5, "y": width * 0 + 0.5, "width": width, "height": width**0}
    made = [
        FrameTrace(
            index=i,
            time=Fraction(i),
            fixations=Fixations.from_columns(columns),
            stop_probability=1.0,
            num_gazing=np.array([fixations], np.int32),
        )
        for i in range(frames)
    ]
    header = replace(read_trace(TRACE).header, tile_count=1, width=side, height=side)
    return Trace.from_frames(header, made)


def settings(**values: Any) -> ro.ReadoutSettings:
    return ro.ReadoutSettings(emit=("rects", "tokens", "coords", "keep-indices"), **values)


def peak_bytes(trace: Trace, how: ro.ReadoutSettings) -> int:
    tracemalloc.start()
    try:
        ro.readout_trace(trace, how)
    except ConfigError as error:
        assert DOCUMENT_VARIABLE in str(error.hint)  # noqa: PT017 - it may also be made
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.fixture
def thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 1024 tokens."""
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(16 * 1024))


def test_tokens_of_all_frames(thousand: None) -> None:
    made = ro.readout_trace(looking(4, 256), settings())
    assert len(made.video_tokens) == len(made.image_tokens.values) == 1024
    with pytest.raises(ConfigError, match="readout of 1280 tokens or more is too large") as caught:
        ro.readout_trace(looking(5, 256), settings())
    assert DOCUMENT_VARIABLE in str(caught.value.hint)
    with pytest.raises(ConfigError, match="readout of 1280 tokens or more"):
        ro.readout_trace(looking(5, 256), settings(route="rects"))
    rects = ro.readout_trace(looking(5, 256), ro.ReadoutSettings(emit=("rects",)))
    assert rects.rects.values.tolist() == [[0, 0, 1, 1]] * 5


def test_tokens_of_frames_count_only_where_they_are_used(thousand: None) -> None:
    fine = ro.SparseReadoutGrid(30, 30)
    how = ro.ReadoutSettings(emit=("coords",), image_grid=fine, route="rects")
    assert len(ro.readout_trace(looking(4, 256), how).coords) == 1024
    with pytest.raises(ConfigError, match="readout of 3600 tokens or more"):
        ro.readout_trace(looking(4, 256), replace(how, route="tokens"))


def test_tokens_of_a_frame(thousand: None) -> None:
    assert len(ro.readout_trace(looking(1, 512), settings()).video_tokens) == 1024
    with pytest.raises(ConfigError, match="a grid of 33 x 33 tokens is too large"):
        ro.readout_trace(looking(1, 528), settings())
    grid = settings(image_grid=ro.SparseReadoutGrid(1, 1025))
    with pytest.raises(ConfigError, match="a grid of 1 x 1025 tokens is too large"):
        ro.readout_trace(looking(1, 16), grid)


def test_tokens_that_are_cut_off_do_not_count(thousand: None) -> None:
    most = ro.SparseReadoutOptions(max_tokens_per_frame=2)
    made = ro.readout_trace(looking(512, 256), settings(readout_options=most))
    assert len(made.video_tokens) == 1024
    with pytest.raises(ConfigError, match="readout of 1026 tokens or more"):
        ro.readout_trace(looking(513, 256), settings(readout_options=most))
    few = ro.SparseVideoReadoutOptions(max_tokens=300)
    points = [frame.fixations for frame in looking(100, 256)]
    rects = ro.trace_to_frame_readout_rects(points)
    grid = ro.SparseVideoReadoutGrid(100, 16, 16)
    found = ro.frame_readout_rects_to_video_tokens(rects, grid, few)
    assert found.tolist() == list(range(300))
    with pytest.raises(ConfigError, match="tokens or more is too large"):
        ro.frame_readout_rects_to_video_tokens(rects, grid, few.with_max_tokens(1025))


def test_filler_counts_too(thousand: None) -> None:
    grid = ro.SparseVideoReadoutGrid(5, 16, 16)
    options = ro.SparseVideoReadoutOptions(min_tokens=1024)
    assert len(ro.frame_readout_rects_to_video_tokens([], grid, options)) == 1024
    with pytest.raises(ConfigError, match="min_tokens is 1025, more than 1024"):
        ro.frame_readout_rects_to_video_tokens([], grid, options.with_min_tokens(1025))


def test_rectangles_that_overlap(thousand: None) -> None:
    made = ro.readout_trace(looking(1, 256, 1024), settings())
    assert (len(made.rects.values), made.video_tokens.tolist()) == (1024, list(range(256)))
    with pytest.raises(ConfigError, match="overlap reach 262400 tokens, more than 262144"):
        ro.readout_trace(looking(1, 256, 1025), settings())


def test_memory_is_that_of_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(16 << 20))
    most = 1 << 20
    for frames in (1, 40):  # the largest readout, and one that is forty times too large
        assert peak_bytes(looking(frames, 1 << 14), settings()) < 125 * most
    small = ro.SparseReadoutGrid(2, 2)
    assert peak_bytes(looking(1, 1 << 14), settings(image_grid=small)) < 125 * most
    assert peak_bytes(looking(1, 1 << 16), settings()) < 1 << 20


@pytest.mark.parametrize("form", ["json", "csv"])
def test_text_is_the_same_in_blocks_of_any_size(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readout = ro.read_readout(GOLDEN)
    texts = set()
    for block in (1, 2, 3, 7, 1000):
        monkeypatch.setattr("autogaze_cli.readout.text._BLOCK", block)
        ro.write_readout(readout, tmp_path / "x", form)
        texts.add((tmp_path / "x").read_text())
    assert texts == {GOLDEN.with_suffix(f".{form}").read_text()}
    if form == "json":
        assert list(json.loads(texts.pop()))[:2] == ["format", "version"]


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


def test_positions_are_limited_however_many_fixations_there_are(thousand: None) -> None:
    header = replace(read_trace(TRACE).header, scales="32", num_vision_tokens_each_frame=4)
    points = Fixations.from_columns(
        {"x": [0.5] * 4, "y": [0.5] * 4, "width": [0.5] * 4, "height": [0.5] * 4}
        | {"token": [0, 1, 2, 3], "slot": [0, 1, 2, 3]}
    )

    def trace(slots: int) -> Trace:
        frame = FrameTrace(0, Fraction(0), points, 1.0, np.array([slots], np.int32))
        return Trace.from_frames(replace(header, tile_count=1), [frame])

    assert ro.gazing_info(trace(4000))["gazing_pos"].shape == (1, 4000)
    with pytest.raises(ConfigError, match="4001 positions for 4 fixations"):
        ro.gazing_info(trace(4001))
    many = trace(4097)
    many = replace(many, offsets=many.offsets * 2, fixations=Fixations.concatenate([points] * 2))
    with pytest.raises(ConfigError, match="4097 positions for 8 fixations"):
        ro.gazing_info(many)


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
