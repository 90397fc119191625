"""``autogaze trace --live``: lines as they come, and an end by Ctrl-C that loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from click.testing import Result

from autogaze_cli.trace import read_trace

PLAIN = ("--mask-source", "patch-diff")


@pytest.fixture(scope="module")
def endless(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip in a form that can be read from a pipe."""
    path = tmp_path_factory.mktemp("stream") / "square.ts"
    with av.open(clip) as source, av.open(path, "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    return path


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Let child processes heed SIGINT, which a shell's background jobs are started to ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("heeds_interrupts")
def test_a_stream_that_stalls_can_be_ended(endless: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    with lines.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "autogaze_cli", "trace", "--live", "-", "--jsonl", *PLAIN],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
        )
    assert process.stdin is not None
    # More than FFmpeg reads to find out what it is; the pipe then stays open, and silent.
    process.stdin.write(endless.read_bytes() * 20)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while b"\n" not in lines.read_bytes() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    process.stdin.close()
    assert b"latency p50 " in errors
    assert errors.endswith(b"Error: interrupted; finished files are kept\n")
    printed = [json.loads(line) for line in lines.read_text().splitlines()]
    assert printed[0]["latency_ms"] > 0
    trace = read_trace(tmp_path / "stdin.trace.json")
    assert trace.index.tolist() == [line["index"] for line in printed]


def test_the_result_document(run: Callable[..., Result], clip: Path, tmp_path: Path) -> None:
    live = run("trace", "--live", clip, "--json", *PLAIN, "-o", tmp_path / "live")
    plain = run("trace", clip, "-q", *PLAIN, "-o", tmp_path / "plain")
    assert (live.exit_code, plain.exit_code) == (0, 0)
    document = json.loads(live.stdout)
    assert document["frames"] == 24
    assert document["latency_ms"].keys() == {"p50", "p95"}
    ours, theirs = (
        read_trace(tmp_path / folder / "square.trace.json") for folder in ("live", "plain")
    )
    assert ours.fixations.token.tolist() == theirs.fixations.token.tolist()


def test_a_model_gets_a_horizon(
    run: Callable[..., Result], clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for arguments, horizon in (((), 16), (("--horizon-frames", 2), 2)):
        live = run(
            *("trace", "--live", clip, "--model", tiny_model, "--frames", 3, *arguments),
            *("--json", "--overwrite", "-o", tmp_path),
        )
        assert live.exit_code == 0
        assert json.loads(live.stdout)["settings"]["horizon_frames"] == horizon


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.mp4", "b.mp4", "--live"], "--live takes a single input, got 2"),
        (["a.mp4", "--live", "--json", "--jsonl"], "give one of --json and --jsonl"),
        (["a.mp4", "--horizon-frames", "4", "--mode", "tiled"], "horizon_frames needs mode resize"),
        *(
            (["no.mp4", "--live", *option.split()], f"{option.split()[0]} cannot be used with")
            for option in (
                *("--report", "--dry-run", "--resume", "--fail-fast", "--workers 1"),
                *("--engine local", "--address here", "--gpus-per-worker 0"),
            )
        ),
        (["no.mp4", "--live"], "no.mp4: cannot be opened as a video"),
    ],
)
def test_what_cannot_be(run: Callable[..., Result], arguments: list[str], says: str) -> None:
    result = run("trace", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_start_past_the_end_is_said(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    result = run("trace", clip, "--live", "--start", 1000, *PLAIN, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "no frame at or after 1000 s; start earlier" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_plan_is_refused_wherever_it_is_asked_for(
    run: Callable[..., Result], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGAZE_DRY_RUN", "1")
    result = run("trace", "--live", clip, *PLAIN, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "--dry-run cannot be used with --live" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "says"), [("", "an input has an empty name"), ("rtsp://[::1/x", "cannot be opened")]
)
def test_what_no_stream_is_called(
    run: Callable[..., Result], tmp_path: Path, name: str, says: str
) -> None:
    result = run("trace", "--live", name, *PLAIN, "-o", tmp_path / "out")
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_an_address_is_named_as_it_was_given(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("trace", "--live", "http://127.0.0.1:9/clip.mp4", *PLAIN, "-o", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: http://127.0.0.1:9/clip.mp4: ")
