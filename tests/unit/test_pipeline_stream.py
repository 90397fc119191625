"""Streams: one job in flight, the newest frames win, nothing stale, memory flat."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import autogaze_cli
from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.patch_diff import PatchDiffSource
from autogaze_cli.sources.source import OnGazed
from autogaze_cli.trace import FrameTrace, read_trace

FIXTURES = Path(__file__).parents[2] / "fixtures"
Picture = NDArray[np.uint8]
Packet = autogaze_cli.AutoGazePipelinePacket


class GatedSource(PatchDiffSource):
    """Patch-diff that waits for ``gate``, and notes the first frame of each job."""

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self.gate, self.started = Event(), Event()
        self.jobs: list[int] = []
        self.error: BaseException | None = None

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        frames = list(frames)
        self.jobs.append(frames[0].index)
        self.started.set()
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return super().trace(frames, on_gazed)


def numbered(index: int, height: int = 28, width: int = 28) -> Picture:
    """A frame whose changes from the frame before tell its number."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame.reshape(-1, 3)[: index % 700] = 255
    return frame


def tokens(points: Fixations) -> list[int]:
    return [int(token) for token in points.active().token]


def first_set(packet: Packet) -> ro.FixationSet:
    """The gaze at the first frame of the first clip."""
    sets = packet.traces[0]
    assert isinstance(sets, list)
    assert isinstance(sets[0], ro.FixationSet)
    return sets[0]


def newest(packet: Packet | None) -> tuple[int, list[int]]:
    """The number of a packet's last frame, and its tokens."""
    assert packet is not None
    assert packet.readout_points is not None
    (row,) = packet.readout_points
    return packet.index + len(row) - 1, tokens(row[-1])


def test_ten_thousand_frames_and_a_slow_consumer() -> None:
    pipeline = autogaze_cli.AutoGazePipeline.from_hf_dir(
        mask_source="patch-diff", patch_diff_grid=4
    )
    expected = [
        tokens(gaze.fixations) for _, gaze in pipeline.trace_frames(map(numbered, range(10_000)))
    ]
    found: list[tuple[int, list[int]]] = []
    used: list[int] = []
    with pipeline.stream(emit_readout_points=True) as stream:
        tracemalloc.start()
        try:
            for index in range(10_000):
                if packet := stream.push(numbered(index)):
                    found.append(newest(packet))
                    del packet
                    if len(found) % 20 == 0:
                        time.sleep(0.002)
                if index % 1000 == 999:
                    used.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        while packet := stream.flush():
            found.append(newest(packet))
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))  # none twice, none after a newer one
    assert numbers[-1] == 9999  # the newest frame is never left out
    assert 20 < len(numbers) < 10_000  # how many depends on the machine
    assert found == [(number, expected[number]) for number in numbers]
    # What grows is the list of this test, and 9,000 frames would be 21 MB.
    assert used[-1] - used[0] < 5_000_000


def test_one_job_in_flight_and_the_newest_frames_win() -> None:
    source = GatedSource(GazeSettings())
    with autogaze_cli.AutoGazePipeline(source).stream(emit_readout_points=True) as stream:
        assert stream.push(numbered(0)) is None  # a pair of frames is needed
        assert stream.push(numbered(1)) is None
        assert source.started.wait(10)
        for index in range(2, 10):
            assert stream.push(numbered(index)) is None
        assert source.jobs == [0]
        source.gate.set()
        number, _ = newest(stream.flush())
        assert (number, source.jobs) == (9, [0, 8])
        assert stream.flush() is None


def test_results_of_another_size_are_refused() -> None:
    source = GatedSource(GazeSettings())
    with autogaze_cli.AutoGazePipeline(source).stream(emit_readout_points=True) as stream:
        stream.push(numbered(0))
        stream.push(numbered(1))
        assert source.started.wait(10)
        stream.push(numbered(2))
        stream.push(numbered(3, height=42))
        source.gate.set()
        assert stream.flush() is None  # both windows of the old size are stale
        stream.push(numbered(4, height=42))
        packet = stream.flush()
        assert packet is not None
        assert (packet.index, packet.clip.shape) == (3, (1, 2, 3, 42, 28))
        assert source.jobs == [0, 3]
        stream.reset()
        stream.push(numbered(5, height=42))
        assert stream.flush() is None
        stream.push(numbered(6, height=42))
        assert newest(stream.flush())[0] == 6


def test_frames_are_copied() -> None:
    pipeline = autogaze_cli.AutoGazePipeline.from_hf_dir(mask_source="patch-diff")
    buffer = numbered(0)
    with pipeline.stream(emit_readout_points=True) as stream:
        stream.push(buffer)
        buffer[:] = 255  # as a camera does that has one buffer
        stream.push(buffer)
        buffer[:] = 0
        assert len(newest(stream.flush())[1]) == 14 * 14


def test_errors_are_raised_where_frames_are_pushed() -> None:
    source = GatedSource(GazeSettings())
    source.gate.set()
    stream = autogaze_cli.AutoGazePipeline(source).stream(emit_readout_points=True)
    source.error = ConfigError("the gaze failed")
    stream.push(numbered(0))
    stream.push(numbered(1))
    with pytest.raises(ConfigError, match="the gaze failed"):
        stream.flush()
    source.error = None
    with pytest.raises(ConfigError, match="frames must be uint8"):
        stream.push(numbered(2)[0])
    stream.push(numbered(2))
    assert stream.flush() is None  # it starts anew
    stream.push(numbered(3))
    assert newest(stream.flush())[0] == 3
    stream.close()
    assert [thread.name for thread in enumerate_threads() if "stream" in thread.name] == []
    with pytest.raises(ValueError, match="closed"):
        stream.push(numbered(4))


def test_nothing_asked_for_is_nothing_done() -> None:
    source = GatedSource(GazeSettings())
    with autogaze_cli.AutoGazePipeline(source).stream() as stream:
        stream.push(numbered(0))
        stream.push(numbered(1))
        packet = stream.flush()
    assert packet is not None
    assert packet.readout_points is None
    assert source.jobs == []


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_a_model_that_keeps_up_sees_what_the_command_sees(tmp_path: Path, kind: str) -> None:
    frames = list(read_frames(FIXTURES / "dog.mp4", Sampling(frames=4)))
    made = autogaze_cli.trace_video(
        FIXTURES / "dog.mp4",
        frames=4,
        horizon_frames=2,
        model="kestrel",
        device="cpu",
        out_dir=tmp_path,
    )
    trace = read_trace(made.files["trace"])
    maker = autogaze_cli.AutoGazeTensorPipeline if kind == "tensors" else None
    pipeline = (maker or autogaze_cli.AutoGazePipeline).from_hf_dir("kestrel")
    settings: dict[str, Any] = {"horizon_frames": 2, "fps": trace.header.fps}
    with pipeline.stream(emit_traces=True, emit_generated=True, **settings) as stream:
        for expected, frame in zip(trace, frames, strict=True):
            stream.push(torch.from_numpy(frame.rgb) if maker else frame.rgb)
            packet = stream.flush()
            assert packet is not None
            gaze = first_set(packet)
            assert packet.index == expected.index
            assert tokens(gaze.fixations) == expected.fixations.token.tolist()
            np.testing.assert_array_equal(
                gaze.fixations.active().confidence, expected.fixations.confidence
            )
            # Ids of a step count from its own first frame.
            assert packet.generated.num_gazing_each_frame.tolist() == [
                int(expected.num_gazing.max())
            ]
        # Frames of another size begin another stream, as if nothing had been before.
        half = np.ascontiguousarray(frames[0].rgb[::2, ::2])
        stream.push(torch.from_numpy(half) if maker else half)
        packet = stream.flush()
    assert packet is not None
    fresh = autogaze_cli.AutoGazePipeline(pipeline.source).trace_clip(half[None])
    assert tokens(first_set(packet).fixations) == fresh.fixations.token.tolist()


def test_a_tiled_stream_takes_windows() -> None:
    frames = [f.rgb for f in read_frames(FIXTURES / "dog.mp4", Sampling(frames=3, width=320))]
    tiny = autogaze_cli.AutoGazePipeline.from_hf_dir(
        FIXTURES / "parity-tiny", mode="tiled", clip_len=2
    )
    with tiny.stream(emit_readout_points=True) as stream:
        stream.push(frames[0])
        assert stream.flush() is None
        for window in (frames[:2], frames[1:]):
            stream.push(window[-1])
            _, found = newest(stream.flush())
            clip = tiny.trace_clip(np.stack(window))
            assert found == tokens(clip.frame(1).fixations)
