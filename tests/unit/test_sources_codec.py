"""Motion vectors as they are read, and what the codec source makes of them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.motion import Motion
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.codec import CodecSource, detail_scores, motion_scores

DOG = Path(__file__).parents[2] / "fixtures" / "dog.mp4"
GRID = 14


def moving_square(path: Path, codec: str, options: dict[str, str], frames: int = 6) -> Path:
    """A textured square that moves by 8 pixels a frame over a still texture: 224 x 224."""
    rng = np.random.default_rng(3)
    ground = rng.integers(60, 120, (28, 28, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    square = rng.integers(0, 256, (12, 12, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = 224
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            rgb = ground.copy()
            rgb[32:80, 8 * n + 32 : 8 * n + 80] = square
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def square_cells(number: int) -> NDArray[np.bool_]:
    """The cells that the square touches in a frame or in the one before."""
    cells = np.zeros((GRID, GRID), bool)
    cells[2:5, (8 * number + 24) // 16 : -(-(8 * number + 80) // 16)] = True
    return cells


def scores(frames: list[Frame]) -> list[NDArray[np.float64]]:
    source = open_source(GazeSettings(mask_source="codec"))
    assert isinstance(source, CodecSource)
    return [one.reshape(GRID, GRID) for one in source.clip_scores(frames)]


H264 = {"crf": "18", "bf": "0", "threads": "1", "preset": "veryfast"}


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_square(tmp_path_factory.mktemp("codec") / "h264.mp4", "libx264", H264)


@pytest.mark.parametrize(
    ("codec", "options", "suffix", "vectors"),
    [
        ("libx264", H264, "mp4", True),
        ("libx264", {"crf": "18", "bf": "2", "threads": "1"}, "mkv", True),
        ("mpeg4", {"qscale": "2", "flags": "+qscale", "b": "4M"}, "mp4", True),
        ("mpeg2video", {"b": "4M"}, "ts", True),
        ("libx265", {"x265-params": "log-level=none:pools=1"}, "mp4", False),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, "webm", False),
        ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}, "mp4", False),
    ],
)
def test_every_codec_finds_what_moves(
    codec: str, options: dict[str, str], suffix: str, vectors: bool, tmp_path: Path
) -> None:
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = moving_square(tmp_path / f"clip.{suffix}", codec, options)
    frames = list(read_frames(path, motion=True))
    assert len(frames) == 6
    assert [frame.motion is not None for frame in frames] == [vectors] * 6
    found = scores(frames)[1:]
    inside = [one[square_cells(n)].mean() for n, one in enumerate(found, 1)]
    outside = [one[~square_cells(n)].mean() for n, one in enumerate(found, 1)]
    assert np.mean(inside) > 0.3 > 0.06 > np.mean(outside)
    assert all(a > 2 * b for a, b in zip(inside, outside, strict=True))
    assert all(frame.motion is None for frame in read_frames(path))


def test_images_have_no_vectors(tmp_path: Path, h264: Path) -> None:
    from PIL import Image

    for frame in read_frames(h264):
        Image.fromarray(frame.rgb).save(tmp_path / f"frame_{frame.index:04}.png")
    images = list(read_frames(tmp_path / "frame_%04d.png", motion=True))
    plain = [replace(frame, motion=None) for frame in read_frames(h264, motion=True)]
    assert images[1].motion is None
    assert all(np.array_equal(a, b) for a, b in zip(scores(images), scores(plain), strict=True))


ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def luma(path: Path, *filters: str) -> Iterator[NDArray[np.uint8]]:
    """The frames' luma, by FFmpeg's program."""
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-flags2", "+export_mvs", "-i", str(path)]
    output = ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    made = subprocess.run([*command, *filters, *output], capture_output=True, check=True)
    for picture in np.frombuffer(made.stdout, np.uint8).reshape(-1, 540, 640):
        yield picture[:360]


@ffmpeg
def test_ffmpeg_draws_its_arrows_where_the_vectors_are() -> None:
    frames = list(read_frames(DOG, Sampling(frames=24), motion=True))
    view = luma(DOG, "-vf", "codecview=mv=pf+bf+bb")
    for frame, plain, drawn in zip(frames, luma(DOG), view, strict=False):
        assert frame.motion is not None
        (motion,) = frame.motion
        vectors = motion.vectors
        assert motion.intra == (frame.index == 0)
        changed = plain != drawn
        assert changed.any() == (not motion.intra)
        # Every vector has an arrow, which begins at the middle of its block (arrows are added to
        # the luma modulo 256, so that a few that cross cancel), ...
        x, y = vectors["dst_x"], vectors["dst_y"]
        inside = (y < 360) & (x < 640)  # the last row of blocks is cut off
        assert (~changed[y[inside], x[inside]]).sum() <= 2
        # ... and no arrow is drawn where no vector is: from its block to where it came from.
        near = np.zeros_like(changed)
        for one in vectors:
            ends = [
                sorted((int(one[f"src_{axis}"]), int(one[f"dst_{axis}"]))) for axis in ("y", "x")
            ]
            rows, cols = (slice(max(0, a - 3), max(0, b + 4)) for a, b in ends)
            near[rows, cols] = True
        assert not (changed & ~near).any()


def test_vectors_turn_with_the_frame(tmp_path: Path, h264: Path) -> None:
    upright = scores(list(read_frames(h264, motion=True)))[3]
    turns: list[tuple[tuple[int, int, int, int], Callable[[Any], Any]]] = [
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), np.transpose),
        ((0, -1, -1, 0), lambda a: np.rot90(a, 2).T),
    ]
    for matrix, turn in turns:
        data = bytearray(h264.read_bytes())
        a, b, c, d = (part << 16 for part in matrix)
        place = data.index(b"tkhd") + 44
        data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path = tmp_path / "turned.mp4"
        path.write_bytes(data)
        assert np.array_equal(scores(list(read_frames(path, motion=True)))[3], turn(upright))


def test_vectors_follow_the_frames_through_sampling(h264: Path) -> None:
    every = [frame.motion for frame in read_frames(h264, motion=True)]
    counts = [len(motion[0].vectors) for motion in every if motion]
    assert [len(motion or ()) for motion in every] == [1] * 6
    assert len(set(counts)) > 2  # so that frames are told apart by them

    def sampled(**options: Any) -> list[list[int]]:
        frames = read_frames(h264, Sampling(**options), motion=True)
        return [[len(motion.vectors) for motion in frame.motion or ()] for frame in frames]

    assert sampled(fps=Fraction(10)) == [[n] for n in counts]
    # Every second frame has the vectors of the frame that was left out as well.
    assert sampled(fps=Fraction(5)) == [counts[:1], counts[1:3], counts[3:5]] or (
        sampled(fps=Fraction(5)) == [counts[:2], counts[2:4], counts[4:6]]
    )
    # A repeated frame has none: nothing moved.
    doubled = sampled(fps=Fraction(20))
    assert doubled[::2] == [[n] for n in counts]
    assert doubled[1::2] == [[]] * 6
    assert sampled(start=Fraction(3, 10)) == [[n] for n in counts[3:]]
    assert sampled(width=64, height=96) == [[n] for n in counts]


def test_a_score_is_that_of_the_highest_frame_left_out(h264: Path) -> None:
    frames = list(read_frames(h264, motion=True))
    apart = scores(frames)
    motion = tuple(one for frame in frames[1:4] for one in frame.motion or ())
    _, joint = scores([frames[0], replace(frames[3], motion=motion)])
    assert np.array_equal(joint, np.maximum.reduce(apart[1:4]))
    key = frames[0].motion or ()
    _, with_key = scores([frames[0], replace(frames[3], motion=(*motion, *key))])
    assert np.array_equal(with_key, joint)
    _, only_key = scores([frames[0], replace(frames[3], motion=key)])
    assert np.array_equal(only_key.ravel(), detail_scores(frames[3].rgb, GRID))
    _, repeated = scores([frames[0], replace(frames[0], motion=())])
    assert not repeated.any()


def vectors(*rows: tuple[int, int, int, int, int, int]) -> NDArray[Any]:
    """``x, y`` of the centre, width and height, motion in quarter pixels, from the past."""
    names = ["dst_x", "dst_y", "w", "h", "motion_x", "motion_y", "source", "motion_scale"]
    made = np.zeros(len(rows), np.dtype({"names": names, "formats": ["<i4"] * 8}))
    made[:] = [(*row, -1, 4) for row in rows]
    return made


def test_scores_by_hand() -> None:
    """2 x 2 cells of 32 x 32 pixels, that is of 2 x 2 macroblocks."""
    still = [(x + 8, y + 8, 16, 16, 8, 0) for y in range(0, 64, 16) for x in range(0, 64, 16)]
    motion = Motion(vectors=vectors(*still), width=64, height=64)
    assert motion_scores(motion, 2).tolist() == [0, 0, 0, 0]  # the camera moves
    gone = replace(motion, vectors=vectors(*still[1:]))
    assert motion_scores(gone, 2).tolist() == [0.25, 0, 0, 0]  # one of four is new
    split = [*still[:-1], *((x, y, 8, 8, 8, 0) for y in (52, 60) for x in (52, 60))]
    assert motion_scores(replace(motion, vectors=vectors(*split)), 2).tolist() == [0, 0, 0, 0.25]
    halves = [*still[:-1], (52, 56, 8, 16, 8, 0), (60, 56, 8, 16, 8, 0)]
    assert motion_scores(replace(motion, vectors=vectors(*halves)), 2).tolist() == [0, 0, 0, 0.125]
    # Half a cell is 16 pixels, 64 quarters; one of its four macroblocks moves.
    moves = [(56, 8, 16, 16, 8, 64) if one[:2] == (56, 8) else one for one in still]
    assert motion_scores(replace(motion, vectors=vectors(*moves)), 2).tolist() == [0, 0.125, 0, 0]
    assert replace(motion, vectors=vectors()).intra
    # 40 pixels are 3 macroblocks, of which the last is half outside the frame.
    odd = Motion(vectors=vectors(*still), width=40, height=40)
    assert motion_scores(odd, 2).tolist() == [0, 0, 0, 0]


def test_motion_is_measured_in_cells_of_each_side_and_either_time() -> None:
    """Cells of 64 x 16 pixels, one macroblock high and four wide."""
    still = [(x + 8, y + 8, 16, 16, 0, 0) for y in range(0, 32, 16) for x in range(0, 128, 16)]

    def moved(x: int, y: int, **changes: int) -> list[float]:
        rows = vectors((8, 8, 16, 16, x, y), *still[1:])
        for name, value in changes.items():
            rows[name][0] = value
        found: list[float] = motion_scores(Motion(vectors=rows, width=128, height=32), 2).tolist()
        return found

    assert moved(0, 0) == [0, 0, 0, 0]
    # 8 pixels, 32 quarters, are an eighth of a cell across and half of one down.
    assert moved(32, 0) == [0.125 / 4, 0, 0, 0]
    assert moved(0, 32) == [0.5 / 4, 0, 0, 0]
    assert moved(0, 32, source=1) == [0.5 / 4, 0, 0, 0]
    assert moved(0, 32, source=-2) == [0.25 / 4, 0, 0, 0]  # in two frames
    assert moved(0, 32, motion_scale=8) == [0.25 / 4, 0, 0, 0]  # eighths of a pixel
    assert moved(0, 640) == [1 / 4, 0, 0, 0]  # at most one cell
    assert moved(96, 32) == [pytest.approx(0.625 / 4), 0, 0, 0]  # 3/8 and 4/8 are 5/8 away


def test_parts_of_a_score_add_up_to_one_at_most() -> None:
    """One cell of 2 x 2 macroblocks: three are new, the fourth is in quarters."""
    quarters = vectors(*((x, y, 8, 8, 0, 0) for y in (4, 12) for x in (4, 12)))
    assert motion_scores(Motion(vectors=quarters, width=32, height=32), 1).tolist() == [1]
    two = vectors(*((x, y, 8, 8, 0, 0) for y in (4, 12) for x in (4, 12)), (24, 8, 16, 16, 0, 0))
    assert motion_scores(Motion(vectors=two, width=32, height=32), 1).tolist() == [0.75]


def test_vectors_beyond_the_edge_belong_to_the_last_macroblock() -> None:
    inside = vectors((-8, -8, 16, 16, 0, 0), (40, 8, 16, 16, 0, 0), (8, 40, 16, 16, 0, 0))
    # Of four macroblocks the last alone is new.
    assert motion_scores(Motion(vectors=inside, width=32, height=32), 2).tolist() == [0, 0, 0, 1]


def test_detail_of_large_frames_is_that_of_a_smaller_one() -> None:
    small = np.random.default_rng(1).integers(0, 256, (224, 240, 3), np.uint8)
    expected = detail_scores(small, 7)
    for factor in (2, 3):
        large = small.repeat(factor, 0).repeat(factor, 1)
        np.testing.assert_array_equal(detail_scores(large, 7), expected)
    assert not np.array_equal(detail_scores(small[:, :, ::-1].repeat(2, 1), 7), expected)


def test_a_difference_of_neighbours_is_the_right_or_lower_ones() -> None:
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[..., 1] = [[0, 10, 10, 10], [0, 0, 10, 40]]
    # Across 10, 0, 0 and 0, 10, 30; down 0, 10, 0, 30. The cells have 10, 0, 10 and 70.
    assert detail_scores(rgb, 2).tolist() == pytest.approx([1 / 7, 0, 1 / 7, 1])


def test_detail_by_hand() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4, :4:2] = 255  # stripes in the first cell
    rgb[4:, 4:] = 10
    found = detail_scores(rgb, 2)
    assert found[0] == 1
    assert 0 < found[3] < 0.1
    assert found[1] == 0 < found[2] < 0.3  # the stripes end at the latter's edge
    assert detail_scores(np.full((8, 8, 3), 9, np.uint8), 2).tolist() == [0, 0, 0, 0]
