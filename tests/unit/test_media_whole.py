"""What each format says of its own end: a cut file is told, and a whole one never is."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media import chains
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.stated_ends import MXF
from autogaze_cli.media.videos import probe, read_frames
from autogaze_cli.media.whole import missing_bytes

FORMATS = {
    "a.y4m": ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
    "a.flv": ("flv", "flv", "yuv420p"),
    "h264.flv": ("flv", "libx264", "yuv420p"),
    "a.wmv": ("asf", "wmv2", "yuv420p"),
    "a.mxf": ("mxf", "mpeg2video", "yuv420p"),
    "a.apng": ("apng", "apng", "rgb24"),
    "a.ogv": ("ogg", "libvpx", "yuv420p"),
    "a.ivf": ("ivf", "libvpx", "yuv420p"),
}
TAILS = [
    b"\n",
    b"\r\n",
    bytes(3),
    bytes(100),
    b"\xff" * 40,
    b"\t" * 50,
    b"<!-- by a server -->\n" * 3,
]


def written(path: Path, count: int = 12, size: tuple[int, int] = (96, 64)) -> bytes:
    """Frames of noise in squares of eight pixels, in the format of the file's name."""
    container_format, codec, pix_fmt = FORMATS[path.name]
    noise = np.random.default_rng(1)
    with av.open(path, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        for n in range(count):
            squares = noise.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
            image = squares.repeat(8, 0).repeat(8, 1)
            frame = VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def missing(data: bytes) -> int:
    return missing_bytes(io.BytesIO(data))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_whole_whatever_follows_it_and_cut_wherever_it_ends(
    name: str, tmp_path: Path
) -> None:
    whole = written(tmp_path / name)
    assert [missing(whole + tail) for tail in [b"", *TAILS]] == [0] * (1 + len(TAILS))
    for kept in (0.01, 0.1, 0.5, 0.9, 0.99)[name == "a.wmv" :]:  # its header has more than 1 %
        assert 1 <= missing(whole[: int(len(whole) * kept)]) <= len(whole) * (1 - kept) + 1
    if name != "a.wmv":  # of which the last bytes are an index
        assert missing(whole[:-1]) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_is_refused_and_read_on_request(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    whole = written(path)
    assert len(list(read_frames(path))) == 12
    path.write_bytes(whole[: len(whole) // 2])
    stated = name in ("a.wmv", "a.mxf")
    told = f"truncated: {'[0-9]+ bytes missing' if stated else 'its end is missing'}"
    with pytest.raises(InputError, match=told) as caught:
        probe(path)
    assert "--allow-truncated" in str(caught.value.hint)
    sampling = Sampling(allow_truncated=True)
    assert 1 <= len(list(read_frames(path, sampling))) < 12
    info = probe(path, sampling)
    assert info.missing_bytes == missing(path.read_bytes())
    assert any(note.startswith("truncated: ") for note in info.notes)


def test_a_cut_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    assert [missing(whole + tail) for tail in [b"", *TAILS]] == [0] * (1 + len(TAILS))
    assert all(missing(whole[:kept]) == 1 for kept in range(8, len(whole)))
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="truncated: its end is missing"):
        probe(path)


@pytest.mark.parametrize(
    "pix_fmt",
    ["gray", "yuv411p", "yuv420p", "yuv422p", "yuv444p", "gray16le", "yuv420p10le", "yuv444p12le"],
)
@pytest.mark.parametrize("size", [(16, 8), (13, 7)])
def test_frames_of_a_y4m_are_as_large_as_ffmpeg_writes_them(
    pix_fmt: str, size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.y4m"
    with av.open(path, "w", format="yuv4mpegpipe", options={"strict": "-1"}) as container:
        stream = container.add_stream("wrapped_avframe", rate=25)
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        frame = VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), format="rgb24")
        for n in range(3):
            grey = frame.reformat(format=pix_fmt)
            grey.pts, grey.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(grey))
    whole = path.read_bytes()
    last = whole.rindex(b"FRAME\n")
    assert [missing(whole), missing(whole[:last])] == [0, 0]  # between frames none is missing
    assert all(missing(whole[:kept]) == 1 for kept in range(last + 1, len(whole)))


@pytest.mark.parametrize("header", [b"C420hdr", b"XYSCSS=422", b"C420 W", b"C420 Wx", b"C420 W0"])
def test_a_y4m_of_another_kind_does_not_say(header: bytes) -> None:
    cut = b"YUV4MPEG2 W16 H8 F25:1 %b\nFRAME\n" + bytes(50)
    assert missing(cut % b"C420") == 1
    assert missing(cut % header) == 0


def test_an_flv_may_have_a_wrong_last_size_or_none(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.flv")
    assert missing(whole[:-4] + bytes(4)) == 0
    assert missing(whole[:-4]) == 0
    assert missing(whole[:-5]) == 1


def test_an_asf_that_is_broadcast_does_not_say(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path / "a.wmv"))
    flags = whole.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 88
    cut = whole[: len(whole) // 2]
    assert missing(bytes(cut)) > 0
    cut[flags] |= 1
    assert missing(bytes(cut)) == 0


@pytest.mark.parametrize(("state", "says"), [(1, False), (2, True), (3, False), (4, True)])
def test_an_mxf_says_where_it_ends_once_its_header_is_closed(
    state: int, says: bool, tmp_path: Path
) -> None:
    cut = bytearray(written(tmp_path / "a.mxf"))
    assert cut.startswith(MXF)
    del cut[len(cut) // 2 :]
    cut[14] = state
    assert bool(missing(bytes(cut))) is says


@pytest.mark.parametrize("count", [0, 11, 0xFFFFFFFF])
def test_an_ivf_is_believed_as_many_frames_as_it_states(count: int, tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.ivf"))
    data[24:28] = count.to_bytes(4, "little")
    assert missing(bytes(data[:-1])) == 0


def test_more_parts_than_are_looked_at_do_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = written(tmp_path / "a.y4m")[:-1]
    monkeypatch.setattr(chains, "MOST_PARTS", 12)
    assert missing(cut) == 1
    monkeypatch.setattr(chains, "MOST_PARTS", 11)
    assert missing(cut) == 0


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_sizes_do_no_harm(name: str, tmp_path: Path) -> None:
    whole, dice = written(tmp_path / name, 3), random.Random(name)
    for _ in range(300):
        data = bytearray(whole[: dice.randrange(4, len(whole))])
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(4, min(len(data), 700) + 1)
            data[at : at + 8] = dice.choice([b"\xff" * 8, bytes(8), dice.randbytes(8)])
        assert missing(bytes(data)) >= 0
