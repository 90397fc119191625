"""What few files have: a stated peak of light, boxes of odd sizes, jumps of the clock."""

from __future__ import annotations

import errno
import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from autogaze_cli.errors import InputError
from autogaze_cli.media.claims import require_true_claims
from autogaze_cli.media.clock import Clock
from autogaze_cli.media.hdr import stated_peak
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.watched import is_failure
from autogaze_cli.media.whole import ends_in_media, missing_bytes

DISPLAY = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L({},1)"


@pytest.mark.parametrize(
    ("light", "peak"),
    [
        ("max-cll=1200,400", 12.0),
        (f"max-cll=400,100:{DISPLAY.format(40000000)}", 4.0),
        (f"max-cll=0,0:{DISPLAY.format(40000000)}", 40.0),
        (DISPLAY.format(6000000), 6.0),
        (DISPLAY.format(0), 10.0),
        ("", 10.0),
    ],
)
def test_the_brightest_that_a_video_states(tmp_path: Path, light: str, peak: float) -> None:
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as output:
        options = {
            "preset": "ultrafast",
            "x265-params": f"log-level=none:pools=none:hdr10=1:{light}",
        }
        stream = output.add_stream("libx265", rate=10, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        frame = VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p10le")
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with av.open(str(path)) as video:
        assert stated_peak(next(video.decode(video=0))) == peak


def box(name: bytes, content: bytes, *, long: bool = False) -> bytes:
    if long:
        return struct.pack(">I4sQ", 1, name, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), name) + content


def claims(data: bytes) -> None:
    require_true_claims(Path("a.mp4"), io.BytesIO(data), Limits(frames=1000))


@pytest.mark.parametrize("long", [False, True])
def test_boxes_with_sizes_of_64_bits_are_counted_too(long: bool) -> None:
    def index(samples: int) -> bytes:
        sizes = box(b"stsz", struct.pack(">III", 0, 1, samples))
        return box(b"moov", box(b"trak", box(b"stbl", sizes, long=long), long=long), long=long)

    claims(index(10) + box(b"mdat", bytes(64)))
    with pytest.raises(InputError, match=r"a\.mp4"):
        claims(index(100_000) + box(b"mdat", bytes(64)))


def test_a_compressed_index_is_refused_and_a_damaged_one_ends_the_search() -> None:
    with pytest.raises(InputError, match="its index is compressed"):
        claims(box(b"moov", box(b"cmov", bytes(16))))
    claims(struct.pack(">I4s", 4, b"moov") + box(b"cmov", bytes(16)))  # a size below its own head


def test_whole_files_of_webp_and_matroska() -> None:
    picture = box_of_riff(b"VP8 ", bytes(10))
    whole = b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture
    assert missing_bytes(io.BytesIO(whole)) == 0
    animated = b"WEBP" + box_of_riff(b"ANIM", bytes(6)) + picture
    assert missing_bytes(io.BytesIO(b"RIFF" + struct.pack("<I", 500) + animated)) == 508 - 8 - len(
        animated
    )
    # A segment of 200 bytes that holds one cluster of unknown size.
    head = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x40\xc8"
    cut = head + b"\x1f\x43\xb6\x75\xff" + bytes(45)
    assert missing_bytes(io.BytesIO(cut)) == 150
    assert missing_bytes(io.BytesIO(cut + bytes(150))) == 0


def box_of_riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def test_an_mp4_whose_last_box_holds_the_frames() -> None:
    frames = box(b"mdat", b"")
    assert ends_in_media(io.BytesIO(box(b"moov", b"") + frames))
    assert not ends_in_media(io.BytesIO(box(b"free", b"") + frames))
    assert not ends_in_media(io.BytesIO(box(b"moov", b"")))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (MemoryError(), True),
        (OSError(errno.EIO, "I/O error"), True),
        (OSError(errno.EINVAL, "Invalid data"), False),
        (OSError(errno.ENOSYS, "Not implemented"), False),
        (ValueError("damaged"), False),
    ],
)
def test_what_is_a_failure_of_the_system(error: Exception, failure: bool) -> None:
    assert is_failure(error) is failure


def test_a_clock_without_a_rate_goes_on_as_it_began() -> None:
    jumps: list[Fraction] = []
    clock = Clock(Fraction(1, 1000), None, discontinuous=True, on_jump=jumps.append)
    times = [clock(time, 0)[0] for time in (0, 40, 80, None, 90_000, 90_040)]
    assert times == [0, 40, 80, 120, 160, 200]
    assert len(jumps) == 1
