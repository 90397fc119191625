"""Writing: what is read back, byte for byte where a format allows it, and files that fail."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autogaze_cli.errors import ConfigError, OutputError
from autogaze_cli.media.colour import Tags
from autogaze_cli.media.filters import Resizer
from autogaze_cli.media.mask_palette import MASK_PALETTE, packed
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.timeline import gif_delays
from autogaze_cli.media.videos import probe, read_frames
from autogaze_cli.media.writers import Format, Palette, open_writer

DOG = Path(__file__).parents[2] / "fixtures/dog.mp4"
Images = Sequence[NDArray[np.uint8]]
FORMATS: list[Format] = ["gif", "mp4", "webm", "png", "apng", "webp"]


@pytest.fixture(scope="module")
def clip() -> Images:
    return [frame.rgb for frame in read_frames(DOG, Sampling(fps=Fraction(8), frames=16))]


def write(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    *,
    format: Format = "gif",
    palette: Palette = "video",
    fps: Fraction = Fraction(8),
) -> Path:
    with open_writer(
        path, format=format, fps=fps, width=size[0], height=size[1], palette=palette
    ) as writer:
        for image in images:
            writer.write(image)
    return path / "frame_%06d.png" if format == "png" else path


def read(path: Path) -> list[NDArray[np.uint8]]:
    return [frame.rgb for frame in read_frames(path)]


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@dataclass
class GifBlocks:
    """What the bytes of a GIF say."""

    size: tuple[int, int]
    colours: list[tuple[int, ...]]
    loops: int | None
    delays: list[int]
    disposals: list[int]
    transparent: list[bool]
    areas: list[tuple[int, ...]]


def parse_gif(path: Path) -> GifBlocks:
    data = path.read_bytes()
    assert data[:6] == b"GIF89a"
    entries = 2 << (data[10] & 7)
    table = np.frombuffer(data[13 : 13 + 3 * entries], np.uint8).reshape(-1, 3)
    width, height = np.frombuffer(data[6:10], "<u2").tolist()
    found = GifBlocks((width, height), [tuple(c) for c in table.tolist()], None, [], [], [], [])
    at = 13 + 3 * entries
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            found.areas.append(tuple(np.frombuffer(data[at + 1 : at + 9], "<u2").tolist()))
            assert data[at + 9] == 0, "local colour table or interlace"
            at += 11
        else:
            body = data[at + 3 : at + 3 + data[at + 2]]
            if data[at + 1] == 0xF9:
                found.disposals.append(body[0] >> 2)
                found.transparent.append(bool(body[0] & 1))
                found.delays.append(int.from_bytes(body[1:3], "little"))
            elif body == b"NETSCAPE2.0":
                found.loops = int.from_bytes(data[at + 16 : at + 18], "little")
            at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    return found


def test_times_of_spec_8_8() -> None:
    shown = gif_delays(Fraction(8), [None] * 16)
    assert [number for number, _ in shown] == list(range(16))
    assert [delay for _, delay in shown] == [13, 12] * 7 + [13, 13]


@given(fps=st.fractions(Fraction(1, 10), Fraction(500)), frames=st.integers(1, 50))
def test_times_keep_the_rate(fps: Fraction, frames: int) -> None:
    shown = gif_delays(fps, [None] * frames)
    starts = np.cumsum([0, *(delay for _, delay in shown)])
    for (number, delay), start in zip(shown, starts, strict=False):
        assert abs(start - 100 * number / fps) <= Fraction(1, 2)
        assert delay >= 2
    # At a constant rate the last frame is shown as long as the one before, as FFmpeg does it.
    assert abs(starts[-1] - 100 * frames / fps) <= Fraction(3, 2) or frames == 1
    assert len(shown) == frames or fps > 50


@given(
    gaps=st.lists(st.fractions(Fraction(1, 480), Fraction(900)), min_size=1, max_size=20),
    fps=st.sampled_from([Fraction(8), Fraction(30), Fraction(120)]),
)
def test_unequal_times_are_kept_to_a_centisecond(gaps: list[Fraction], fps: Fraction) -> None:
    times = [sum(gaps[:n], Fraction(0)) for n in range(len(gaps))]
    end = sum(gaps, Fraction(0))
    shown = gif_delays(fps, times, gaps[-1])
    starts = np.cumsum([0, *(delay for _, delay in shown)]).tolist()
    for (number, delay), start in zip(shown, starts, strict=False):
        assert abs(start - 100 * times[number]) <= Fraction(3, 5)
        assert delay >= 2
    # What is left out had no time of its own.
    assert abs(starts[-1] - 100 * end) <= 1 or len(shown) == 1
    left_out = set(range(len(times))) - {number for number, _ in shown}
    for number in left_out:
        before = max(n for n, _ in shown if n < number)
        assert times[number] - times[before] < Fraction(3, 100) or end - times[number] < Fraction(
            3, 100
        )


def test_video_gif(tmp_path: Path, clip: Images) -> None:
    path = write(tmp_path / "out", clip, (384, 216))
    gif = parse_gif(path)
    assert gif.size == (384, 216)
    assert gif.loops == 0
    assert gif.delays == [13, 12] * 7 + [13, 13]
    decoded = read(path)
    assert len(decoded) == 16
    assert len(np.unique(packed(np.stack(decoded)))) <= 128
    resize = Resizer(384, 216)
    assert min(psnr(a, resize(b)) for a, b in zip(decoded, clip, strict=True)) >= 30


def test_another_decoder_sees_the_same_gif(tmp_path: Path, clip: Images) -> None:
    path = write(tmp_path / "out", clip, (192, 108))
    with Image.open(path) as image:
        for number, expected in enumerate(read(path)):
            image.seek(number)
            assert np.array_equal(np.asarray(image.convert("RGB")), expected)
        assert image.n_frames == 16  # type: ignore[attr-defined]


@pytest.mark.parametrize("palette", ["video", "mask"])
def test_equal_neighbours_stay_frames(tmp_path: Path, palette: Palette) -> None:
    still = np.zeros((32, 48, 3), np.uint8)
    still[8:16, 8:24] = MASK_PALETTE[1]
    path = write(tmp_path / "out", [still] * 16, (48, 32), palette=palette, fps=Fraction(30))
    gif = parse_gif(path)
    assert gif.delays == [3, 4, 3] * 5 + [3]
    decoded = read(path)
    assert len(decoded) == 16
    if palette == "mask":
        assert all(np.array_equal(image, still) for image in decoded)


@pytest.mark.parametrize("palette", ["video", "mask"])
def test_a_lone_frame_is_shown_for_its_time(tmp_path: Path, palette: Palette) -> None:
    path = write(tmp_path / "out", [np.zeros((4, 4, 3), np.uint8)], (4, 4), palette=palette)
    assert parse_gif(path).delays == [13]


def panels() -> Images:
    """Panels with every border and fill colour, and colours that only an image overlay has."""
    random = np.random.default_rng(7)
    fills = [(107, 76, 0), (25, 92, 50), (0, 78, 107), (97, 46, 107)]
    colours = np.array([*MASK_PALETTE.tolist(), *fills, (255, 255, 255)], np.uint8)
    cells = random.integers(0, len(colours), (6, 9, 16))
    return [colours[c].repeat(10, 0).repeat(10, 1) for c in cells]


def test_mask_gif_is_exact(tmp_path: Path) -> None:
    solid = [0, 1, 2, 3, 4, 1, 2, 3, 4, 4]
    images = panels()
    path = write(tmp_path / "out", images, (53, 31), palette="mask")
    gif = parse_gif(path)
    assert gif.delays == [13, 12, 13, 12, 13, 13]
    assert gif.loops == 0
    assert gif.areas == [(0, 0, 53, 31)] * 6
    assert not any(gif.transparent)
    random = np.random.default_rng(7)
    cells = random.integers(0, 10, (6, 9, 16))
    x, y = np.arange(53) * 160 // 53 // 10, np.arange(31) * 90 // 31 // 10
    for decoded, cell in zip(read(path), cells, strict=True):
        expected = MASK_PALETTE[np.array(solid)[cell[y[:, None], x]]]
        assert np.array_equal(decoded, expected)


def test_mask_gif_of_full_size_has_only_the_five_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "out", panels(), (160, 90), palette="mask")
    assert set(np.unique(packed(np.stack(read(path))))) == set(packed(MASK_PALETTE))


def test_mask_png_keeps_the_colours(tmp_path: Path) -> None:
    images = panels()
    decoded = read(write(tmp_path / "out", images, (80, 45), format="png", palette="mask"))
    assert all(np.array_equal(a, b[::2, ::2]) for a, b in zip(decoded, images, strict=True))


def test_png_keeps_alpha(tmp_path: Path) -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (20, 30, 4), np.uint8)
    write(tmp_path / "out", [rgba, rgba[::-1]], (30, 20), format="png")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["frame_000001.png", "frame_000002.png"]
    with Image.open(tmp_path / "out/frame_000001.png") as image:
        assert np.array_equal(np.asarray(image), rgba)


@pytest.mark.parametrize("format", ["apng", "webp"])
@pytest.mark.parametrize("channels", [3, 4])
def test_animations_lose_nothing(tmp_path: Path, format: Format, channels: int) -> None:
    """Pixels, alpha, times of any length and the endless loop, as Pillow reads them."""
    chance = np.random.default_rng(channels)
    images = chance.integers(0, 256, (5, 21, 30, channels), np.uint8)
    images[2] = images[1]  # equal neighbours stay frames
    times = [Fraction(0), Fraction(1, 25), Fraction(13, 100), Fraction(2, 5), Fraction(7, 10)]
    path = tmp_path / f"a.{format}"
    with open_writer(path, format=format, fps=Fraction(25), width=30, height=21) as writer:
        for image, time in zip(images, times, strict=True):
            writer.write(image, time, Fraction(1, 5))
    durations = []
    with Image.open(path) as opened:
        assert (opened.n_frames, opened.info["loop"]) == (5, 0)  # type: ignore[attr-defined]
        for number, image in enumerate(images):
            opened.seek(number)
            shown = np.asarray(opened.convert("RGBA"))
            visible = image[..., 3:] > 0 if channels == 4 else np.True_
            assert np.array_equal(shown[..., :3] * visible, image[..., :3] * visible)
            assert channels == 3 or np.array_equal(shown[..., 3], image[..., 3])
            durations.append(opened.info["duration"])
    assert durations == [40, 90, 270, 300, 200]
    assert [frame.time for frame in read_frames(path)] == times


@pytest.mark.parametrize("format", ["apng", "webp"])
def test_an_animation_may_pause(tmp_path: Path, format: Format) -> None:
    path = tmp_path / f"a.{format}"
    with open_writer(path, format=format, fps=Fraction(1), width=8, height=8) as writer:
        for time in (0, 120):
            writer.write(np.full((8, 8, 3), time, np.uint8), Fraction(time))
    assert [frame.time for frame in read_frames(path)] == [0, 120]


def test_a_webp_that_is_too_wide(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a WebP cannot be 16384 x 2 pixels"):
        open_writer(tmp_path / "a.webp", format="webp", fps=Fraction(1), width=16384, height=2)


@pytest.mark.parametrize("format", ["gif", "mp4", "webm"])
@pytest.mark.parametrize("palette", ["video", "mask"])
def test_other_formats_drop_alpha(tmp_path: Path, format: Format, palette: Palette) -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (32, 48, 4), np.uint8)
    opaque = np.ascontiguousarray(rgba[..., :3])
    a = write(tmp_path / "a", [rgba] * 2, (24, 16), format=format, palette=palette)
    b = write(tmp_path / "b", [opaque] * 2, (24, 16), format=format, palette=palette)
    assert np.array_equal(np.stack(read(a)), np.stack(read(b)))


@pytest.mark.parametrize(
    ("format", "codec", "size", "stored"),
    [
        ("mp4", "h264", (384, 216), (384, 216)),
        ("mp4", "h264", (383, 215), (384, 216)),
        ("mp4", "h264", (1, 1), (2, 2)),
        ("webm", "vp9", (384, 216), (384, 216)),
        ("webm", "vp9", (383, 215), (383, 215)),
    ],
)
def test_video_files(
    tmp_path: Path,
    clip: Images,
    format: Format,
    codec: str,
    size: tuple[int, int],
    stored: tuple[int, int],
) -> None:
    path = write(tmp_path / "out", clip, size, format=format)
    info = probe(path)
    assert (info.codec, info.width, info.height) == (codec, *stored)
    assert (info.fps, info.frames, info.duration) == (Fraction(8), 16, Fraction(2))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_range) == (1, 1)
    if size[0] > 1:
        resize = Resizer(*size)
        pairs = zip(read(path), clip, strict=True)
        assert min(psnr(a[: size[1], : size[0]], resize(b)) for a, b in pairs) > 34


@pytest.mark.parametrize("format", ["mp4", "webm"])
def test_plain_colours_survive(tmp_path: Path, format: Format) -> None:
    for colour in [(255, 180, 0), (0, 185, 255), (230, 110, 255), (255, 255, 255), (0, 0, 0)]:
        image = np.full((32, 48, 3), colour, np.uint8)
        decoded = read(write(tmp_path / "out", [image], (48, 32), format=format))[0]
        assert np.abs(decoded.astype(int) - image).max() <= 4


def test_mp4_can_be_played_while_it_loads(tmp_path: Path, clip: Images) -> None:
    data = write(tmp_path / "out", clip, (64, 36), format="mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(5, 2), Fraction(300)])
@pytest.mark.parametrize("format", FORMATS)
def test_any_rate(tmp_path: Path, clip: Images, format: Format, fps: Fraction) -> None:
    path = write(tmp_path / "out", clip, (64, 36), format=format, fps=fps)
    # At 300 fps two of 16 frames can be shown for two centiseconds in a GIF.
    assert len(read(path)) == (2 if fps > 50 and format == "gif" else 16)
    if format == "mp4":
        assert [f.time for f in read_frames(path)] == [n / fps for n in range(16)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("palette", ["video", "mask"])
def test_two_runs_give_the_same_bytes(
    tmp_path: Path, clip: Images, format: Format, palette: Palette
) -> None:
    contents = []
    for name in ("one", "two"):
        write(tmp_path / name, clip, (192, 108), format=format, palette=palette)
        place = tmp_path / name
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("palette", ["video", "mask"])
def test_a_failed_block_leaves_nothing(tmp_path: Path, format: Format, palette: Palette) -> None:
    def fail_after(count: int) -> Iterator[NDArray[np.uint8]]:
        for _ in range(count):
            yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write(tmp_path / "out", fail_after(3), (32, 32), format=format, palette=palette)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_no_frame_is_an_error_and_leaves_nothing(tmp_path: Path, format: Format) -> None:
    writer = open_writer(tmp_path / "out", format=format, fps=Fraction(8), width=32, height=32)
    with pytest.raises(OutputError, match="no frame was written"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_missing_folder(tmp_path: Path, format: Format) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "absent/out", panels(), (32, 32), format=format)


def test_sizes_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GIF cannot be 65536 x 1"):
        write(tmp_path / "out", panels(), (65536, 1))
    with pytest.raises(ConfigError, match="0 x 5"):
        write(tmp_path / "out", panels(), (0, 5), format="mp4")


def test_widest_gif(tmp_path: Path) -> None:
    path = write(tmp_path / "out", panels()[:1], (65535, 1), palette="mask")
    assert parse_gif(path).size == (65535, 1)


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="a frame is uint8"),
        open_writer(tmp_path / "out", format="gif", fps=Fraction(8), width=8, height=8) as writer,
    ):
        writer.write(np.zeros((8, 8), np.uint8))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_of_a_gif_does_not_grow_with_length(tmp_path: Path, clip: Images) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with open_writer(
        tmp_path / "out", format="gif", fps=Fraction(8), width=640, height=360
    ) as writer:
        for image in clip:
            writer.write(image)
        before = resident()
        for image in [*clip] * 4:
            writer.write(image)
    # The 64 later frames are 44 MB.
    assert resident() - before < 25_000_000


def test_a_gif_that_is_no_longer_wanted_is_not_finished(tmp_path: Path) -> None:
    """Its second pass over all frames is long; whoever waits for it may give up."""
    path, checks = tmp_path / "long.gif", 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise KeyboardInterrupt

    writer = open_writer(path, format="gif", fps=Fraction(8), width=16, height=8)
    for n in range(9):
        writer.write(np.full((8, 16, 3), n, np.uint8))
    with pytest.raises(KeyboardInterrupt):
        writer.close(check)
    assert (checks, list(tmp_path.iterdir())) == (3, [])


def test_a_long_film_of_unequal_times(tmp_path: Path) -> None:
    gaps = np.random.default_rng(0).integers(5, 90, 255).tolist()
    times = [Fraction(sum(gaps[:n]), 1000) for n in range(256)]
    for format in ("mp4", "webm"):
        path = write_timed(tmp_path / format, times, Fraction(1, 2), format=format)
        frames = list(read_frames(path))
        assert [frame.time for frame in frames] == times
        assert frames[-1].duration == Fraction(1, 2)


PHONE = [Fraction(n, 30) for n in range(15)] + [Fraction(3 + n, 5) for n in range(7)]
"""15 frames at 30 per second, then 7 at 5: the last is shown at 1.8 s, and ends at 2.0."""


def write_timed(path: Path, times: Sequence[Fraction], last: Fraction, **how: Any) -> Path:
    images = [np.full((36, 64, 3), 10 * n % 250, np.uint8) for n in range(len(times))]
    settings: dict[str, Any] = {
        "format": "gif",
        "fps": Fraction(30),
        "width": 64,
        "height": 36,
    } | how
    with open_writer(path, **settings) as writer:
        for image, time in zip(images, times, strict=True):
            writer.write(image, time, last)
    return path


@pytest.mark.parametrize("format", ["gif", "mp4", "webm"])
@pytest.mark.parametrize("start", [Fraction(0), Fraction(7, 3)])
def test_drawn_frames_are_shown_at_their_source_s_times(
    tmp_path: Path, format: Format, start: Fraction
) -> None:
    times = [start + time for time in PHONE]
    path = write_timed(tmp_path / "out", times, Fraction(1, 5), format=format)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    frames = list(read_frames(path))
    exact = {"gif": Fraction(1, 200), "mp4": Fraction(0), "webm": Fraction(1, 2000)}[format]
    assert len(frames) == 22
    assert all(abs(f.time - time) <= exact for f, time in zip(frames, PHONE, strict=True))
    levels = [float(frame.rgb.mean()) for frame in frames]
    assert levels == pytest.approx([10 * n for n in range(22)], abs=4)
    assert frames[-1].duration is not None
    assert frames[-1].time + frames[-1].duration == 2
    assert probe(path).duration == 2
    with av.open(str(path)) as container:
        assert container.duration == 2_000_000


@pytest.mark.parametrize("format", ["gif", "mp4", "webm"])
def test_frames_at_a_constant_rate_give_the_same_bytes_with_their_times_or_without(
    tmp_path: Path, clip: Images, format: Format
) -> None:
    fps = Fraction(30000, 1001)
    plain = write(tmp_path / "plain", clip, (64, 36), format=format, fps=fps).read_bytes()
    for name, times in {
        "exact": [3 + n / fps for n in range(16)],
        "milliseconds": [Fraction(round(1000 * n / fps), 1000) for n in range(16)],
    }.items():
        path = tmp_path / name
        with open_writer(path, format=format, fps=fps, width=64, height=36) as writer:
            for image, time in zip(clip, times, strict=True):
                writer.write(image, time, 1 / fps)
        assert path.read_bytes() == plain


@pytest.mark.parametrize("rate", [8, 30, 50, 60, 120, 240])
def test_the_gifs_of_a_run_share_one_clock(tmp_path: Path, rate: int) -> None:
    times = [Fraction(n, rate) for n in range(rate)]
    last = Fraction(1, rate)
    palettes: tuple[Palette, ...] = ("video", "mask")
    delays = []
    for palette in palettes:
        path = write_timed(tmp_path / palette, times, last, palette=palette, fps=Fraction(rate))
        delays.append(parse_gif(path).delays)
    assert delays[0] == delays[1]
    assert min(delays[0]) >= 2
    assert abs(sum(delays[0]) - 100) <= 1


def test_a_pause_longer_than_a_gif_s_delay(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1), Fraction(1500)]
    path = write_timed(tmp_path / "out", times, Fraction(700))
    frames = list(read_frames(path))
    assert [frame.time for frame in frames[:2]] == [0, 1]
    assert float(frames[2].rgb.mean()) == float(frames[1].rgb.mean())
    assert sum(parse_gif(path).delays) == 220_000
    assert frames[-1].time >= 1500


def test_times_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not after"):
        write_timed(tmp_path / "out", [Fraction(1), Fraction(1)], Fraction(1))


def test_hdr_tags_are_kept_when_asked_to(tmp_path: Path) -> None:
    tags = Tags(matrix=9, primaries=9, transfer=16, range=1)
    for format in ("mp4", "webm"):
        path = write_timed(tmp_path / format, PHONE[:5], Fraction(1), format=format, colours=tags)
        assert probe(path).colours == tags
