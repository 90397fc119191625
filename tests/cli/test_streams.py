"""Standard streams that are closed or full: messages may get lost, work and documents may not."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from autogaze_cli.media.video import Frame, Video

ROOT = Path(__file__).parents[2]
PLAIN = ("--mask-source", "patch-diff", "--frames", "2")


def shell(redirection: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = shlex.join([sys.executable, "-m", "autogaze_cli", *map(str, arguments)])
    return subprocess.run(
        ["bash", "-c", f"{command} {redirection}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-", ">&- 2>&- <&-"])
def test_lost_messages_stop_no_work(clip: Path, tmp_path: Path, redirection: str) -> None:
    done = shell(redirection, "trace", clip, *PLAIN, folder=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "square.trace.json").stat().st_size > 0
    if "2>" in redirection:
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("redirection", "says"), [(">&-", "stdout is closed"), (">/dev/full", "No space left")]
)
def test_a_lost_document_is_an_error(
    clip: Path, tmp_path: Path, redirection: str, says: str
) -> None:
    done = shell(redirection, "trace", clip, *PLAIN, "--json", folder=tmp_path)
    assert done.returncode == 3
    assert (tmp_path / "square.trace.json").stat().st_size > 0
    assert done.stderr.splitlines()[-1].startswith("Error: stdout")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("models", "list"), ("models", "path", "kestrel")])
def test_answers_are_documents_too(command: tuple[str, ...], tmp_path: Path) -> None:
    for redirection in (">&-", ">/dev/full"):
        done = shell(redirection, *command, folder=tmp_path)
        assert (done.returncode, done.stderr.startswith("Error: stdout")) == (2, True)


def test_a_lost_error_message_keeps_its_exit_code(tmp_path: Path) -> None:
    done = shell("2>/dev/full", "trace", "no.mp4", *PLAIN, folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize("name", ["a.mp4", "a.trace.json", "notes.txt"])
def test_only_a_log_is_appended_to(clip: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "a.trace.json").write_text('{"format": "autogaze-trace"}')
    (tmp_path / "notes.txt").write_text("mine\n")
    (tmp_path / "empty.log").touch()
    before = (tmp_path / name).read_bytes()
    words = ("trace", "a.mp4", *PLAIN, "-o", "out", "--overwrite", "--log-file")
    done = shell("", *words, name, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: log-file: {name}: is not a log, and is not appended to; name another file\n"
    )
    assert (tmp_path / name).read_bytes() == before
    for log in ("new.log", "new.log", "empty.log"):
        assert shell("", *words, log, folder=tmp_path).returncode == 0
    assert (tmp_path / "new.log").read_text().count("mask source") == 2


def test_a_log_waits_for_no_reader(clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = shell("", "trace", clip, *PLAIN, "--log-file", "pipe", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: pipe: No such device or address")
    read = shell("", "trace", clip, *PLAIN, "--log-file", "/dev/stdout", folder=tmp_path)
    assert read.returncode == 0
    assert "mask source: patch-diff" in read.stdout


def test_a_full_log_file_is_said_once(clip: Path, tmp_path: Path) -> None:
    done = shell("", "trace", clip, *PLAIN, "-v", "--log-file", "/dev/full", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("/dev/full: cannot be written any more") == 1
    assert "Traceback" not in done.stderr


def test_nothing_on_a_closed_stdin(clip: Path, tmp_path: Path) -> None:
    done = shell("<&-", "trace", "-", *PLAIN, folder=tmp_path)
    assert (done.returncode, "Error: -: " in done.stderr) == (2, True)


def test_plans_and_checks_escape_names_that_are_not_utf_8(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(clip, tmp_path / "in" / os.fsdecode(b"caf\xe9\x1b[2J.mp4"))
    plan = run("trace", tmp_path / "in", *PLAIN, "-o", tmp_path / "out", "--dry-run")
    assert plan.exit_code == 0
    assert "caf\\udce9\\x1b[2J.mp4" in plan.stdout
    check = run("render-assets", tmp_path / "in", *PLAIN, "-o", tmp_path / "out", "--check")
    assert check.exit_code == 1
    assert "caf\\udce9\\x1b[2J_input.gif: missing" in check.stdout


def test_a_closed_terminal_leaves_nothing_half_written(
    clip: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    process = subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", "mask", "-", *PLAIN[:2], "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(spool)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(clip.read_bytes()[:100])
    process.stdin.flush()
    while not list(spool.rglob("autogaze-*/*")):  # then it waits for the rest of the video
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    process.communicate()
    assert list(tmp_path.rglob("*")) == []


def test_what_a_killed_run_left_is_removed_by_the_next(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    code = """
import os, signal
from autogaze_cli.batch.outputs import Outputs
outputs = Outputs().__enter__()
outputs.add("square.trace.json").write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert [path.name[:10] for path in tmp_path.iterdir()] == [".autogaze-"]
    assert run("trace", clip, *PLAIN, "-o", tmp_path).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["square.trace.json"]


def test_a_source_that_changes_while_it_is_read_fails(
    run: Callable[..., Result], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "video.mp4"
    shutil.copy(clip, video)
    frames = Video.frames

    def touched(self: Video, *, require: bool = False) -> Iterator[Frame]:
        for frame in frames(self, require=require):
            os.utime(video, ns=(1, 1))
            yield frame

    monkeypatch.setattr(Video, "frames", touched)
    result = run("trace", video, *PLAIN, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "was changed while it was read" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_too_long_for_its_outputs_is_known_beforehand(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    video = tmp_path / ("x" * 250 + ".mp4")
    shutil.copy(clip, video)
    other = tmp_path / "fine.mp4"
    shutil.copy(clip, other)
    plan = run("trace", video, other, *PLAIN, "-o", tmp_path / "out", "--dry-run")
    assert plan.exit_code == 3
    assert "rename the input: its outputs are named after it" in plan.stdout


def test_a_current_folder_that_was_deleted(clip: Path, tmp_path: Path) -> None:
    """Paths from the root still lead somewhere."""
    for name, out, code in ((clip, tmp_path / "out", 0), ("clip.mp4", "out", 2)):
        gone = tmp_path / "gone"
        gone.mkdir()
        command = [sys.executable, "-m", "autogaze_cli", "trace", str(name), *PLAIN, "-o", str(out)]
        script = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", script, *command],
            cwd=gone,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert code == 0 or done.stderr == "Error: the current folder was deleted; go to another\n"
