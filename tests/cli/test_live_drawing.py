"""``mask --live`` and ``interframe --live``: on stdout, in a window, or nowhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

Run = Callable[..., Result]

NAME = "synthetic:local-motion,size=161x90,frames=12"
PLAIN = ("--live", "--mask-source", "patch-diff")


def live(*words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "autogaze_cli", *words]
    env = {name: v for name, v in os.environ.items() if "DISPLAY" not in name}
    env |= {"PYTHONPATH": str(Path(__file__).parents[2]), **options.pop("env", {})}
    return subprocess.run(
        command, env=env, stderr=subprocess.PIPE, timeout=120, check=False, **options
    )


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(path) as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("command", ["mask", "interframe"])
def test_a_stream_is_drawn_on_stdout(run: Run, tmp_path: Path, command: str) -> None:
    with (tmp_path / "live.mp4").open("wb") as file:
        done = live(command, NAME, *PLAIN, "--side-by-side", stdout=file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"12 frames, " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["live.mp4"]
    words = ("--mask-source", "patch-diff", "--side-by-side", "--format", "png", "-o", tmp_path)
    assert run(command, NAME, *words).exit_code == 0
    shown = pictures(tmp_path / "live.mp4")
    drawn = sorted((tmp_path).glob("synthetic*/*.png"))
    assert len(shown) == len(drawn) == 12
    for one, file_ in zip(shown, drawn, strict=True):
        expected = np.asarray(Image.open(file_).convert("RGB")).astype(int)
        assert one.shape == (90, 322, 3)
        assert np.abs(one - expected).mean() < 4  # H.264, 4:2:0


def test_who_stops_reading_ends_it(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = live("mask", NAME, *PLAIN, stdout=writer, cwd=tmp_path)
    os.close(writer)
    assert (done.returncode, b"Error" in done.stderr) == (0, False), done.stderr


def test_a_window_shows_it_where_stdout_is_a_terminal(tmp_path: Path) -> None:
    player = tmp_path / "bin" / "ffplay"
    player.parent.mkdir()
    player.write_text('#!/bin/sh\necho "$@" > "$SHOWN.words"\nexec cat > "$SHOWN"\n')
    player.chmod(0o755)
    main, terminal = pty.openpty()
    shown = tmp_path / "shown"
    path = f"{player.parent}:{os.environ['PATH']}"
    env = {"PATH": path, "DISPLAY": ":99", "SHOWN": str(shown)}
    done = live("interframe", NAME, *PLAIN, stdout=terminal, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert f"-window_title autogaze interframe: {NAME}" in Path(f"{shown}.words").read_text()
    assert len(pictures(shown)) == 12
    player.write_text("#!/bin/sh\nexit 1\n")
    done = live("interframe", NAME, *PLAIN, stdout=terminal, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert b"ffplay cannot show the live video (exit code 1); redirect it" in done.stderr
    del env["DISPLAY"]
    done = live("interframe", NAME, *PLAIN, stdout=terminal, cwd=tmp_path, env=env)
    os.close(terminal)
    os.close(main)
    assert done.returncode == 2
    assert b"can be shown nowhere: there is no display; redirect it to a file" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "mp4"),
        ("-o", "out"),
        ("--json",),
        ("--timing", "t.json"),
        ("--trace-clip", "1"),
    ],
)
def test_options_of_files_are_refused(run: Run, words: tuple[str, ...]) -> None:
    result = run("mask", NAME, *PLAIN, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be used with --live; leave it out" in result.stderr


def test_one_stream_that_is_there(run: Run) -> None:
    assert "--live takes a single input, got 2" in run("mask", NAME, NAME, *PLAIN).stderr
    result = run("mask", "no.ts", *PLAIN)
    assert (result.exit_code, "no.ts" in result.stderr) == (2, True)
