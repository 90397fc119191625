"""A decoder in a process of its own gives the same frames, and may crash, hang or take memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media.isolated import _MAIN, IsolatedVideo
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import probe, read_frames

DOG = Path(__file__).parents[2] / "fixtures" / "dog.mp4"


@pytest.mark.parametrize("settings", [{}, {"start": Fraction(1), "fps": Fraction(8), "width": 64}])
def test_the_same_frames(settings: dict[str, Fraction]) -> None:
    expected = list(read_frames(DOG, Sampling(**settings)))  # type: ignore[arg-type]
    found = list(read_frames(DOG, Sampling(**settings, isolate=True)))  # type: ignore[arg-type]
    assert [(f.index, f.time, f.duration) for f in found] == [
        (f.index, f.time, f.duration) for f in expected
    ]
    assert np.array_equal([f.rgb for f in found], [f.rgb for f in expected])
    assert probe(DOG, Sampling(isolate=True)) == probe(DOG)


def test_the_same_errors_and_notes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(DOG.read_bytes()[:-1000])
    lines, logs = [], []
    for isolate in (False, True):
        caplog.clear()
        for sampling in (Sampling(isolate=isolate), Sampling(isolate=isolate, frames=999)):
            path = broken if sampling.frames is None else DOG
            with pytest.raises(InputError) as caught:
                list(read_frames(path, sampling, require=True))
            lines.append(caught.value.line())
        list(read_frames(broken, Sampling(isolate=isolate, allow_truncated=True)))
        logs.append(caplog.messages)
    assert lines[:2] == lines[2:]
    assert logs[0] == logs[1] != []


def message(pipe: Connection) -> Any:
    """The next one that is no sign of life."""
    while (found := pipe.recv()) is None:
        pass
    return found


@pytest.mark.parametrize("broken", [False, True])
def test_the_process_ends_by_itself_when_all_is_said(tmp_path: Path, broken: bool) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video" if broken else DOG.read_bytes())
    pipe, far = Pipe()
    program = _MAIN.format([place for place in sys.path if place], far.fileno(), os.getpid())
    command = [sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, pass_fds=[far.fileno()], stderr=subprocess.PIPE) as process:
        far.close()
        pipe.send((path, Sampling(frames=2), 1, False))
        first = message(pipe)
        if broken:
            assert first.message.startswith(f"{path}: cannot be opened as a video")
        else:
            pipe.send(True)
            frames = [message(pipe)[0] for _ in range(2)]
            assert [frame.index for frame in frames] == [0, 1]
            assert message(pipe) == first
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, b"")


def opened(**limits: int) -> IsolatedVideo:
    return IsolatedVideo(DOG, Sampling(limits=Limits(**limits)), quiet=True)


def test_a_crash_is_an_error_of_its_file() -> None:
    with opened() as video:
        frames = video.frames()
        next(frames)
        os.kill(video._process.pid, signal.SIGSEGV)
        with pytest.raises(InputError, match=r"dog.mp4: its decoder crashed \(signal SIGSEGV\)"):
            list(frames)


def test_a_hang_is_an_error_of_its_file() -> None:
    with opened(frame_seconds=1) as video:
        os.kill(video._process.pid, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(InputError, match=r"dog.mp4: no frame was decoded for 1 s"):
            list(video.frames())
        assert 0.9 < time.monotonic() - begin < 5
    assert video._process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by Linux")
def test_memory_is_an_error_of_its_file(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (6000, 6000)).save(large, compress_level=1)  # 144 MB as RGBA
    sampling = Sampling(isolate=True, limits=Limits(memory=100 << 20))
    with pytest.raises(InputError, match=r"takes more than the limit of 104857600 bytes of memory"):
        list(read_frames(large, sampling))
    assert len(list(read_frames(large, Sampling(isolate=True)))) == 1


PARENT = """
import sys, time
from pathlib import Path
from autogaze_cli.media.isolated import _MAIN, IsolatedVideo
from autogaze_cli.media.sampling import Sampling
video = IsolatedVideo(Path(sys.argv[1]), Sampling())
print(video._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, DOG], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    stat = Path(f"/proc/{child}/stat")
    for _ in range(200):
        # Where nobody asks for its exit code, it stays as a zombie.
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


def test_a_process_whose_parent_ended_while_it_started_ends_too() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    pipe, far = Pipe()  # open, and silent, as that of a decoder that hangs
    program = _MAIN.format([place for place in sys.path if place], far.fileno(), ended.pid)
    with (
        pipe,
        subprocess.Popen([sys.executable, "-I", "-c", program], pass_fds=[far.fileno()]) as process,
    ):
        far.close()
        assert process.wait(timeout=60) == 1
