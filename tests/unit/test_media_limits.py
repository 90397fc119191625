"""What a video may ask for is bounded, before anything of that size is allocated."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.media.ffmpeg import FORMATS, PROTOCOLS
from autogaze_cli.media.limits import UNTRUSTED, Limits
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import probe, read_frames

READ = """
import resource, sys
from pathlib import Path
from autogaze_cli.errors import InputError
from autogaze_cli.media.videos import read_frames
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(sum(1 for _ in read_frames(Path(sys.argv[1]))), end=" ")
except InputError as error:
    print(error.line(), end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read_apart(path: Path) -> tuple[str, int]:
    """What comes of reading a file in a new process, and the memory that it took in MB."""
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, timeout=60, check=True
    )
    said, _, megabytes = done.stdout.rpartition(" ")
    return said, int(megabytes)


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF in which each frame changes one pixel."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    control = b"\x21\xf9\x04\0\x0a\0\0\0"
    image = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return head + (control + image) * frames + b";"


def png(width: int, height: int) -> bytes:
    """The beginning of a picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def webp(width: int, height: int, folder: Path) -> bytes:
    """An animation of two small pictures on a large canvas."""
    first, second = (Image.new("RGBA", (2, 2), color) for color in ("red", "blue"))
    first.save(folder / "small.webp", save_all=True, append_images=[second], lossless=True)
    data = bytearray((folder / "small.webp").read_bytes())
    place = data.index(b"VP8X") + 12
    data[place : place + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + name + data


def full_box(name: bytes, *numbers: int) -> bytes:
    return box(name, bytes(4), struct.pack(f">{len(numbers)}I", *numbers))


def mp4(samples: int) -> bytes:
    """An MP4 whose index claims so many samples of one byte each."""
    entry = box(
        b"mp4v",
        bytes(6),
        b"\0\1",
        bytes(16),
        struct.pack(">HH", 64, 48),
        bytes(46),
        b"\0\x18\xff\xff",
    )
    table = box(
        b"stbl",
        box(b"stsd", bytes(4), struct.pack(">I", 1), entry),
        full_box(b"stts", 1, samples, 1),
        full_box(b"stsc", 1, 1, samples, 1),
        full_box(b"stsz", 1, samples),
        full_box(b"stco", 1, 40),
    )
    handler = box(b"hdlr", bytes(8), b"vide", bytes(13))
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, 1000, samples, 0),
        handler,
        box(b"minf", full_box(b"vmhd", 0, 0), table),
    )
    track = box(b"trak", box(b"tkhd", bytes(84)), media)
    movie = box(b"moov", box(b"mvhd", bytes(100)), track)
    return box(b"ftyp", b"isom", bytes(4)) + box(b"mdat", bytes(100)) + movie


def film(path: Path, **options: str) -> Path:
    """Two seconds of 32x32 pixels at 4 frames per second."""
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=4)
        assert isinstance(stream, VideoStream)
        stream.height = stream.width = 32
        for number in range(8):
            image = np.full((32, 32, 3), 30 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.y4m", "a_%d.png"])
def test_frames_too_large_are_refused_before_they_take_memory(name: str, tmp_path: Path) -> None:
    content = {
        ".gif": lambda: gif(16000, 16000, 4),
        ".png": lambda: png(16000, 16000),
        ".webp": lambda: webp(16383, 16383, tmp_path),
        ".y4m": lambda: b"YUV4MPEG2 W16000 H16000 F25:1\n" + bytes(1000),
    }[Path(name).suffix]()
    (tmp_path / name.replace("%d", "1")).write_bytes(content)
    said, megabytes = read_apart(tmp_path / name)
    assert "40000000" in said
    assert "pixels" in said
    assert megabytes < 100


def test_a_row_of_millions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(webp(13_959_169, 1, tmp_path))  # 14 s, copied part by part
    with pytest.raises(InputError, match="frames of 13959169x1 pixels, and a side has 65536 at"):
        probe(tmp_path / "a.webp")


def test_frames_are_freed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(gif(3000, 2000, 40))  # 24 MB each
    said, megabytes = read_apart(tmp_path / "a.gif")
    assert said == "40"
    assert megabytes < 40 * 24 / 2


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (10**9, r"claims 1000000000 samples, and the file has \d+ bytes"),
        (500, "index of 500 frames"),
    ],
)
def test_an_index_is_not_believed_beyond_the_file(
    tmp_path: Path, samples: int, message: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(mp4(samples))
    with pytest.raises(InputError, match=message):
        probe(tmp_path / "a.mp4", Sampling(limits=Limits(frames=400)))


def test_a_fragment_is_not_believed_beyond_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    film(path, movflags="+frag_every_frame+empty_moov")
    assert probe(path).frames == 8
    data = bytearray(path.read_bytes())
    place = data.rindex(b"trun") + 8
    data[place : place + 4] = (10**9).to_bytes(4)
    path.write_bytes(data)
    with pytest.raises(InputError, match="claims 1000000007 samples"):
        probe(path)


def test_a_count_behind_its_box_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    run = struct.pack(">I4sH", 10, b"trun", 0)  # FFmpeg reads the size and name of what follows
    moof = box(b"moof", box(b"traf", run))
    path.write_bytes(box(b"ftyp", b"isom", bytes(4)) + moof + box(b"mdat", bytes(5000)))
    with pytest.raises(InputError, match=r"claims \d{9} samples, and the file has \d+ bytes"):
        probe(path)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"pixels": 1000}, "frames of 32x32 pixels, over the limit of 1000 pixels"),
        ({"frames": 7}, "8 frames, over the limit of 7 frames"),
        ({"seconds": 1}, "a frame at 1.25 s, over the limit of 1 seconds"),
        (
            {"bytes": 3 * 32 * 32 * 5},
            "18432 bytes of decoded frames, over the limit of 15360 bytes",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_each_limit(tmp_path: Path, suffix: str, limit: dict[str, int], message: str) -> None:
    path = film(tmp_path / f"a.{suffix}")
    with pytest.raises(InputError, match=message) as caught:
        list(read_frames(path, Sampling(limits=Limits(**limit))))
    (name,) = limit
    assert f"--limit {name}=" in str(caught.value.hint)
    enough = {"pixels": 1024, "frames": 8, "seconds": 2, "bytes": 3 * 32 * 32 * 8}
    assert len(list(read_frames(path, Sampling(limits=Limits(**enough))))) == 8


def test_sampled_frames_and_scaled_sizes_are_bounded_too(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    many = Sampling(fps=Fraction(1000), limits=Limits(frames=100))
    with pytest.raises(InputError, match="at least 101 frames"):
        list(read_frames(path, many))
    large = Sampling(width=60000, height=60000)
    with pytest.raises(InputError, match="frames of 60000x60000 pixels"):
        probe(path, large)


def test_limits_as_text() -> None:
    assert Limits().changed(["frames=5", "pixels=1"]) == Limits(frames=5, pixels=1)
    assert UNTRUSTED.changed(["memory=7"]).pixels == 9_000_000 < Limits().pixels
    for text in (
        "frames",
        "frames=",
        "frames=-1",
        "frames=0",
        "frame=1",
        "pixels=1e9",
        "frames=\u0663",
    ):
        with pytest.raises(ConfigError, match="limit"):
            Limits().changed([text])


LISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{0}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{0}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "list.mkv": "ffconcat version 1.0\nfile '{0}'\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {1} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{0}\n",
    "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL><SegmentBase/></Representation>'
    "</AdaptationSet></Period></MPD>",
    "a.ram": "{0}\n",
    "a.asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "a.txt": "[Reference]\nRef1={0}\n",
}
"""Files that name another, by format: its address, and a port."""


@pytest.mark.parametrize("name", LISTS)
def test_no_input_leads_to_another(name: str, tmp_path: Path) -> None:
    other = film(tmp_path / "other.mkv")
    assert len(list(read_frames(other))) == 8
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        there = f"http://127.0.0.1:{port}/a.mkv"
        for address in (str(other), other.name, f"file:{other}", there, f"tcp://127.0.0.1:{port}"):
            (tmp_path / name).write_text(LISTS[name].format(address, port))
            with pytest.raises(InputError, match="cannot be opened as a video"):
                probe(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_what_ffmpeg_may_open() -> None:
    assert PROTOCOLS == "file"
    leading = {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "sap", "imf", "webm_dash_manifest"}
    making = {"lavfi", "tty", "ass", "svg_pipe", "ffmetadata", "x11grab", "kmsgrab", "fbdev"}
    assert not set(FORMATS) & (leading | making)
    known = {part for name in av.formats_available for part in (name, *name.split(","))}
    assert set(FORMATS) <= known


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("/dev/zero")
    (tmp_path / "f_1.png").write_bytes(png(8, 8))
    (tmp_path / "f_2.png").symlink_to(tmp_path / "a.mp4")
    for name in ("a.mp4", "b.mp4", "f_%d.png"):
        with pytest.raises(InputError, match="is not a regular file"):
            probe(tmp_path / name)
