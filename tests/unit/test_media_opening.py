"""A file that was cut short is told from a whole one, whatever its format."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media.looks import is_text
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import probe, read_frames
from autogaze_cli.media.whole import missing_bytes

IMAGES = np.random.default_rng(7).integers(0, 256, (6, 32, 48, 3), np.uint8)
FORMATS = ("mp4", "mov", "faststart.mp4", "fragmented.mp4", "mkv", "avi", "gif", "webp")
OPTIONS = {
    "faststart.mp4": {"movflags": "+faststart"},
    "fragmented.mp4": {"movflags": "+frag_every_frame+empty_moov"},
}


def written(path: Path, **options: str) -> Path:
    """Six frames of noise, in the format of the file's suffix."""
    if path.suffix in (".gif", ".webp"):
        first, *others = map(Image.fromarray, IMAGES)
        first.save(path, save_all=True, append_images=others, duration=100)
        return path
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = IMAGES.shape[1:3]
        for image in IMAGES:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_lacks_nothing(name: str, tmp_path: Path) -> None:
    video = written(tmp_path / f"a.{name}", **OPTIONS.get(name, {}))
    assert len(list(read_frames(video))) == 6


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    video = written(tmp_path / f"a.{name}", **OPTIONS.get(name, {}))
    whole = video.read_bytes()
    for kept in (0.3, 0.6, 0.9, 0.99):
        cut = int(len(whole) * kept)
        # A fragmented file may end between two fragments, and a GIF after a byte like its last.
        while whole[cut - 1 : cut] == b";" or whole[cut + 4 : cut + 8] in (b"moof", b"mdat"):
            cut -= 1
        video.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"truncated: ([0-9]+ bytes|its end is) missing"):
            probe(video)


@pytest.mark.parametrize("name", ["mp4", "mkv"])
def test_the_missing_bytes_are_counted(name: str, tmp_path: Path) -> None:
    video = written(tmp_path / f"a.{name}")
    whole = video.read_bytes()
    video.write_bytes(whole[:-11])
    with video.open("rb") as file:
        assert missing_bytes(file) == 11


def test_a_recording_without_sizes_is_taken_as_it_is(tmp_path: Path) -> None:
    video = written(tmp_path / "a.mkv", live="1")
    assert b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" in video.read_bytes()
    assert len(list(read_frames(video))) == 6


@pytest.mark.parametrize("name", ["mp4", "mkv", "avi"])
def test_bytes_after_the_end_do_no_harm(name: str, tmp_path: Path) -> None:
    video = written(tmp_path / f"a.{name}")
    video.write_bytes(video.read_bytes() + b"\xff" * 40)
    with video.open("rb") as file:
        assert missing_bytes(file) == 0


@pytest.mark.parametrize("tail", [b"", b"\n", b";\n\0\0", b";<!-- sent by a server -->"])
def test_a_gif_is_whole_where_browsers_play_it(tmp_path: Path, tail: bytes) -> None:
    gif = written(tmp_path / "a.gif")
    whole = gif.read_bytes()
    assert whole[-1:] == b";"
    expected = [frame.rgb for frame in read_frames(gif)]
    gif.write_bytes(whole[:-1] + tail)
    assert np.array_equal([frame.rgb for frame in read_frames(gif)], expected)


def test_a_wrong_size_over_whole_data_does_no_harm(tmp_path: Path) -> None:
    avi, mp4 = (
        written(tmp_path / "a.avi"),
        written(tmp_path / "a.faststart.mp4", movflags="+faststart"),
    )
    data = bytearray(avi.read_bytes())
    data[4:8] = (len(data) + 1000).to_bytes(4, "little")
    avi.write_bytes(data)
    data = bytearray(mp4.read_bytes())
    place = data.index(b"mdat") - 4
    data[place : place + 4] = (len(data) - place + 1000).to_bytes(4, "big")
    mp4.write_bytes(data)
    for video in (avi, mp4):
        assert len(list(read_frames(video))) == 6
        assert probe(video).missing_bytes == 0


@pytest.mark.parametrize("name", ["faststart.mp4", "fragmented.mp4", "mkv", "avi", "gif", "webp"])
def test_a_truncated_file_can_be_read_as_far_as_it_goes(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = written(tmp_path / f"a.{name}", **OPTIONS.get(name, {}))
    expected = [frame.rgb for frame in read_frames(video)]
    video.write_bytes(video.read_bytes()[: -video.stat().st_size // 3])
    with pytest.raises(InputError) as caught:
        probe(video)
    assert "--allow-truncated" in str(caught.value.hint)
    sampling = Sampling(allow_truncated=True)
    with caplog.at_level("WARNING", "autogaze_cli"):
        frames = [frame.rgb for frame in read_frames(video, sampling)]
    assert 2 <= len(frames) <= 5
    assert np.array_equal(frames[0], expected[0])
    info = probe(video, sampling)
    assert info.missing_bytes > 0
    assert info.notes[0].startswith("truncated: ")
    assert [record.message for record in caplog.records if "truncated" in record.message] == [
        f"{video}: {info.notes[0]}"
    ]


def test_an_mp4_without_its_index_stays_unreadable(tmp_path: Path) -> None:
    video = written(tmp_path / "a.mp4")
    video.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cannot be opened as a video") as caught:
        probe(video, Sampling(allow_truncated=True))
    assert "no index (moov)" in str(caught.value.hint)


def numbered(folder: Path, *numbers: int, name: str = "shot.{:04d}.png") -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.new("RGB", (8, 6), (number % 256, 0, 0)).save(folder / name.format(number))


def test_a_gap_in_numbered_images_is_named(tmp_path: Path) -> None:
    numbered(tmp_path, 1001, 1002, 1004, 1005)
    with pytest.raises(InputError, match=r"image 1003 is missing, between 1002 and 1004"):
        probe(tmp_path / "shot.%04d.png")
    numbered(tmp_path, 1003, 1010)
    with pytest.raises(InputError, match=r"images 1006 to 1009 are missing"):
        list(read_frames(tmp_path / "shot.%04d.png"))


@pytest.mark.parametrize("folder", ["100%d done", "%04d", "a*b?[c]{d}", "50%"])
def test_signs_of_patterns_in_a_folder_s_name_are_themselves(tmp_path: Path, folder: str) -> None:
    numbered(tmp_path / folder, 9, 10, 11, name="{}.png")
    for pattern, count in (("%d.png", 3), ("10.png", 1)):
        frames = list(read_frames(tmp_path / folder / pattern))
        assert len(frames) == count
    numbered(tmp_path / folder, 7, name="%d.png")
    assert len(list(read_frames(tmp_path / folder / "%d.png"))) == 1


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi", "ts", "mov"])
def test_tags_that_are_not_utf_8_do_no_harm(tmp_path: Path, suffix: str) -> None:
    video = tmp_path / f"a.{suffix}"
    with av.open(str(video), "w", metadata_errors="surrogateescape") as container:
        container.metadata["title"] = "caf\udce9"
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = IMAGES.shape[1:3]
        stream.metadata["title"] = "caf\udce9"
        for image in IMAGES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert b"caf\xe9" in video.read_bytes()
    assert len(list(read_frames(video))) == 6


@pytest.mark.parametrize(
    ("content", "video"),
    [
        (b"export const a: number = 1;\n" * 300, False),
        ("// gr\u00fc\u00dfe\n".encode("latin-1"), False),
        ("\ufeffexport {}\n".encode("utf-16"), False),
        (b"", False),
        (b"\x47\x40\x11\x10" + bytes(184), True),
        (b"\0\0\0\x20ftypisom", True),
        (b"#EXTM3U\n#EXTINF:2,\na.ts\n", True),
    ],
)
def test_text_is_no_video(content: bytes, video: bool) -> None:
    assert is_text(content) is not video
