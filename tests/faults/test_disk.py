"""Disks that are full, folders that are read-only or vanish: whole files or none, and no lie."""

from __future__ import annotations

import ctypes
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import (
    DOG,
    HERE,
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


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "names", "arguments"),
    [
        (1, "ab", ("mask",)),
        (3, "a", ("interframe", "--format", "mp4", "--resume")),
        (2, "a", ("trace", "--format", "npz", "--resume")),
        (5, "ab", ("trace", "--report")),
        (3, "a", ("mask", "--format", "png", "--resume")),
    ],
    ids=["gif", "mp4", "npz", "page", "png"],
)
def test_a_disk_that_is_full_from_any_call_on(
    build: Build, videos: Path, tmp_path: Path, step: int, names: str, arguments: tuple[str, ...]
) -> None:
    inputs = [str(videos / f"{name}.mp4") for name in names]
    below = str(tmp_path / "disk")
    script = (sys.executable, HERE / "full_disk.py", 1, step, tmp_path)
    done = subprocess.run(
        list(map(str, (*script, *arguments, *inputs, *QUICK))),
        env=environment(FULL_BELOW=below, LD_PRELOAD=str(build("full_disk.c"))),
        capture_output=True,
        text=True,
        check=True,
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) > 5
    assert runs[0]["code"] == 0
    whole = runs[0]["whole"]
    assert len(whole) >= len(names)
    for one in runs:
        assert one["made"].items() <= whole.items(), one  # whole files, and no others
        assert (one["resumed"], one["whole"]) == (0, whole), one  # once there is room again
        if one["call"]:
            assert one["code"] in ((3,) if one["made"] else (2, 3)), one
            assert "No space left on device" in one["log"]
            for never in ("Traceback", "unexpected", ".autogaze-"):
                assert never not in one["log"], one


def limited(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("form", ["gif", "png", "apng", "webp", "mp4"])
def test_a_picture_for_which_there_is_no_room_is_one_line(
    videos: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / "out"
    command = ("interframe", videos / "a.mp4", *QUICK, "-q", "-o", out, "--format", form)
    done = run(*command, preexec_fn=lambda: limited(100))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr or "No space" in done.stderr
    assert not out.exists()


def test_a_manifest_that_cannot_grow_loses_no_output(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("trace", videos, *QUICK, "-o", out, "--jsonl")
    sizes = {}
    for most in range(1200, 3200, 400):
        shutil.rmtree(out, ignore_errors=True)
        done = run(*command, preexec_fn=lambda most=most: limited(most))
        events = [json.loads(line) for line in done.stdout.splitlines()]
        made = {name for name in outputs(out) if name.endswith(".trace.json")}
        finished = [event for event in events if event["event"] == "finished"]
        sizes[most] = len(finished)
        assert len(made) == len(finished)
        assert done.returncode == (2 if not events else 3 if "Error: " in done.stderr else 0)
        for line in (out / MANIFEST).read_text().splitlines():
            json.loads(line)  # no partial line
        again = run(*command, "--resume")
        assert again.returncode == 0, again.stderr
    assert set(sizes.values()) >= {0, 2}


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_a_full_stdout_loses_no_output(videos: Path, tmp_path: Path, option: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(
            *("trace", videos, *QUICK, option, "-o", tmp_path / "out"),
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 3
    assert done.stderr.count("Error: stdout: cannot be written: No space left on device") == 1
    assert "2 inputs: 2 finished" in done.stderr
    assert sorted(outputs(tmp_path / "out")) == ["a.trace.json", "b.trace.json"]


def test_an_index_that_cannot_be_written_loses_no_page(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out/index.html").mkdir(parents=True)
    done = run("trace", videos, *QUICK, "--report", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert {"a.report.html", "b.report.html"} <= set(outputs(tmp_path / "out"))


def without_privileges() -> None:
    """Let permissions hold for root too: drop CAP_DAC_OVERRIDE from what a new program may have."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP; others than root have none to drop


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_folder_that_is_read_only(videos: Path, tmp_path: Path, names: str) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    inputs = [videos / f"{name}.mp4" for name in names]
    done = run("trace", *inputs, *QUICK, "-o", out, preexec_fn=without_privileges)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(f"Error: {out}/")
    assert line.endswith("cannot be written: Permission denied; choose another --out-dir")
    assert list(out.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_that_vanishes(videos: Path, tmp_path: Path, workers: int) -> None:
    for name in "cd":
        shutil.copy(DOG, videos / f"{name}.mp4")
    out, moved = tmp_path / "out", tmp_path / "moved"
    process = start("mask", videos, *SLOW, "-o", out, "--workers", workers)
    wait_until(lambda: bool(list(out.glob("*.mask.json"))), process)
    out.rename(moved)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    assert f"{out / MANIFEST}: cannot be written" in errors
    assert "Traceback" not in errors
    assert "unexpected" not in errors
    left = outputs(out) if out.exists() else {}
    assert not [name for name in left if ".autogaze-" in name]
    moved.rename(out) if not out.exists() else shutil.rmtree(moved)
    again = run("mask", videos, *SLOW, "-o", out, "--resume", "--overwrite")
    assert again.returncode == 0, again.stderr
    assert len(outputs(out)) == 8
    assert temporaries(out) == []


@pytest.mark.slow
def test_two_runs_into_one_folder(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start("mask", videos, *SLOW, "--inference-width", 960, "-o", out)
    wait_until((out / MANIFEST).exists, first)
    second = run("mask", videos, *SLOW, "-o", out, "--resume")
    assert second.returncode == 2
    assert f"{out}: another run is writing to it; wait for it, or stop it" in second.stderr
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    assert len(outputs(out)) == 4
