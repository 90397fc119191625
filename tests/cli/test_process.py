"""What only a process has: its exit code, its pipes, its signals."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from autogaze_cli.progress import configure_logging, progress_board

AUTOGAZE = [sys.executable, "-m", "autogaze_cli"]
PATCH_DIFF = ("--mask-source", "patch-diff")
"""No model, whose PyTorch takes longer to load than all the rest."""


def start(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [*AUTOGAZE, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_video_on_stdin(clip: Path, tmp_path: Path) -> None:
    with clip.open("rb") as video:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [*AUTOGAZE, "trace", "-", "--frames", "2", *PATCH_DIFF],
            cwd=tmp_path,
            env=environment,
            stdin=video,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["stdin.trace.json"]
    assert '"source": "-"' in (tmp_path / "stdin.trace.json").read_text()


def test_stdin_is_called_by_its_name(tmp_path: Path) -> None:
    process = start("trace", "-", *PATCH_DIFF, folder=tmp_path)
    _, errors = process.communicate("no video", timeout=60)
    assert process.returncode == 2
    assert errors.startswith("Error: -: cannot be opened as a video")


def test_a_reader_that_leaves_ends_it_quietly(clip: Path, tmp_path: Path) -> None:
    process = start("trace", clip, "-q", "--json", *PATCH_DIFF, folder=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def test_a_terminal_sees_a_bar_with_time_left(clip: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    size = ("--inference-width", "1280", "--inference-height", "720")
    arguments = ["mask", str(clip), *PATCH_DIFF, *size]
    process = subprocess.Popen(
        [*AUTOGAZE, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"},
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"square\.mp4 \S+ [0-9]+/24 \S+ frames/s 0:00:[0-9]{2} 0:00:[0-9]{2}\b", text)


def test_a_log_sees_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("autogaze_cli.progress.LINE_EVERY_S", 0)
    configure_logging(0)
    with progress_board() as board, board("a.mp4") as advance:
        advance(2.5, 10)
        advance(3, None)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"a\.mp4: 2/10 frames, \S+ frames/s, \d+ s left", first)
    assert re.fullmatch(r"a\.mp4: 3/\? frames, \S+ frames/s", second)


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Let child processes heed SIGINT, which a shell's background jobs are started to ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGINT, 130, "Error: interrupted; finished files are kept\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_a_signal_leaves_nothing_half_written(
    tmp_path: Path, number: signal.Signals, code: int, says: str
) -> None:
    name = "synthetic:pan,size=640x360,frames=2000"  # longer than anybody waits
    process = start("mask", name, "-q", *PATCH_DIFF, "-o", tmp_path / "out", folder=tmp_path)
    while not any(tmp_path.glob("out/.autogaze-*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, says)
    assert not (tmp_path / "out").exists()
