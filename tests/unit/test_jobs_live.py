"""Streams: a rolling memory that stays small, the clip's tokens while nothing is forgotten."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli.bench.synthetic import seeded_model
from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.live import Latencies, live_stem, trace_live
from autogaze_cli.media.live import read_live
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.model import cache
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.trace import FrameTrace, read_trace

FIXTURES = Path(__file__).parents[2] / "fixtures"
TINY, DOG = str(FIXTURES / "parity-tiny"), FIXTURES / "dog.mp4"


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return list(read_frames(DOG, Sampling(frames=6, width=96, height=64)))


@pytest.fixture(scope="module")
def model() -> AutoGaze:
    return load_model(TINY)


def source(**settings: Any) -> AutoGazeSource:
    opened = open_source(GazeSettings(mask_source="autogaze", model=TINY, **settings))
    assert isinstance(opened, AutoGazeSource)
    return opened


def noise(frames: int) -> torch.Tensor:
    return torch.randn(frames, 1, 1, 3, 224, 224, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("loss", [None, 0.7])
def test_a_horizon_that_forgets_nothing_gives_the_clip_s_gaze(
    frames: list[Frame], loss: float | None
) -> None:
    settings = {"gazing_ratio": 0.2, "task_loss_requirement": loss}
    clip = [gaze for _, gaze in source(**settings, clip_len=6).trace(frames)]
    stream = [gaze for _, gaze in source(**settings, horizon_frames=6).trace(frames)]
    for ours, theirs in zip(stream, clip, strict=True):
        assert (ours.index, ours.time) == (theirs.index, theirs.time)
        assert ours.fixations.token.tolist() == theirs.fixations.token.tolist()
        assert ours.num_gazing.tolist() == theirs.num_gazing.tolist()
        assert ours.stop_probability == theirs.stop_probability


def test_a_stream_asks_for_no_frame_before_the_last_is_gazed_at(frames: list[Frame]) -> None:
    asked = 0

    def one_by_one() -> Iterator[Frame]:
        nonlocal asked
        for frame in frames:
            asked += 1
            yield frame

    for done, _ in enumerate(source(horizon_frames=2, top_k=1).trace(one_by_one()), 1):
        assert asked == done


def test_memory_and_work_a_frame_stay_constant(model: AutoGaze) -> None:
    state = model.new_state(horizon_frames=3)
    sizes, lengths = [], []
    for video in noise(30):
        model.generate(video, max_gaze_tokens_each_frame=20, state=state)
        (row,) = state.caches
        sizes.append(sum(buffer.numel() for buffer in (*row.keys, *row.values)))
        lengths.append(row.end - row.start)
    assert max(sizes) == max(sizes[:8])
    assert max(lengths) == max(lengths[:4]) <= 3 * (196 + 20)
    assert len(row.frames) == 3
    assert state.conv is not None
    assert [past.shape[1] for past in state.conv] == [2]


@pytest.mark.parametrize("published", [False, True], ids=["tiny", "published sizes"])
def test_positions_that_are_moved_back_change_no_token(
    model: AutoGaze, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    model = seeded_model() if published else model  # whose layers may be compiled

    def tokens() -> tuple[list[list[int]], int]:
        state = model.new_state(horizon_frames=2)
        gazes = [
            model.generate(video, max_gaze_tokens_each_frame=20, state=state) for video in noise(12)
        ]
        return [gaze.gazing_pos[0].tolist() for gaze in gazes], state.caches[0].dropped

    plain, far = tokens()
    monkeypatch.setattr(cache, "MAX_DROPPED", 1)
    moved, near = tokens()
    assert moved == plain
    assert near < 800 < far


def test_a_stream_has_no_tiles() -> None:
    with pytest.raises(ConfigError, match="horizon_frames needs mode resize, not tiled"):
        GazeSettings(mode="tiled", horizon_frames=4)


def test_quantiles_of_latencies_are_good_to_one_percent() -> None:
    seconds = np.random.default_rng(0).lognormal(-4, 1, 5000)
    times = Latencies()
    for s in seconds:
        times.add(float(s))
    for share in (0.01, 0.5, 0.95, 1.0):
        exact = np.quantile(seconds, share, method="inverted_cdf")
        assert times.quantile(share) == pytest.approx(exact, rel=0.01)
    assert math.isnan(Latencies().quantile(0.5))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("-", "stdin"),
        ("clips/dog.mp4", "dog"),
        ("/dev/video0", "video0"),
        ("udp://0.0.0.0:5000", "live"),
        ("https://example.org/a/b.m3u8?key=1", "b"),
    ],
)
def test_what_a_stream_is_called(name: str, stem: str) -> None:
    assert live_stem(name) == stem


def test_a_live_file_has_the_frames_of_a_video() -> None:
    sampling = Sampling(frames=5, fps=None, width=96, height=64)
    plain = list(read_frames(DOG, sampling))
    live = list(read_live(str(DOG), sampling))
    for (info, ours), theirs in zip(live, plain, strict=True):
        assert (info.width, info.height) == (640, 360)
        assert (ours.index, ours.time) == (theirs.index, theirs.time)
        np.testing.assert_array_equal(ours.rgb, theirs.rgb)


@pytest.fixture
def address() -> Iterator[str]:
    """The fixtures, served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(FIXTURES))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_trace_of_an_address(address: str, tmp_path: Path) -> None:
    seen: list[tuple[FrameTrace, float]] = []
    result, interrupt = trace_live(
        f"{address}/dog.mp4",
        open_source(GazeSettings()),
        tmp_path / "dog",
        sampling=Sampling(frames=4),
        on_gaze=lambda gaze, latency_s: seen.append((gaze, latency_s)),
    )
    assert interrupt is None
    trace = read_trace(result.files["trace"])
    assert [gaze.index for gaze, _ in seen] == trace.index.tolist() == [0, 1, 2, 3]
    assert trace.header.source == f"{address}/dog.mp4"
    said = json.loads(json.dumps(result.document))
    assert said["frames"] == 4
    assert 0 < said["latency_ms"]["p50"] <= said["latency_ms"]["p95"]
    assert said["frames_per_second"] > 0


def test_an_address_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened as a video"):
        trace_live("http://127.0.0.1:9/a.mp4", open_source(GazeSettings()), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
