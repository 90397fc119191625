"""Reading: which frames, at which size and time, from videos that are odd in every way."""

import io
import logging
import os
import re
import struct
import wave
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import probe, read_frames

DOG = Path(__file__).parents[2] / "fixtures/dog.mp4"
MILLISECOND = Fraction(1, 1000)
STEP = 3
"""Grey levels between one made frame and the next."""


def make_video(
    path: Path,
    times_ms: Sequence[int],
    *,
    container: str = "matroska",
    codec: str = "libx264",
    size: tuple[int, int] = (32, 16),
    options: dict[str, str] | None = None,
) -> Path:
    """A video whose frame ``n`` is plain grey of level ``STEP * n``, at these times."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = {"gif": "rgb8", "ffv1": "gray", "png": "gray"}.get(codec, "yuv444p")
        stream.codec_context.time_base = MILLISECOND
        for n, time in enumerate(times_ms):
            grey = np.full((size[1], size[0], 3), STEP * n, np.uint8)
            frame = VideoFrame.from_ndarray(grey).reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base, frame.duration = time, MILLISECOND, 40
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def numbers(frames: Iterable[Frame]) -> list[int]:
    """The numbers of made frames, read from their grey level."""
    return [round(float(frame.rgb.mean()) / STEP) for frame in frames]


def read(path: Path, **sampling: object) -> list[Frame]:
    return list(read_frames(path, Sampling(**sampling)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def dog() -> list[Frame]:
    return list(read_frames(DOG))


def test_probe_real_clip() -> None:
    info = probe(DOG)
    assert (info.width, info.height, info.codec, info.rotation) == (640, 360, "h264", 0)
    assert (info.fps, info.frames) == (Fraction(30000, 1001), 64)
    assert info.duration == pytest.approx(64 * 1001 / 30000, abs=1e-3)


def test_every_frame_has_its_own_time(dog: list[Frame]) -> None:
    assert [frame.index for frame in dog] == list(range(64))
    assert [frame.time for frame in dog] == [Fraction(1001 * n, 30000) for n in range(64)]
    assert dog[0].rgb.shape == (360, 640, 3)
    assert dog[0].rgb.flags.c_contiguous
    assert dog[0].rgb.flags.writeable


def test_8_fps_selects_the_frames_of_spec_6_3(dog: list[Frame]) -> None:
    sampled = read(DOG, fps=Fraction(8), frames=16)
    assert [frame.time for frame in sampled] == [Fraction(n, 8) for n in range(16)]
    chosen = [next(d.index for d in dog if np.array_equal(d.rgb, s.rgb)) for s in sampled]
    assert chosen[:6] == [1, 5, 9, 13, 16, 20]
    assert chosen == selected([d.time for d in dog], Fraction(8), Fraction(64 * 1001, 30000))[:16]


def selected(times: Sequence[Fraction], fps: Fraction, duration: Fraction) -> list[int]:
    """Section 6.3: frame ``n`` is the last source frame ``j`` with ``round(t_j * fps) <= n``."""
    ticks = [int(t * fps + Fraction(1, 2)) for t in times]
    total = int(duration * fps + Fraction(1, 2))
    return [max(j for j, tick in enumerate(ticks) if tick <= n) for n in range(total)]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    gaps=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    fps=st.sampled_from([Fraction(1), Fraction(8), Fraction(30000, 1001), Fraction(60)]),
)
def test_variable_rate_selection(tmp_path: Path, gaps: list[int], fps: Fraction) -> None:
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    video = make_video(tmp_path / "variable.mkv", times, codec="ffv1")
    expected = selected([t * MILLISECOND for t in times], fps, (times[-1] + 40) * MILLISECOND)
    if not expected:
        with pytest.raises(InputError, match="no frame at or after 0 s at"):
            read(video, fps=fps)
        return
    assert numbers(read(video, fps=fps)) == expected


def test_pixels_are_those_of_the_rgba_graph() -> None:
    for size in ((384, 216), (1920, 1080), (227, 101)):
        frames = read(DOG, width=size[0], height=size[1], frames=2)
        assert all(frame.rgb.shape == (size[1], size[0], 3) for frame in frames)
        assert np.array_equal(frames[1].rgb, reference_rgba(DOG, size, 1)[..., :3])


def reference_rgba(path: Path, size: tuple[int, int], number: int) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(container.streams.video[0]),
            graph.add("scale", f"{size[0]}:{size[1]}:flags=lanczos"),
            graph.add("format", "rgba"),
            graph.add("buffersink"),
        ).configure()
        graph.vpush(next(islice(container.decode(video=0), number, None)))
        return np.array(graph.vpull().to_ndarray(), np.uint8)


def test_threads_never_change_pixels() -> None:
    one = list(read_frames(DOG, Sampling(width=224, height=224, frames=8), threads=1))
    three = list(read_frames(DOG, Sampling(width=224, height=224, frames=8), threads=3))
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (1080, 1920)),
        ({"width": 224}, (224, 398)),
        ({"height": 224}, (126, 224)),
        ({"width": 10, "height": 20}, (10, 20)),
        ({"height": 1}, (1, 1)),
    ],
)
def test_one_side_keeps_the_aspect_ratio(asked: dict[str, int], size: tuple[int, int]) -> None:
    assert Sampling(**asked).size(1080, 1920) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [{"start": Fraction(-1)}, {"fps": Fraction(0)}, {"frames": 0}, {"width": 0}, {"height": -2}],
)
def test_sampling_refuses(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} must be"):
        Sampling(**bad)  # type: ignore[arg-type]


def test_too_few_frames_is_an_error_only_when_required() -> None:
    sampling = Sampling(fps=Fraction(8), frames=18)
    assert len(list(read_frames(DOG, sampling))) == 17
    with pytest.raises(InputError, match="17 frames were decoded, 18 were requested"):
        list(read_frames(DOG, sampling, require=True))
    assert len(list(read_frames(DOG, Sampling(frames=64), require=True))) == 64


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "libx264", {"bf": "3", "g": "12"}),
        ("matroska", "libx264", {"bf": "2", "g": "250"}),
        ("webm", "libvpx-vp9", {"g": "10", "cpu-used": "8"}),
        ("mpegts", "libx264", {"bf": "2", "g": "12"}),
        ("avi", "mpeg4", {"bf": "2", "g": "12", "b": "4000000"}),
        ("h264", "libx264", {"bf": "0", "g": "10"}),
        ("gif", "gif", {}),
    ],
)
def test_start_gives_the_tail_of_the_whole(
    tmp_path: Path, container: str, codec: str, options: dict[str, str]
) -> None:
    video = tmp_path / "video"
    make = make_video_420 if codec in ("mpeg4", "libvpx-vp9") else make_video
    make(video, [40 * n for n in range(60)], container=container, codec=codec, options=options)
    whole = read(video)
    assert len(whole) == 60
    assert whole[0].time == 0
    if codec != "gif":
        assert numbers(whole) == list(range(60))
    for start in (Fraction(1, 25), Fraction(1, 3), Fraction(1), whole[-1].time):
        tail = [frame for frame in whole if frame.time >= start]
        got = read(video, start=start)
        assert [frame.time for frame in got] == [frame.time for frame in tail]
        assert [frame.index for frame in got] == list(range(len(tail)))
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(got, tail, strict=True))


def make_video_420(path: Path, times_ms: Sequence[int], **how: object) -> Path:
    """For encoders that know 4:2:0 only, and times in whole frames."""
    with av.open(str(path), "w", format=str(how["container"])) as output:
        options: dict[str, str] = how["options"]  # type: ignore[assignment]
        stream = output.add_stream(str(how["codec"]), rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for n in range(len(times_ms)):
            frame = VideoFrame.from_ndarray(np.full((16, 32, 3), STEP * n, np.uint8))
            output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    return path


def test_fps_counts_from_start(dog: list[Frame]) -> None:
    start = Fraction(1, 3)
    sampled = read(DOG, start=start, fps=Fraction(8), frames=5)
    assert [frame.time for frame in sampled] == [start + Fraction(n, 8) for n in range(5)]
    # Source frame 10 is the first at or after a third of a second.
    times = [Fraction(1001 * n, 30000) - start for n in range(10, 64)]
    expected = [10 + j for j in selected(times, Fraction(8), times[-1])[:5]]
    chosen = [next(d.index for d in dog if np.array_equal(d.rgb, s.rgb)) for s in sampled]
    assert chosen == expected


def test_start_after_the_end() -> None:
    with pytest.raises(InputError, match="no frame at or after 99 s"):
        read(DOG, start=Fraction(99))


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    video = make_video(tmp_path / "late.mkv", [5000, 5040, 5100])
    assert [frame.time for frame in read(video)] == [0, Fraction(40, 1000), Fraction(100, 1000)]
    assert numbers(read(video, start=Fraction(1, 20))) == [2]


ORIENTATIONS: list[tuple[tuple[int, int, int, int], int, Callable[..., NDArray[np.uint8]]]] = [
    ((0, 1, -1, 0), 90, lambda a: np.rot90(a, -1)),
    ((-1, 0, 0, -1), 180, lambda a: np.rot90(a, 2)),
    ((0, -1, 1, 0), 270, lambda a: np.rot90(a, 1)),
    ((-1, 0, 0, 1), 0, lambda a: a[:, ::-1]),
    ((1, 0, 0, -1), 0, lambda a: a[::-1]),
    ((0, 1, 1, 0), 90, lambda a: a.transpose(1, 0, 2)),
    ((0, -1, -1, 0), 270, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
]


@pytest.mark.parametrize(("matrix", "degrees", "turn"), ORIENTATIONS)
def test_rotation(
    tmp_path: Path,
    dog: list[Frame],
    matrix: tuple[int, int, int, int],
    degrees: int,
    turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    data = bytearray(DOG.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (part << 16 for part in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    video = tmp_path / "turned.mp4"
    video.write_bytes(data)
    info = probe(video)
    assert info.rotation == degrees
    assert (info.width, info.height) == ((360, 640) if degrees % 180 else (640, 360))
    assert np.array_equal(read(video, frames=1)[0].rgb, turn(dog[0].rgb))


def test_odd_sizes(tmp_path: Path) -> None:
    video = make_video(tmp_path / "odd.mkv", [0, 40], codec="ffv1", size=(33, 17))
    assert [frame.rgb.shape for frame in read(video)] == [(17, 33, 3)] * 2
    assert read(video, width=7)[0].rgb.shape == (4, 7, 3)


def test_image_pattern_starts_at_any_number_and_size(tmp_path: Path) -> None:
    for n in range(3):
        size = (40, 30) if n < 2 else (20, 15)
        Image.new("RGB", size, (10 * n, 0, 0)).save(tmp_path / f"frame_{n + 95:04d}.png")
    pattern = tmp_path / "frame_%04d.png"
    frames = read(pattern)
    assert [int(frame.rgb[2, 2, 0]) for frame in frames] == [0, 10, 20]
    assert {frame.rgb.shape for frame in frames} == {(30, 40, 3)}
    assert probe(pattern).frames == 3
    with pytest.raises(InputError, match="no file matches"):
        read(tmp_path / "other_%04d.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_still_is_one_frame_at_any_rate(tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"still.{suffix}"
    Image.new("RGB", (40, 30), (200, 100, 50)).save(picture)
    for fps in (None, Fraction(8), Fraction(60)):
        frames = read(picture, fps=fps)
        assert [frame.time for frame in frames] == [0]
        assert frames[0].rgb[5, 5].tolist() == pytest.approx([200, 100, 50], abs=3)
    assert probe(picture).frames == 1


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    assert np.array_equal(read(tmp_path / "alpha.png")[0].rgb, rgba[..., :3])


def test_animated_webp(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (24, 16), (0, 80 * n, 0)) for n in range(3)]
    path = tmp_path / "moving.webp"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[100, 50, 250], lossless=True
    )
    frames = read(path)
    assert [int(frame.rgb[0, 0, 1]) for frame in frames] == [0, 80, 160]
    assert [frame.time for frame in frames] == [0, Fraction(1, 10), Fraction(3, 20)]
    assert len(read(path, fps=Fraction(20))) == 8
    assert [frame.time for frame in read(path, start=Fraction(1, 10))] == [
        Fraction(1, 10),
        Fraction(3, 20),
    ]
    info = probe(path)
    assert (info.frames, info.duration, info.fps) == (3, Fraction(2, 5), Fraction(15, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_animated_webp_is_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    pictures = list(np.random.default_rng(orientation).integers(0, 256, (3, 16, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    path = animated_webp(tmp_path, pictures, exif.tobytes())
    turned = []
    with Image.open(path) as image:
        for number in range(3):
            image.seek(number)
            turned.append(np.asarray(ImageOps.exif_transpose(image.convert("RGB"))))
    assert np.array_equal([frame.rgb for frame in read(path)], turned)
    assert (turned[0].shape[0] == 24) == (orientation > 4)


@pytest.mark.parametrize(
    "exif", [b"garbage", b"Exif\0\0garbage", b"II*\0\x08\0\0\0\xff\xff\x12\x01"]
)
def test_animated_webp_with_exif_that_cannot_be_read(tmp_path: Path, exif: bytes) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8))
    frames = read(animated_webp(tmp_path, pictures, exif))
    assert np.array_equal([frame.rgb for frame in frames], pictures)


def animated_webp(folder: Path, pictures: list[np.ndarray], exif: bytes) -> Path:
    """Three lossless frames, with EXIF."""
    first, *others = map(Image.fromarray, pictures)
    path = folder / "moving.webp"
    first.save(path, save_all=True, append_images=others, lossless=True, exif=exif)
    return path


def sound_only() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    return buffer.getvalue()


def without_index() -> bytes:
    # The clip has its index first; an encoder that was killed has written only what follows, and
    # no size.
    data = DOG.read_bytes()
    return data[: data.index(b"moov") - 4] + bytes(4) + data[data.index(b"mdat") :][:50_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"no video\n" * 100, "cannot be opened as a video"),
        (sound_only(), "has only sound"),
        (without_index(), r"cannot be opened as a video.*moov"),
    ],
    ids=["empty", "text", "sound", "moov"],
)
def test_what_is_no_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    for action in (probe, lambda p: next(read_frames(p))):
        with pytest.raises(InputError) as caught:
            action(path)
        assert caught.match("broken.mp4")
        assert re.search(message, caught.value.line())


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        probe(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="is a folder"):
        probe(tmp_path)


def test_a_colon_in_the_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("http:clip.mp4").write_bytes(DOG.read_bytes())
    assert probe(Path("http:clip.mp4")).frames == 64


def damaged(path: Path, count: int, bad: set[int]) -> Path:
    """A video of PNG packets, of which some are garbage."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 32, 16, "gray"
    encoder.time_base = Fraction(1, 25)
    with av.open(str(path), "w", format="mov") as output:
        stream = output.add_stream("png", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gray"
        for n in range(count):
            frame = VideoFrame.from_ndarray(np.full((16, 32), STEP * n, np.uint8), format="gray")
            frame.pts = n
            (good,) = encoder.encode(frame)
            packet = av.Packet(b"garbage" * 9 if n in bad else bytes(good))
            packet.pts = packet.dts = n
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            output.mux(packet)
    return path


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_corrupt_packets_are_skipped_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, threads: int
) -> None:
    bad = {4, 5, 9, *range(12, 19)}
    video = damaged(tmp_path / "damaged.mov", 24, bad)
    with caplog.at_level(logging.WARNING, "autogaze_cli"):
        got = numbers(read_frames(video, threads=threads))
    assert got == [n for n in range(24) if n not in bad]
    assert [r.message for r in caplog.records] == [f"{video}: skipped 10 corrupt packets"]


def test_no_frame_decoded(tmp_path: Path) -> None:
    video = damaged(tmp_path / "damaged.mov", 4, set(range(4)))
    with pytest.raises(InputError, match="no frame could be decoded"):
        read(video)


def test_frames_beyond_the_limit_are_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = damaged(tmp_path / "damaged.mov", 80, set(range(30, 80)))
    with caplog.at_level(logging.WARNING, "autogaze_cli"):
        assert numbers(read(video, frames=5)) == list(range(5))
    assert caplog.records == []


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


@needs_proc
def test_an_abandoned_reader_closes_its_file() -> None:
    def opened() -> int:
        files = Path("/proc/self/fd").iterdir()
        return sum(file.is_symlink() and file.resolve() == DOG.resolve() for file in files)

    frames = read_frames(DOG, Sampling(start=Fraction(1)))
    next(frames)
    assert opened() == 1
    frames.close()  # type: ignore[attr-defined]
    assert opened() == 0


@needs_proc
def test_memory_does_not_grow_with_length() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    frames = read_frames(DOG, Sampling(width=1920, height=1080))
    sizes = [resident() for _ in frames]
    # The 44 later frames alone are 270 MB.
    assert max(sizes[20:]) - sizes[20] < 60_000_000
