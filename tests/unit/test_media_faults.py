"""Faults of the system: never a missing frame, always an error or the whole result."""

from __future__ import annotations

import errno
import io
import os
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Video
from autogaze_cli.media.videos import probe, read_frames

FIXTURES = Path(__file__).parents[2] / "fixtures"
DOG = FIXTURES / "dog.mp4"


@pytest.fixture
def dog(tmp_path: Path) -> Path:
    """A copy that may be changed."""
    path = tmp_path / "dog.mp4"
    path.write_bytes(DOG.read_bytes())
    return path


NO_THREADS = """
import hashlib, resource, sys
from fractions import Fraction
from pathlib import Path
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from autogaze_cli.media.writers import open_writer
threads, path, out = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
if threads >= 0:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # The stack of a thread is 1 GiB here.
    resource.setrlimit(resource.RLIMIT_AS, (used + (threads << 30) + (1 << 29), -1))
digest = hashlib.sha256()
frames = list(read_frames(path, Sampling(width=200, fps=Fraction(20))))
with open_writer(out, format="gif", fps=Fraction(20), width=96, height=54) as writer:
    for frame in frames:
        digest.update(frame.rgb.tobytes())
        writer.write(frame.rgb, frame.time, frame.duration)
print(len(frames), digest.hexdigest(), hashlib.sha256(out.read_bytes()).hexdigest())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_without_threads_no_frame_is_missing(tmp_path: Path) -> None:
    """pthread_create fails with EAGAIN, with which FFmpeg also says that a frame is not ready."""

    def wide_stacks() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, most))

    told = []
    for threads in (-1, 0, 1, 4):
        run = subprocess.run(
            [sys.executable, "-c", NO_THREADS, str(threads), DOG, tmp_path / "out.gif"],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=wide_stacks if threads >= 0 else None,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        told.append(run.stdout)
    assert len(set(told)) == 1
    assert told[0].startswith("43 ")


class FailingFile(io.FileIO):
    """A file on a disk that cannot be read from some place on."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 100_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_failed_read_is_no_end(dog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.open

    def opened(path: Path, mode: str = "r", buffering: int = -1, **how: Any) -> Any:
        return FailingFile(path) if buffering == 0 else whole(path, mode, buffering, **how)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(InputError, match=r"dog.mp4: reading failed \(Input/output error\)"):
        list(read_frames(dog))
    # What does not need the unreadable part is there.
    assert probe(dog).width == 640


def cut(path: Path) -> None:
    os.truncate(path, 60_000)


def rewrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3000:] = bytes(3000)
    path.write_bytes(data)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


@pytest.mark.parametrize("change", [cut, rewrite, replace])
@pytest.mark.parametrize("most", [None, 40])
def test_a_video_that_changes_while_it_is_read_is_an_error(
    dog: Path, change: Any, most: int | None
) -> None:
    frames = read_frames(dog, Sampling(frames=most))
    next(frames)
    os.utime(dog, (1, 1))
    change(dog)
    with pytest.raises(InputError, match=r"dog\.mp4: was changed while it was read"):
        list(frames)


def test_an_image_of_a_sequence_that_changes_is_an_error(tmp_path: Path) -> None:
    for n in range(40):
        Image.fromarray(np.full((20, 30, 3), 5 * n, np.uint8)).save(tmp_path / f"{n}.png")
    frames = read_frames(tmp_path / "%d.png")
    next(frames)
    Image.new("RGB", (30, 20)).save(tmp_path / "39.png")
    with pytest.raises(InputError, match=r"was changed while it was read \(39.png\)"):
        list(frames)


def test_a_video_that_is_deleted_while_it_is_read_was_read_whole(dog: Path) -> None:
    frames = read_frames(dog)
    next(frames)
    dog.unlink()
    assert sum(1 for _ in frames) == 63


@pytest.mark.parametrize("threads", [None, 1, 2, 16])
@pytest.mark.parametrize("bad", [[-1], [-2], [-3, -2, -1], [-10], [20]])
def test_damage_costs_the_same_frames_with_any_number_of_threads(
    dog: Path, bad: list[int], threads: int | None
) -> None:
    import av

    with av.open(str(dog)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(dog.read_bytes())
    for number in bad:
        place, size = packets[number]
        assert place is not None
        data[place : place + size] = b"\xff" * size
    dog.write_bytes(data)
    # As many as FFmpeg's own decoder gives with one thread.
    expected = 61 if len(bad) == 3 else 63
    assert sum(1 for _ in read_frames(dog, threads=threads)) == expected


def test_a_video_is_opened_once_to_probe_and_read(dog: Path) -> None:
    with Video(dog, Sampling(start=Fraction(1), frames=3)) as video:
        assert video.info.frames == 64
        dog.unlink()  # nothing opens it again
        times = [frame.time for frame in video.frames(require=True)]
    assert times == [Fraction(1001 * n, 30000) for n in (30, 31, 32)]
