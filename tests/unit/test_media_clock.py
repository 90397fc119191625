"""Time: clocks that restart, jump, lie or are missing."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from autogaze_cli.media.clock import Clock
from autogaze_cli.media.live import read_live
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import probe, read_frames

STEP = 4
"""Grey levels between one made frame and the next."""


def make(
    path: Path,
    times_ms: Iterable[int],
    *,
    codec: str = "ffv1",
    container: str = "matroska",
    first: int = 0,
    rate: int = 25,
    **options: str,
) -> Path:
    """A video whose frame ``n`` is plain grey of level ``STEP * (first + n)``, at these times."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
        base = Fraction(1, 25) if container == "avi" else Fraction(1, 1000)
        stream.codec_context.time_base = base
        for n, time in enumerate(times_ms):
            grey = np.full((48, 64, 3), STEP * (first + n), np.uint8)
            frame = VideoFrame.from_ndarray(grey).reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = round(time / 1000 / base), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def read(path: Path, **sampling: object) -> list[Frame]:
    return list(read_frames(path, Sampling(**sampling)))  # type: ignore[arg-type]


def numbers(frames: Iterable[Frame]) -> list[int]:
    return [round(float(frame.rgb.mean()) / STEP) for frame in frames]


def steady(count: int) -> list[Fraction]:
    return [Fraction(n, 25) for n in range(count)]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three transport streams of 20 frames joined; the clock starts again, then goes far ahead."""
    folder = tmp_path_factory.mktemp("joined")
    data = b""
    for part, start in enumerate((0, 0, 5_000_000)):
        times = [start + 40 * n for n in range(20)]
        name = folder / f"{part}.ts"
        make(name, times, codec="libx264", container="mpegts", first=20 * part, bf="2", g="10")
        data += name.read_bytes()
    path = folder / "joined.ts"
    path.write_bytes(data)
    return path


def test_a_clock_that_jumps_goes_on_one_frame_after_the_last(
    joined: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "autogaze_cli"):
        frames = read(joined)
    assert [frame.time for frame in frames] == steady(60)
    assert numbers(frames) == list(range(60))
    assert len(caplog.records) == 1
    assert "joined.ts: its clock jumps back by" in caplog.text
    info = probe(joined)
    assert (info.frames, info.duration, info.fps) == (60, Fraction(12, 5), Fraction(25))
    assert len(info.notes) == 1


@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 2), Fraction(1), Fraction(2)])
def test_sampling_goes_by_the_steady_clock(joined: Path, start: Fraction) -> None:
    frames = read(joined, start=start, fps=Fraction(5))
    expected = [start + Fraction(n, 5) for n in range(len(frames))]
    assert [frame.time for frame in frames] == expected
    assert len(frames) == round((Fraction(12, 5) - start) * 5)


def test_live_and_pipes_go_by_the_steady_clock_too(joined: Path) -> None:
    live = [frame for _, frame in read_live(str(joined), Sampling(fps=Fraction(5)))]
    program = (
        "from fractions import Fraction\n"
        "from autogaze_cli.media.live import read_live\n"
        "from autogaze_cli.media.video import Sampling\n"
        "for info, frame in read_live('-', Sampling(fps=Fraction(5))): print(frame.time)\n"
    )
    with joined.open("rb") as file:
        piped = subprocess.run(
            [sys.executable, "-c", program], stdin=file, capture_output=True, text=True, check=True
        )
    expected = [Fraction(n, 5) for n in range(12)]
    assert [frame.time for frame in live] == expected
    assert [Fraction(line) for line in piped.stdout.split()] == expected
    assert piped.stderr.count("clock jumps") == 1


@pytest.mark.parametrize("gap_s", [3600, 10**6])
def test_a_long_gap_does_not_become_many_frames(tmp_path: Path, gap_s: int) -> None:
    far = 1000 * gap_s
    video = make(tmp_path / "gap.mkv", [0, 40, 80, far, far + 40])
    assert [frame.time for frame in read(video)] == steady(5)
    assert len(read(video, fps=Fraction(25))) == 5
    assert probe(video).duration == Fraction(1, 5)


def test_gaps_and_time_lapses_stay(tmp_path: Path) -> None:
    video = make(tmp_path / "rest.mkv", [0, 40, 30_000, 30_040])
    assert [frame.time for frame in read(video)] == [0, Fraction(1, 25), 30, Fraction(751, 25)]
    lapse = make(tmp_path / "lapse.mkv", [3_600_000 * n for n in range(4)])
    assert [frame.time for frame in read(lapse)] == [0, 3600, 7200, 10800]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_with_b_frames(tmp_path: Path, codec: str) -> None:
    """AVI has no times of showing: FFmpeg's command line numbers the frames as they come."""
    times = [40 * n for n in range(40)]
    video = make(tmp_path / "b.avi", times, codec=codec, container="avi", g="12", bf="2", b="4M")
    frames = read(video)
    assert [frame.time for frame in frames] == steady(40)
    assert numbers(frames) == list(range(40))
    assert numbers(read(video, fps=Fraction(25, 2))) == list(range(0, 40, 2))
    assert numbers(read(video, start=Fraction(1))) == list(range(25, 40))


def test_the_rate_is_what_the_times_of_the_frames_tell(tmp_path: Path) -> None:
    """A browser's recording: the stated rate is that of the clock, milliseconds."""
    times = np.cumsum([0, *(33 + np.arange(39) * 7 % 11 - 5)]).tolist()
    video = make(tmp_path / "recorded.mkv", times, rate=1000)
    info = probe(video)
    assert info.frames == 40
    assert info.fps is not None
    assert info.duration is not None
    assert float(info.fps) == pytest.approx(1000 * 39 / times[-1], rel=0.03)
    assert float(info.duration) == pytest.approx(times[-1] / 1000, abs=0.05)
    assert [frame.time for frame in read(video)] == [Fraction(time, 1000) for time in times]
    (note,) = info.notes
    assert note.startswith("states 1000 frames per second; the times of its frames tell")


def test_variable_rate_is_an_average_over_the_whole(tmp_path: Path) -> None:
    times = [*range(0, 400, 40), *range(400, 2001, 400)]
    video = make(tmp_path / "vfr.mp4", times, codec="libx264", container="mp4", bf="2")
    info = probe(video)
    assert info.frames == 15
    assert info.fps is not None
    assert float(info.fps) == pytest.approx(15 / 2.4, rel=0.01)
    assert [frame.time for frame in read(video)] == [Fraction(time, 1000) for time in times]


def test_clock() -> None:
    jumps: list[Fraction] = []
    clock = Clock(Fraction(1, 100), 4, discontinuous=True, on_jump=jumps.append)
    given = [(100, 4), (104, 0), (None, 4), (111, 4), (2, 4), (6, 4), (5000, 4), (5500, 4)]
    times = [clock(*pair) for pair in given]
    # 111 is an unequal step, 2 starts again, 5000 is far ahead and 5500 only a pause.
    assert times == [
        (100, 4), (104, 4), (108, 4), (111, 4), (115, 4), (119, 4), (123, 4), (623, 4),
    ]  # fmt: skip
    assert jumps == [Fraction(2 - 115, 100), Fraction(5000 + 113 - 123, 100)]


def test_a_frame_out_of_order_moves_no_other() -> None:
    clock = Clock(Fraction(1, 25), 1, discontinuous=False, on_jump=lambda _: pytest.fail("jump"))
    assert [clock(time, 1)[0] for time in (0, 2, 2, 4)] == [0, 2, 3, 4]


def test_two_recordings_joined_in_matroska(tmp_path: Path) -> None:
    times = [40 * n for n in range(30)]
    one = make(tmp_path / "one.mkv", times, codec="libx264", bf="2")
    two = make(tmp_path / "two.mkv", times, codec="libx264", bf="2", first=30)
    joined = tmp_path / "joined.mkv"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    frames = read(joined)
    assert [frame.time for frame in frames] == steady(60)
    assert numbers(read(joined, start=Fraction(2))) == list(range(50, 60))
    info = probe(joined)
    assert (info.frames, info.fps) == (60, Fraction(25))
    assert info.duration == pytest.approx(Fraction(12, 5), abs=0.05)
