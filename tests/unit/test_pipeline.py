"""Pipelines: frames in memory give what the commands give for the same frames of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import autogaze_cli
from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference.pixels import rgb_array, rgb_tensor
from autogaze_cli.inference.settings import ClipSettings, PipelineSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.trace import Trace, read_trace, write_trace
from autogaze_cli.visualize.settings import Visualization

FIXTURES = Path(__file__).parents[2] / "fixtures"
DOG, TINY = FIXTURES / "dog.mp4", FIXTURES / "parity-tiny"
Clip = NDArray[np.uint8]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Three frames, 640 x 360."""
    return np.stack([frame.rgb for frame in read_frames(DOG, Sampling(frames=3))])


@cache
def opened(model: str | None, **settings: Any) -> autogaze_cli.AutoGazePipeline:
    return autogaze_cli.AutoGazePipeline.from_hf_dir(model, **settings)


def _once(settings: dict[str, Any]) -> dict[str, Any]:
    """Takes from ``settings`` those that a call may not change."""
    return {name: settings.pop(name) for name in ("mask_source",) if name in settings}


@pytest.fixture
def kestrel() -> autogaze_cli.AutoGazePipeline:
    return opened("kestrel")


@pytest.fixture
def tiny() -> autogaze_cli.AutoGazePipeline:
    return opened(str(TINY))


@pytest.fixture
def patch_diff() -> autogaze_cli.AutoGazePipeline:
    return opened(None, mask_source="patch-diff")


def assert_same_gaze(one: Trace, other: Trace) -> None:
    assert len(one) == len(other)
    for name, column in one.columns().items():
        np.testing.assert_array_equal(column, other.columns()[name], name)


COMMANDS: list[dict[str, Any]] = [
    {"mask_source": "patch-diff", "patch_diff_threshold": 0.2},
    {"model": "kestrel", "clip_len": 2, "top_k": 20},
    {"model": "kestrel", "horizon_frames": 2, "max_gaze_tokens_each_frame": 30},
    {"model": str(TINY), "mode": "tiled", "tile_batch_size": 4, "gazing_ratio": 0.1},
    {"model": str(TINY), "mode": "tiled-full", "stride": 200, "task_loss_requirement_db": 6.0},
    {"model": str(TINY), "mode": "anyres", "coverage_ratio": 0.3},
    {
        "model": str(TINY),
        "target_scales": "56+112+196+392",
        "target_patch_size": 14,
        "horizon_frames": 2,
        "gazing_ratio": 0.03,
    },
    {"mask_source": "evs", "max_gaze_tokens_each_frame": 60},
    {"mask_source": "patch-diff", "pruning_rate": 0.8},
]


@pytest.mark.parametrize(
    "settings",
    COMMANDS,
    ids=[
        *("patch-diff", "clips", "horizon", "tiled", "tiled-full", "coverage", "target", "evs"),
        "pruning",
    ],
)
def test_a_clip_has_the_trace_of_the_command(
    clip: Clip, tmp_path: Path, settings: dict[str, Any]
) -> None:
    made = autogaze_cli.trace_video(
        DOG, frames=3, device="cpu", out_dir=tmp_path, format="npz", **settings
    )
    expected = read_trace(made.files["trace"])
    model = settings.get("model")
    given = {name: value for name, value in settings.items() if name != "model"}
    pipeline = autogaze_cli.AutoGazePipeline.from_hf_dir(model, "cpu", **given)
    trace = pipeline.trace_clip(clip, fps=expected.header.fps, name=str(DOG))
    assert_same_gaze(trace, expected)
    assert len(trace.fixations) > 30
    assert trace.header == expected.header

    # The same settings for one call, on a pipeline that was opened without them.
    plain = opened(model, **_once(given))
    pairs = list(plain.trace_frames(iter(clip), fps=expected.header.fps, **given))
    assert [frame is own for (frame, _), own in zip(pairs, clip, strict=True)] == [False] * 3
    assert [np.shares_memory(frame, own) for (frame, _), own in zip(pairs, clip, strict=True)] == (
        [True] * 3
    )
    assert_same_gaze(Trace.from_frames(trace.header, [gaze for _, gaze in pairs]), expected)


def test_every_form_of_frames_gives_the_same(
    clip: Clip, tiny: autogaze_cli.AutoGazePipeline
) -> None:
    expected = tiny.trace_clip(clip)
    planes = torch.from_numpy(clip).permute(0, 3, 1, 2)
    opaque = np.concatenate([clip, np.full((*clip.shape[:3], 1), 7, np.uint8)], axis=-1)
    on_tensors = autogaze_cli.AutoGazeTensorPipeline(tiny.source)
    for trace in (
        tiny.trace_clip(list(clip)),
        tiny.trace_clip(np.ascontiguousarray(clip[::-1, ..., ::-1])[::-1, ..., ::-1]),
        tiny.trace_clip(torch.from_numpy(clip)),
        tiny.trace_clip(planes / 255),
        tiny.trace_clip((planes / 255).numpy().astype(np.float64)),
        tiny.trace_rgba_clip(opaque.tobytes(), 3, 640, 360),
        tiny.trace_rgba_clip(opaque, 3, 640, 360),
        on_tensors.trace_clip(torch.from_numpy(clip)),
        on_tensors.trace_clip(planes.float() / 255),
        on_tensors.trace_rgba_clip(opaque.tobytes(), 3, 640, 360),
    ):
        assert_same_gaze(trace, expected)
        assert trace.header == expected.header


@pytest.mark.parametrize(
    "settings",
    [
        {"clip_len": 2},
        {"horizon_frames": 2},
        {"mode": "tiled", "tile_size": 320},
        {"mask_source": "patch-diff", "patch_diff_grid": 11, "patch_diff_threshold": 0.1},
    ],
    ids=["clips", "horizon", "tiled", "patch-diff"],
)
def test_tensors_are_gazed_at_as_arrays_are(clip: Clip, settings: dict[str, Any]) -> None:
    settings = dict(settings)
    tiny = opened(None if "mask_source" in settings else str(TINY), **_once(settings))
    on_tensors = autogaze_cli.AutoGazeTensorPipeline(tiny.source)
    frames = torch.from_numpy(clip)
    assert_same_gaze(on_tensors.trace_clip(frames, **settings), tiny.trace_clip(clip, **settings))
    drawing = Visualization(visualization_mode="interframe", mask_visualization="image-overlay")
    composed = on_tensors.compose(on_tensors.trace_frames(frames, **settings), drawing)
    views = tiny.compose(tiny.trace_frames(clip, **settings), drawing)
    for ours, theirs in zip(composed, views, strict=True):
        assert isinstance(ours.output, torch.Tensor)
        np.testing.assert_array_equal(ours.output.numpy(), theirs.output)
        np.testing.assert_array_equal(ours.mask_panel.numpy(), theirs.mask_panel)
        assert ours.update_ratio == theirs.update_ratio
    assert [frame.data_ptr() for frame, _ in on_tensors.trace_frames(frames, **settings)] == [
        frame.data_ptr() for frame in frames
    ]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 8, 8, 4), np.uint8), r"must be uint8 \[t, h, w, 3\]"),
        (np.zeros((8, 8, 3), np.uint8), r"not uint8 \[8, 8, 3\]"),
        (np.zeros((2, 8, 8, 3), np.int32), r"not int32 \[2, 8, 8, 3\]"),
        (np.zeros((2, 8, 8, 3), np.float32), r"floating-point \[t, 3, h, w\], not float32"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "not torch.int64"),
        (np.zeros((0, 8, 8, 3), np.uint8), "there are no pixels"),
        (np.full((2, 3, 8, 8), 1.1), "within 0 to 1, not 1.09"),
        (torch.full((2, 3, 8, 8), -0.1), "within 0 to 1, not -0.1"),
        (torch.full((2, 3, 8, 8), torch.nan), "within 0 to 1, not nan"),
    ],
)
def test_other_frames_are_refused(
    patch_diff: autogaze_cli.AutoGazePipeline, frames: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        patch_diff.trace_clip(frames)


def test_floats_are_rounded_to_the_nearest_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, 16, 16)
    for kind in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        if kind is not torch.bfloat16:  # which has only 8 bits for all of a value
            assert torch.equal(rgb_tensor(levels.to(kind) / 255, 3), levels.movedim(0, -1))
        ends = torch.tensor([0.0, 1.0], dtype=kind).view(1, 1, 2).expand(3, 1, 2)
        assert rgb_array(ends, 3)[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    almost = np.array([-0.001, 0.0019, 0.002, 1.001], np.float32).reshape(1, 1, 4)
    assert rgb_array(almost.repeat(3, axis=0), 3)[0, :, 0].tolist() == [0, 0, 1, 255]


def test_views_and_read_only_frames_are_taken(
    clip: Clip, tiny: autogaze_cli.AutoGazePipeline
) -> None:
    mirrored = clip[:1, :, ::-1, ::-1]  # negative strides, as of BGR turned to RGB
    fixed = np.frombuffer(mirrored.tobytes(), np.uint8).reshape(mirrored.shape)
    assert not fixed.flags.writeable
    plane = torch.from_numpy(mirrored.copy()).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    for settings in ({}, {"mode": "tiled-full"}):
        given: dict[str, Any] = {**settings, "emit_mask": True}
        packets = [tiny.packet(frames, **given) for frames in (mirrored, fixed, plane)]
        first, *others = [packet.masks for packet in packets]
        assert first is not None
        assert all(mask is not None and torch.equal(mask, first) for mask in others)
        assert torch.equal(packets[0].clip, packets[1].clip)
        with tiny.stream(**given) as stream:
            assert stream.push(mirrored[0]) is None
    with pytest.raises(ConfigError, match="different sizes"):
        tiny.trace_clip([clip[0], clip[0, :100]])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((3, 640, 361), "3 frames of 640 x 361 pixels are 2772480 bytes of RGBA, not 2764800"),
        ((0, 640, 360), "0 frames of 640 x 360 pixels have no pixels"),
    ],
)
def test_rgba_of_another_size_is_refused(
    patch_diff: autogaze_cli.AutoGazePipeline, size: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        patch_diff.trace_rgba_clip(bytes(3 * 640 * 360 * 4), *size)


def test_frames_are_read_one_clip_ahead(clip: Clip, tiny: autogaze_cli.AutoGazePipeline) -> None:
    read = 0

    def camera() -> Iterator[Clip]:
        nonlocal read
        for frame in clip:
            read += 1
            yield frame

    seen = [read for _ in tiny.trace_frames(camera(), clip_len=2)]
    assert seen == [2, 2, 3]
    read = 0
    assert [read for _ in tiny.trace_frames(camera(), horizon_frames=2)] == [1, 2, 3]


def test_a_frame_of_another_size_is_named(
    clip: Clip, patch_diff: autogaze_cli.AutoGazePipeline
) -> None:
    frames = [clip[0], clip[1], clip[2][:100]]
    gazed = patch_diff.trace_frames(frames)
    assert [next(gazed)[1].index, next(gazed)[1].index] == [0, 1]
    with pytest.raises(
        ConfigError, match="frame 2 is 640 x 100 pixels, those before are 640 x 360"
    ):
        next(gazed)


def test_settings_are_those_of_gaze_sources() -> None:
    fields = GazeSettings.__dataclass_fields__.keys()
    once = {"mask_source", "threads"}
    own = {"task_loss_requirement_db"}
    assert PipelineSettings.__annotations__.keys() == fields - {"model", "device", "dtype"} | own
    with pytest.raises(ConfigError, match="tensors are not for mask_source evs"):
        autogaze_cli.AutoGazeTensorPipeline.from_hf_dir(mask_source="evs")
    assert PipelineSettings.__annotations__.keys() - ClipSettings.__annotations__.keys() == once


def test_settings_that_do_not_fit_are_refused(tiny: autogaze_cli.AutoGazePipeline) -> None:
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    for settings, message in (
        ({"tok_k": 3}, "no setting 'tok_k'"),
        ({"mask_source": "patch-diff"}, "no setting 'mask_source' here"),
        ({"mode": "tilde"}, "mode must be one of"),
        ({"task_loss_requirement_db": float("nan")}, "number of decibels"),
        ({"gazing_ratio": 0.5, "max_gaze_tokens_each_frame": 3}, "both set the token budget"),
    ):
        given: dict[str, Any] = dict(settings)
        with pytest.raises(ConfigError, match=message):
            tiny.trace_clip(frames, **given)
    with pytest.raises(ConfigError, match="fps must be frames per second"):
        tiny.trace_clip(frames, fps=0)


def test_a_call_replaces_the_budget_and_shares_the_model(
    clip: Clip, tmp_path: Path, tiny: autogaze_cli.AutoGazePipeline
) -> None:
    share: Any = np.float64(0.02)
    ratio = tiny.trace_clip(clip[:1], gazing_ratio=share, task_loss_requirement=None)
    write_trace(ratio, tmp_path / "a.trace.json", "json")
    assert ratio.num_gazing.tolist() == [[5]]  # int(0.02 * 265)
    few = autogaze_cli.AutoGazePipeline(
        tiny.source.with_settings(
            GazeSettings(mask_source="autogaze", model=str(TINY), gazing_ratio=0.02)
        )
    )
    counts = few.trace_clip(clip[:1], max_gaze_tokens_each_frame=7, task_loss_requirement=None)
    assert counts.num_gazing.tolist() == [[7]]
    assert isinstance(few.source, AutoGazeSource)
    assert isinstance(tiny.source, AutoGazeSource)
    assert few.source.autogaze is tiny.source.autogaze


def test_threads_and_coroutines_get_the_same(
    clip: Clip, kestrel: autogaze_cli.AutoGazePipeline
) -> None:
    """Calls with different budgets at once, on one model."""
    budgets = [5, 40, 10, 80]
    alone = [kestrel.trace_clip(clip[:2], max_gaze_tokens_each_frame=n) for n in budgets]

    async def serve() -> list[Trace]:
        calls = (
            asyncio.to_thread(kestrel.trace_clip, clip[:2], max_gaze_tokens_each_frame=n)
            for n in budgets
        )
        return await asyncio.gather(*calls)

    with ThreadPoolExecutor(1) as thread:  # where no other test has left a loop running
        served = thread.submit(lambda: asyncio.run(serve())).result()
    for found, expected in zip(served, alone, strict=True):
        assert_same_gaze(found, expected)
    with ThreadPoolExecutor(4) as threads:
        masks = threads.map(lambda _: kestrel.packet(clip[:1], emit_mask=True).masks, range(4))
        first, *others = list(masks)
    assert first is not None
    assert all(other is not None and torch.equal(first, other) for other in others)


def test_readouts_and_pictures_are_those_of_the_commands(
    clip: Clip, tmp_path: Path, patch_diff: autogaze_cli.AutoGazePipeline
) -> None:
    trace = patch_diff.trace_clip(clip, fps=Fraction(30000, 1001))
    made = autogaze_cli.project_readout(
        DOG, frames=3, mask_source="patch-diff", patch_size=40, out_dir=tmp_path
    )
    expected = ro.read_readout(made.files["readout"])
    readout = patch_diff.readout(trace, ro.ReadoutSettings(patch_h=40, patch_w=40))
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(readout.arrays[name], array, name)

    drawn = autogaze_cli.render_interframe(
        DOG, frames=3, mask_source="patch-diff", out_dir=tmp_path, keyframe_duration=2
    )
    settings = Visualization(
        mask_visualization="overlay", visualization_mode="interframe", keyframe_duration=2
    )
    views = list(patch_diff.compose(zip(clip, trace, strict=True), settings))
    assert [view.keyframe for view in views] == [True, False, True]
    ratios = [view.mask_ratio for view in views]
    assert np.mean(ratios) == pytest.approx(drawn.document["average_mask_ratio"], abs=1e-12)
    assert views[1].psnr_db == pytest.approx(drawn.document["average_output_psnr_db"], abs=1e-9)
    gazed = patch_diff.trace_frames(torch.from_numpy(clip).permute(0, 3, 1, 2) / 255)
    assert [view.output.tobytes() for view in patch_diff.compose(gazed, settings)] == [
        view.output.tobytes() for view in views
    ]


def test_progress_is_shown_on_request_only(
    clip: Clip, patch_diff: autogaze_cli.AutoGazePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = patch_diff.trace_clip(clip)
    list(patch_diff.compose(patch_diff.trace_frames(clip)))
    assert capsys.readouterr() == ("", "")
    patch_diff.trace_clip(clip, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "gaze: 100%" in shown.err
    assert "3/3" in shown.err
    list(patch_diff.compose(zip(clip, trace, strict=True), progress=True))
    assert "compose: 3frame" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("mode", ["resize", "tiled"])
def test_frames_on_a_gpu_stay_there(clip: Clip, mode: Any) -> None:
    pipeline = autogaze_cli.AutoGazePipeline.from_hf_dir("kestrel", "cuda", mode=mode)
    on_gpu = autogaze_cli.AutoGazeTensorPipeline(pipeline.source)
    frames = torch.from_numpy(clip).cuda()
    expected = pipeline.trace_clip(clip)
    assert on_gpu.trace_clip(frames).fixations.token.tolist() == expected.fixations.token.tolist()
    packet = on_gpu.packet(frames, emit_readout_points=True, emit_mask=True, emit_pyramid=True)
    assert packet.clip.data_ptr() == frames.data_ptr()
    assert packet.masks is not None
    assert packet.pyramid is not None
    assert packet.masks.is_cuda
    assert packet.pyramid[0].tokens.is_cuda
    of_arrays = pipeline.packet(clip, emit_mask=True).masks
    assert of_arrays is not None
    assert torch.equal(packet.masks.cpu(), of_arrays)
    other = opened(None, mask_source="patch-diff")
    changed = autogaze_cli.AutoGazeTensorPipeline(other.source).packet(frames, emit_mask=True)
    assert changed.masks is not None
    assert changed.masks.is_cuda
    of_arrays = other.packet(clip, emit_mask=True).masks
    assert of_arrays is not None
    assert torch.equal(changed.masks.cpu(), of_arrays)
    with on_gpu.stream(emit_readout_points=True) as stream:
        stream.push(frames[0])
        found = stream.flush() if mode == "resize" else None
    assert (found is not None) == (mode == "resize")
    (view, *_) = on_gpu.compose(zip(frames, expected, strict=True))
    assert view.output.is_cuda
