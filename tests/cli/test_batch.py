"""Many inputs: plan, resume, workers, failures, and what is said of them; with real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from autogaze_cli.batch.result import MANIFEST as NAME
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import read_trace

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]
PATCH_DIFF = ("--mask-source", "patch-diff")
SMALL = (*PATCH_DIFF, "--inference-width", "320")
"""A third of a second for each input of `many`."""


@pytest.fixture
def videos(clip: Path, tmp_path: Path) -> Path:
    """Three good videos in a tree."""
    for name in ("a.mp4", "deep/b.mp4", "deep/er/c.mkv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / "in" / name)
    return tmp_path / "in"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but the manifest, which tells times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != NAME
    }


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "docs/schemas" / name).read_text()))


def test_a_plan_tells_all_and_does_nothing(run: Run, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_text("no video")
    out = tmp_path / "out"
    arguments = ("mask", videos, "-o", out, *PATCH_DIFF, "--frames", 5, "--dry-run")
    said = run(*arguments)
    assert said.exit_code == 3
    assert "3 to run, 0 already done, 1 would fail; 15 frames" in said.stdout
    document = json.loads(run(*arguments, "--json").stdout)
    validator("plan.schema.json").validate(document)
    states = {item["input"]: item["state"] for item in document["inputs"]}
    assert states == {
        str(videos / "a.mp4"): "run",
        str(videos / "broken.mp4"): "fail",
        str(videos / "deep/b.mp4"): "run",
        str(videos / "deep/er/c.mkv"): "run",
    }
    (frames,) = [row for row in document["settings"] if row["option"] == "frames"]
    assert frames == {"option": "frames", "value": 5, "source": "command line"}
    assert not out.exists()
    assert run("mask", videos / "deep", "-o", out, *PATCH_DIFF, "--dry-run").exit_code == 0


def test_resume_skips_what_is_done_and_unchanged(run: Run, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    again = ("mask", videos, "-o", out, *PATCH_DIFF, "--resume", "--jsonl")
    assert run("mask", videos, "-o", out, *PATCH_DIFF).exit_code == 0
    whole = tree(out)
    result = run(*again)
    assert [line["event"] for line in lines(result)] == [*["skipped"] * 3, "ended"]

    (out / "a.mask.gif").write_bytes(whole["a.mask.gif"] + b"x")  # an output that was changed
    (out / "deep/b.mask.json").unlink()  # one that has gone
    touched = videos / "deep/er/c.mkv"
    os.utime(touched)  # the same bytes at another time are the same input
    result = run(*again)
    assert [line["input"] for line in lines(result) if line["event"] == "finished"] == [
        str(videos / "a.mp4"),
        str(videos / "deep/b.mp4"),
    ]
    assert tree(out) == whole

    result = run(*again, "--frames", 4)  # another setting
    assert [line["event"] for line in lines(result)].count("finished") == 3
    touched.write_bytes(touched.read_bytes() + b"\0")  # another input
    result = run(*again, "--frames", 4)
    assert [line["event"] for line in lines(result)].count("skipped") == 2


def test_a_run_that_was_refused_costs_no_later_resume(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    command = ("mask", videos, "-o", tmp_path / "out", *PATCH_DIFF, "--jsonl")
    assert run(*command).exit_code == 0
    refused = run(*command)
    assert refused.exit_code == 3
    assert refused.stderr.count("or --resume to continue an earlier run") == 3
    assert [line["event"] for line in lines(run(*command, "--resume"))].count("skipped") == 3


def test_resume_looks_at_what_it_would_write_not_at_what_a_manifest_names(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("mask", videos, "-o", out, *PATCH_DIFF, "--jsonl")
    run(*command)
    said = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    forged = [line | {"outputs": []} if line["event"] == "finished" else line for line in said]
    (out / NAME).write_text("".join(json.dumps(line) + "\n" for line in forged) + "[" * 100_000)
    assert [line["event"] for line in lines(run(*command, "--resume"))].count("finished") == 3


def test_resume_never_replaces_what_is_not_its_own(run: Run, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.mask.gif").write_text("mine")
    result = run("mask", videos, "-o", out, *PATCH_DIFF, "--resume")
    assert result.exit_code == 3
    assert "a.mask.gif: already exists; give --overwrite to replace it\n" in result.stderr
    assert (out / "a.mask.gif").read_text() == "mine"


def test_a_torn_manifest_loses_only_its_last_line(run: Run, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("mask", videos, "-o", out, *PATCH_DIFF)
    manifest = out / NAME
    manifest.write_bytes(manifest.read_bytes()[:-40])
    result = run("mask", videos, "-o", out, *PATCH_DIFF, "--resume", "--jsonl")
    assert [line["event"] for line in lines(result)] == [
        *["skipped"] * 2,
        "started",
        "finished",
        "ended",
    ]
    for line in manifest.read_text().splitlines():
        json.loads(line)


def test_one_bad_input_stops_no_other_save_with_fail_fast(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    (videos / "b.mp4").write_text("no video")
    result = run("mask", videos, "-o", tmp_path / "out", *PATCH_DIFF, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    validator("batch.schema.json").validate(document)
    assert len(document["results"]) == 3
    assert [failure["input"] for failure in document["failures"]] == [str(videos / "b.mp4")]
    result = run("mask", videos, "-o", tmp_path / "o", *PATCH_DIFF, "--fail-fast", "--jsonl")
    assert result.exit_code == 3
    events = lines(result)
    for event in events:
        validator("event.schema.json").validate(event)
    assert events[-1]["not_done"] == 3
    assert tree(tmp_path / "o") == {}


def start(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def finished(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of a real clip, in ``in``, and their masks by an undisturbed run, in ``whole``."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "whole/in").mkdir(parents=True)
    for name in "abcd":
        shutil.copy(ROOT / "fixtures/dog.mp4", folder / f"whole/in/{name}.mp4")
    finished(start("mask", "in", "-o", "out", *SMALL, folder=folder / "whole"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_and_resumed(many: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(many / "whole/in", tmp_path / "in")
    command = ("mask", "in", "-o", "out", *SMALL, "--resume", "--workers", workers)
    moments = random.Random(workers)
    for _ in range(2):
        process = start(*command, folder=tmp_path)
        until = time.monotonic() + 60
        while not (tmp_path / "out" / NAME).exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.1, 0.8))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finished(start(*command, folder=tmp_path))
    assert tree(tmp_path / "out") == tree(many / "whole/out")


def children(pid: int) -> list[int]:
    """The worker processes that ``pid`` has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in found
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(many: Path, tmp_path: Path) -> None:
    shutil.copytree(many / "whole/in", tmp_path / "in")
    process = start("mask", "in", "-o", "out", *SMALL, "--workers", 2, folder=tmp_path)
    while not any((tmp_path / "out").glob(".autogaze-*")):
        assert process.poll() is None
        time.sleep(0.01)
    for child in children(process.pid):
        os.kill(child, signal.SIGKILL)
    errors = finished(process)
    assert "worker died; retrying" in errors
    assert tree(tmp_path / "out") == tree(many / "whole/out")  # what they half wrote is gone too


@pytest.mark.slow
@pytest.mark.parametrize("change", ["gone", "other"])
def test_an_input_that_changes_while_it_is_read(many: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(many / "whole/in", tmp_path / "in")
    process = start("mask", "in", "-o", "out", *SMALL, folder=tmp_path)
    while not any((tmp_path / "out").glob(".autogaze-*")):
        assert process.poll() is None
        time.sleep(0.01)
    (tmp_path / "in/a.mp4").unlink()
    if change == "other":
        shutil.copy(ROOT / "fixtures/dog.mp4", tmp_path / "in/a.mp4")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    late = "was changed "  # or moved, where it was read whole before
    soon = "no such file"  # where it was not opened yet
    assert any(f"in/a.mp4: {what}" in errors for what in (late, soon if change == "gone" else late))
    assert "4 inputs: 3 finished, 1 failed" in errors
    shutil.copy(ROOT / "fixtures/dog.mp4", tmp_path / "in/a.mp4")
    errors = finished(start("mask", "in", "-o", "out", *SMALL, "--resume", folder=tmp_path))
    assert "4 inputs: 1 finished, 3 skipped" in errors
    assert tree(tmp_path / "out") == tree(many / "whole/out")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_what_is_done(many: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(many / "whole/in", tmp_path / "in")
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start("mask", "in", "-o", "out", *SMALL, "--workers", workers, folder=tmp_path)
    signal.signal(signal.SIGINT, previous)
    while not list((tmp_path / "out").glob("*.mask.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Error: interrupted; finished files are kept" in errors
    made, whole = tree(tmp_path / "out"), tree(many / "whole/out")
    assert made.items() <= whole.items()
    assert 2 <= len(made) < len(whole)


def test_two_runs_do_not_write_into_one_folder(run: Run, videos: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / NAME).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = run("mask", videos, "-o", tmp_path / "out", *PATCH_DIFF)
    assert result.exit_code == 2
    assert "another run is writing to it" in result.stderr


def test_workers_cannot_open_the_work(run: Run, videos: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "fixtures/parity-tiny", model)
    (model / "config.json").write_text("{}")
    result = run("trace", videos, "-o", tmp_path / "out", "--model", model, "--workers", 2)
    assert result.exit_code == 2
    assert result.stderr.count("Error: ") == 1
    assert tree(tmp_path / "out") == {}


def test_pages_and_their_index(run: Run, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_text("no video")
    out = tmp_path / "out"
    assert run("mask", videos, "-o", out, *PATCH_DIFF, "--frames", 2, "--report").exit_code == 3
    made = {name for name in tree(out) if name.endswith(".html")}
    assert made == {
        "a.report.html",
        "deep/b.report.html",
        "deep/er/c.report.html",
        "index.html",
    }
    index = (out / "index.html").read_text()
    assert all(name in index for name in made - {"index.html"})
    assert "broken.mp4" in index
    result = run("report", out, "--jsonl")
    for line in lines(result):
        validator("report.schema.json").validate(line)
    assert [line["event"] for line in lines(result)] == [*["kept"] * 3, "ended"]
    validator("report.schema.json").validate(json.loads(run("report", out, "--json").stdout))


def test_resume_from_another_folder(
    run: Run, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("-o", tmp_path / "out", *PATCH_DIFF, "--resume", "--jsonl")
    run("mask", videos, *arguments)
    monkeypatch.chdir(tmp_path)  # the name stands in the outputs: they are made anew
    result = run("mask", "in", *arguments)
    assert [line["event"] for line in lines(result)].count("finished") == 3
    result = run("mask", "in", *arguments)
    assert [line["event"] for line in lines(result)].count("skipped") == 3


def test_two_formats_in_one_folder_are_both_done(run: Run, videos: Path, tmp_path: Path) -> None:
    def events(form: str) -> list[str]:
        arguments = ("-o", tmp_path / "out", "--resume", "--jsonl", "--format", form)
        return [line["event"] for line in lines(run("trace", videos, *PATCH_DIFF, *arguments))]

    assert events("npz").count("finished") == events("csv").count("finished") == 3
    assert events("npz").count("skipped") == events("csv").count("skipped") == 3


def test_a_file_where_a_folder_should_be_fails_one_input(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    shutil.rmtree(videos / "deep" / "er")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").write_text("in the way")
    made = run("trace", videos, *PATCH_DIFF, "--frames", 2, "-o", tmp_path / "out")
    assert made.exit_code == 3
    assert "out/deep/b.trace.json: cannot be written: Not a directory" in made.stderr
    assert (tmp_path / "out" / "a.trace.json").is_file()


def test_an_input_that_is_replaced_before_its_turn_is_probed_again(
    run: Callable[..., Result], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for path in (first, second):
        shutil.copy(clip, path)

    def replaced(settings: GazeSettings) -> GazeSource:
        shutil.copy(ROOT / "fixtures/dog.mp4", second)  # the plan is made, and nothing has begun
        return open_source(settings)

    monkeypatch.setattr("autogaze_cli.jobs.videos.open_source", replaced)
    result = run("trace", first, second, *PATCH_DIFF, "--frames", 2, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    sizes = [
        (header.source_width, header.source_height)
        for header in (read_trace(tmp_path / f"out/{n}.trace.json").header for n in "ab")
    ]
    assert sizes == [(96, 64), (640, 360)]


def test_a_plan_ends_at_the_input_that_fails(run: Run, clip: Path) -> None:
    done = run("mask", "no.mp4", clip, "also-no.mp4", "--dry-run", "--fail-fast", "--json")
    assert done.exit_code == 3
    first, *others = json.loads(done.stdout)["inputs"]
    assert first["error"].startswith("no.mp4: no such file")
    assert all(other["error"].startswith("not looked at") for other in others)
    text = run("mask", "no.mp4", clip, "also-no.mp4", "--dry-run", "--fail-fast")
    assert text.exit_code == 3
    assert text.stdout.count("not looked at") == 2
