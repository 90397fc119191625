"""Processes that are interrupted, killed or starved: nothing hangs, nothing stays behind."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import (
    MANIFEST,
    QUICK,
    SLOW,
    Build,
    environment,
    outputs,
    run,
    start,
    temporaries,
    wait_until,
)

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.slow
@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signals", [(INT, INT), (TERM, TERM), (TERM, INT), (INT, TERM, INT)])
def test_signals_that_follow_another(
    videos: Path, tmp_path: Path, workers: int, signals: tuple[signal.Signals, ...]
) -> None:
    moments = random.Random(workers)
    out = tmp_path / "out"
    process = start("mask", videos, *SLOW, "-o", out, "--workers", workers)
    wait_until((out / MANIFEST).exists, process)
    time.sleep(moments.uniform(0, 0.5))
    for number in signals:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        time.sleep(moments.choice([0.001, 0.02]))
    _, errors = process.communicate(timeout=30)
    assert process.returncode in {128 + number for number in signals}, errors
    assert "Traceback" not in errors
    assert temporaries(out) == []
    assert len(outputs(out)) % 2 == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_workers_start_with_interrupts_blocked() -> None:
    code = """
import re
from pathlib import Path
from autogaze_cli.batch.local import _Process
for number in range(2):
    status = Path(f"/proc/{_Process(print, number, 2).process.pid}/status").read_text()
    print(re.search("SigBlk:(.*)", status)[1])
"""
    masks = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment())
    assert all(int(mask, 16) & 1 << (INT - 1) for mask in masks.split()), masks
    assert len(masks.split()) == 2


@pytest.mark.usefixtures("heeds_interrupts")
def test_a_third_interrupt_ends_at_once(tmp_path: Path) -> None:
    code = """
import time
from autogaze_cli.batch.stopping import stopped_by_signals
with stopped_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("removing", flush=True)
        time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    for line in ("ready\n", "removing\n"):
        assert process.stdout.readline() == line
        process.send_signal(INT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(INT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors == "Removing unfinished files; press Ctrl-C again to leave them.\n"


_INTERRUPTED_READ = """
import io, os, signal, sys
from pathlib import Path
from autogaze_cli.__main__ import main

class Interrupted(io.FileIO):
    sent = False
    def read(self, size=-1, /):
        if not Interrupted.sent:
            Interrupted.sent = True
            os.kill(os.getpid(), signal.Signals[sys.argv.pop()])
        return super().read(size)

opened = Path.open
Path.open = lambda path, mode="r", buffering=-1, **how: (
    Interrupted(path) if buffering == 0 else opened(path, mode, buffering, **how))
main()
"""


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("number", [INT, TERM])
def test_a_signal_while_ffmpeg_reads_is_not_lost(
    videos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """FFmpeg takes an exception of its callback for the end of the file, and goes on."""
    arguments = ["mask", str(videos), *SLOW, "-o", str(tmp_path / "out"), number.name]
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_READ, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 128 + number, done.stderr
    assert "Exception ignored" not in done.stderr


def workers_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(n) for n in found if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.slow
def test_workers_end_with_their_parent(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("mask", videos, *SLOW, "-o", out, "--workers", 2)
    wait_until(lambda: len(list(out.glob(".autogaze-*"))) > 1, process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while any(map(is_running, workers)):
        assert time.monotonic() < until
        time.sleep(0.02)
    again = run("mask", videos, *SLOW, "-o", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert len(outputs(out)) == 4
    assert temporaries(out) == []


@pytest.mark.slow
def test_each_worker_has_its_own_number(videos: Path, tmp_path: Path) -> None:
    """The first alone tells what is used; each takes the GPU of its number."""
    done = run("mask", videos, *QUICK, "-o", tmp_path / "out", "--workers", 2)
    assert done.returncode == 0
    assert done.stderr.count("mask source: patch-diff\n") == 1


@pytest.mark.parametrize(("limit", "workers"), [(5, 1), (6, 1), (10, 2), (16, 2)])
def test_few_open_files(videos: Path, tmp_path: Path, limit: int, workers: int) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    out = tmp_path / "out"
    done = run("mask", videos, *QUICK, "-o", out, "--workers", workers, preexec_fn=limited)
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert temporaries(out) == []
    if done.returncode == 0:
        assert len(outputs(out)) == 4
    else:
        assert done.returncode in (2, 3)
        assert "Too many open files; raise the limit of open files (ulimit -n)" in done.stderr


def test_a_clock_that_jumps(build: Build, videos: Path, tmp_path: Path) -> None:
    """Durations, waits and what is skipped do not depend on the time of day."""
    jumping = environment(LD_PRELOAD=str(build("jumping_clock.c")))
    code = "import time; print(*(time.time() // 86400 for _ in range(4)))"
    days = subprocess.run(
        [sys.executable, "-c", code], env=jumping, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(set(days)) > 1
    command = ("trace", videos, *QUICK, "-o", tmp_path / "out", "--jsonl", "--workers", 2)
    done = run(*command, env=jumping)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    seconds = [event["seconds"] for event in events if event["event"] == "finished"]
    assert len(seconds) == 2
    assert all(0 <= value < 60 for value in seconds)
    again = run(*command, "--resume", env=jumping)
    assert again.stdout.count('"event": "skipped"') == 2


def test_a_message_of_any_length_is_one_short_line(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n:03d}{'x' * 200}.mp4").write_text("no video")
    log = tmp_path / "log"
    done = run("trace", tmp_path, *QUICK, "-o", tmp_path / "out", "--log-file", log)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: 300 of 300 inputs failed: ")
    assert last.endswith(".mp4")
    assert len(last) < 2100


def test_modules_of_the_current_folder_are_not_imported(videos: Path, tmp_path: Path) -> None:
    """Python starts processes with the current folder before its own library."""
    for name in ("multiprocessing", "struct", "numpy", "av", "click", "autogaze_cli"):
        (videos / f"{name}.py").write_text("open('imported', 'a')\nraise ImportError\n")
    script = tmp_path / "bin/autogaze"
    script.parent.mkdir()
    script.write_text("from autogaze_cli.__main__ import main\nmain()\n")
    for more in (("--workers", "2"), ("--isolate",)):
        done = subprocess.run(
            [sys.executable, script, "trace", "a.mp4", "b.mp4", *QUICK, "-o", more[0], *more],
            cwd=videos,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not (videos / "imported").exists()
        assert len(outputs(videos / more[0])) == 2
