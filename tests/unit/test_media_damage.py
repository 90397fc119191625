"""A video that is damaged in the middle is read to its end, or not taken for whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from autogaze_cli.errors import InputError
from autogaze_cli.media import damage
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Video
from autogaze_cli.media.videos import read_frames

LENIENT = Sampling(allow_truncated=True)


def film(path: Path, codec: str, count: int, *, size: int = 64, **options: str) -> Path:
    """A square of noise that wanders, at 25 frames per second."""
    image = np.random.default_rng(5).integers(0, 256, (size, 2 * size, 3), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        for n in range(count):
            part = np.ascontiguousarray(image[:, n % size : n % size + size])
            frame = VideoFrame.from_ndarray(part, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def overwrite(path: Path, first: int, last: int, seed: int) -> None:
    """Put random bytes in place of some packets, in the order of the file."""
    with av.open(path) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    start, end = packets[first][0], packets[last][0]
    assert start is not None
    assert end is not None
    data[start:end] = np.random.default_rng(seed).integers(0, 256, end - start, np.uint8).tobytes()
    path.write_bytes(data)


def decoded_by_ffmpeg(path: Path) -> Iterator[int]:
    """Numbers of the frames that its decoder gives, by their times."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                assert frame.time is not None
                yield round(frame.time * 25)


@pytest.mark.parametrize(
    ("interval", "left", "corrupt"),
    [("25", None, 67), ("250", None, 67), ("25", 69, 66), ("25", 79, 66), ("30", 72, 66)],
)
def test_frames_after_the_damage_are_read_at_their_times(
    tmp_path: Path, interval: str, left: int | None, corrupt: int
) -> None:
    """Its decoder holds one that is left back until after those that follow the damage."""
    video = film(tmp_path / "a.mp4", "libx264", 200, g=interval)
    overwrite(video, 66, left or 133, 1)
    overwrite(video, 133 if left is None else left + 1, 133, 2)
    expected = list(decoded_by_ffmpeg(video))
    late = {n for n, at in enumerate(expected) if at <= max(expected[:n], default=-1)}
    assert bool(late) is bool(left)
    kept = [at for n, at in enumerate(expected) if n not in late]
    assert len(kept) > 120
    results = []
    for threads in (1, 2, 16):
        with Video(video, threads=threads, quiet=True) as opened:
            frames = [(frame.time * 25, frame.rgb.tobytes()) for frame in opened.frames()]
            results.append((frames, opened.info.notes))
    assert [at for at, _ in results[0][0]] == kept
    assert results[0][1] == (f"skipped {corrupt} corrupt packets",)
    assert results[1:] == results[:1] * 2


def test_one_corrupt_packet_is_one(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mov", "png", 12)
    overwrite(video, 5, 6, 1)
    with Video(video, quiet=True) as opened:
        assert [frame.time * 25 for frame in opened.frames()] == [*range(5), *range(6, 12)]
        assert opened.info.notes == ("skipped 1 corrupt packet",)


def test_too_many_corrupt_packets_in_a_row_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path / "a.mov", "png", 40)
    overwrite(video, 10, 30, 1)
    monkeypatch.setattr(damage, "MAX_BAD_PACKETS", 21)
    assert len(list(read_frames(video))) == 20
    monkeypatch.setattr(damage, "MAX_BAD_PACKETS", 20)
    with pytest.raises(InputError, match="gave up after 20 corrupt packets in a row") as caught:
        list(read_frames(video))
    assert "--allow-truncated" in str(caught.value.hint)
    assert len(list(read_frames(video, Sampling(frames=10)))) == 10  # those before the damage
    with Video(video, LENIENT, quiet=True) as opened:
        assert len(list(opened.frames())) == 10
        assert opened.info.notes == ("skipped 20 corrupt packets and gave up there",)


def test_a_container_that_cannot_be_read_on_is_an_error(tmp_path: Path) -> None:
    video = film(tmp_path / "a.y4m", "wrapped_avframe", 30)
    data = bytearray(video.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    video.write_bytes(data)
    with pytest.raises(InputError, match="gave up after 8 corrupt packets in a row"):
        list(read_frames(video))
    assert len(list(read_frames(video, LENIENT))) == 10


def test_what_follows_the_stated_end_is_no_damage(tmp_path: Path) -> None:
    video = film(tmp_path / "a.gxf", "mpeg2video", 4, size=576)
    with video.open("ab") as file:
        file.write(bytes(100))
    with Video(video, quiet=True) as opened:
        assert len(list(opened.frames())) == 4
        assert "gave up there" in opened.info.notes[-1]


def test_a_video_of_nothing_but_garbage_ends_soon(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mov", "png", 3000, size=16)
    overwrite(video, 0, 2999, 1)
    start = time.monotonic()
    with pytest.raises(InputError, match="no frame could be decoded"):
        list(read_frames(video))
    assert time.monotonic() - start < 10


def test_a_clock_that_restarts_after_damage_is_followed(tmp_path: Path) -> None:
    video = film(tmp_path / "a.flv", "libx264", 100, g="10")
    whole = video.read_bytes()
    with av.open(video) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    damaged, at, dice = bytearray(whole), 0, np.random.default_rng(1)
    for number, packet in enumerate(packets):
        at = whole.index(packet, at)
        if 30 <= number < 50:
            damaged[at : at + len(packet)] = dice.bytes(len(packet))
    video.write_bytes(damaged + whole[13:])
    with Video(video, quiet=True) as opened:
        times = [frame.time * 25 for frame in opened.frames()]
        notes = " ".join(opened.info.notes)
    assert "skipped 20 corrupt packets" in notes
    assert "its clock jumps back by 4 s" in notes
    assert times[-100:] == list(range(100, 200))
