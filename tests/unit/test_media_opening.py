"""A file that was cut short is told from a whole one, whatever its format."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media.opening import missing_bytes
from autogaze_cli.media.video import probe, read_frames

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
        with pytest.raises(InputError, match=r": truncated: (1 byte|[0-9]+ bytes) missing"):
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
