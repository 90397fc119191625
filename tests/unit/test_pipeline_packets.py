"""Packets that pipelines make: what is asked for is there, what is not is not computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.sources.patch_diff import PatchDiffSource
from autogaze_cli.sources.source import OnGazed
from autogaze_cli.trace import FrameTrace

FIXTURES = Path(__file__).parents[2] / "fixtures"
TINY = FIXTURES / "parity-tiny"
GRID, VIDEO = ro.SparseReadoutGrid(14, 14), ro.SparseVideoReadoutGrid(2, 7, 7)
Clips = NDArray[np.uint8]


class CountingSource(PatchDiffSource):
    """Patch-diff that counts how often it is asked for gaze."""

    calls = 0

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        self.calls += 1
        return super().trace(frames, on_gazed)


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Two clips of two frames, 500 x 300, and the second unlike the first."""
    sampling = Sampling(frames=3, width=500, height=300)
    frames = [frame.rgb for frame in read_frames(FIXTURES / "dog.mp4", sampling)]
    return np.stack([frames[:2], [frames[2][:, ::-1], frames[0]]])


@pytest.fixture(scope="module")
def tiny() -> autogaze_cli.AutoGazePipeline:
    return autogaze_cli.AutoGazePipeline.from_hf_dir(TINY)


@pytest.fixture(scope="module")
def patch_diff() -> autogaze_cli.AutoGazePipeline:
    return autogaze_cli.AutoGazePipeline.from_hf_dir(mask_source="patch-diff")


def sets(packet: autogaze_cli.AutoGazePipelinePacket) -> list[list[ro.FixationSet]]:
    """The traces, which a pipeline makes of sets."""
    rows = [[frame for frame in row if isinstance(frame, ro.FixationSet)] for row in packet.traces]
    assert {len(row) for row in rows} == {packet.clip.shape[1]}
    return rows


def gazes(packet: autogaze_cli.AutoGazePipelinePacket) -> list[list[Any]]:
    """The points of every frame that are no placeholders, and when they stop."""
    return [
        [
            [column.tolist() for column in frame.fixations.active().columns().values()]
            + [frame.stop_probability]
            for frame in row
        ]
        for row in sets(packet)
    ]


def test_nothing_asked_for_is_nothing_done(clips: Clips) -> None:
    source = CountingSource(GazeSettings())
    packet = autogaze_cli.AutoGazePipeline(source).packet(clips)
    assert source.calls == 0
    assert packet.clip.shape == (2, 2, 3, 300, 500)
    assert (packet.clip.dtype, packet.clip.data_ptr()) == (torch.uint8, clips.ctypes.data)
    fields = (packet.readout_points, packet.generated, packet.masks, packet.pyramid)
    assert (list(packet.traces), fields) == ([], (None, None, None, None))
    with pytest.raises(ConfigError, match=r"emit_traces.*emit_readout_points.*emit_generated"):
        packet.frame_readout_rects(0)
    autogaze_cli.AutoGazePipeline(source).packet(clips, emit_readout_points=True)
    assert source.calls == 2  # once per clip


@pytest.mark.parametrize(
    ("switch", "field"),
    [
        ("emit_traces", "traces"),
        ("emit_readout_points", "readout_points"),
        ("emit_generated", "generated"),
        ("emit_mask", "masks"),
        ("emit_pyramid", "pyramid"),
    ],
)
def test_each_switch_gives_its_own_field(
    clips: Clips, tiny: autogaze_cli.AutoGazePipeline, switch: str, field: str
) -> None:
    asked: dict[str, Any] = {switch: True}
    packet = tiny.packet(clips[:, :1], **asked)
    there = ("traces", "readout_points", "generated", "masks", "pyramid")
    assert [n for n in there if getattr(packet, n) not in (None, [])] == [field]


def test_clips_of_a_batch_do_not_influence_each_other(
    clips: Clips, tiny: autogaze_cli.AutoGazePipeline
) -> None:
    together = tiny.packet(clips, emit_traces=True)
    alone = [tiny.packet(clip, emit_traces=True) for clip in clips]
    assert gazes(together) == [row for packet in alone for row in gazes(packet)]
    for row, clip in enumerate(clips):
        trace = tiny.trace_clip(clip)
        for t, frame in enumerate(trace):
            assert gazes(together)[row][t][:-1] == [
                column.tolist() for column in frame.fixations.columns().values()
            ]
            assert gazes(together)[row][t][-1] == frame.stop_probability


@pytest.mark.parametrize("settings", [{}, {"mode": "tiled"}], ids=["resize", "tiled"])
def test_traces_are_padded_to_the_budget_and_points_are_not(
    clips: Clips, tiny: autogaze_cli.AutoGazePipeline, settings: dict[str, Any]
) -> None:
    settings = {**settings, "max_gaze_tokens_each_frame": 6, "top_k": 9}
    tiles = 6 if settings.get("mode") else 1
    padded = tiny.packet(clips[0], emit_traces=True, **settings)
    assert {len(frame.fixations) for frame in sets(padded)[0]} == {9 * tiles}
    points = tiny.packet(clips[0], emit_readout_points=True, **settings).readout_points
    assert points is not None
    assert all((frame.confidence > 0).all() for frame in points[0])
    assert [len(frame) for frame in points[0]] == [
        len(frame.fixations.active()) for frame in sets(padded)[0]
    ]
    both = tiny.packet(clips[0], emit_traces=True, emit_readout_points=True, **settings)
    assert both.readout_points is not None
    assert [len(frame) for frame in both.readout_points[0]] == [9 * tiles] * 2


def test_generated_is_what_the_model_returns_and_reads_out_alike(
    clips: Clips, tiny: autogaze_cli.AutoGazePipeline
) -> None:
    packet = tiny.packet(clips, emit_generated=True)
    assert isinstance(tiny.source, AutoGazeSource)
    model = tiny.source.autogaze
    expected = model.generate(
        model.preprocess(clips),
        max_gaze_tokens_each_frame=tiny.source.max_gaze_tokens_each_frame,
    )
    assert torch.equal(packet.generated.gazing_pos, expected.gazing_pos)
    assert torch.equal(packet.generated.if_padded_gazing, expected.if_padded_gazing)
    of_traces = tiny.packet(clips, emit_traces=True)
    of_points = tiny.packet(clips, emit_readout_points=True)
    options = ro.SparseVideoReadoutOptions(tubelet_size=1)
    answers = [
        (
            [tokens.tolist() for tokens in each.frame_readout_tokens(1, GRID)],
            each.video_readout_coord_tensor(GRID, VIDEO, video_options=options).tolist(),
        )
        for each in (packet, of_traces, of_points)
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0][1]) > 20


@pytest.mark.parametrize("which", ["patch-diff", "tiled"])
def test_ids_of_nothing_are_refused_before_anything_runs(
    clips: Clips, tiny: autogaze_cli.AutoGazePipeline, which: str
) -> None:
    source = CountingSource(GazeSettings())
    pipeline = autogaze_cli.AutoGazePipeline(source) if which == "patch-diff" else tiny
    settings: dict[str, Any] = {"mode": "tiled"} if which == "tiled" else {}
    for call in (lambda **s: pipeline.packet(clips, **s), pipeline.stream):
        with pytest.raises(ConfigError, match="emit_generated needs a model") as refused:
            call(emit_generated=True, emit_traces=True, **settings)
        assert refused.value.hint == "use emit_readout_points"
    assert source.calls == 0


def test_masks_and_pyramids_are_those_of_the_traces(
    clips: Clips, patch_diff: autogaze_cli.AutoGazePipeline
) -> None:
    levels = [ro.ImagePyramidLevel(3, 5)]
    packet = patch_diff.packet(clips, emit_mask=True, emit_pyramid=True, pyramid_levels=levels)
    traced = patch_diff.packet(clips, emit_traces=True)
    assert packet.masks is not None
    assert packet.pyramid is not None
    for t in range(2):
        assert torch.equal(packet.masks[:, t], traced.frame_mask(t))
        assert torch.equal(packet.frame_mask(t), traced.frame_mask(t))
        expected = traced.frame_pyramid_tokens(t, levels)
        assert expected.tokens.shape == (2, 15, 3)
        assert torch.equal(packet.pyramid[t].tokens, expected.tokens)
        assert torch.equal(packet.pyramid[t].weights, expected.weights)
    assert 0 < packet.masks[:, 1].mean() < 1
    assert packet.frame_tensor(0)[0, :, 7, 9].tolist() == pytest.approx(clips[0, 0, 7, 9] / 255)


def test_a_packet_is_one_clip(clips: Clips, tiny: autogaze_cli.AutoGazePipeline) -> None:
    with pytest.raises(ConfigError, match="one clip of at most 1 frames, not 2"):
        tiny.packet(clips, clip_len=1)
