"""What goes wrong: one line, the right exit code, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from autogaze_cli.cli.main import COMMANDS

Run = Callable[..., Result]

SMALL = ("--inference-width", 32, "--inference-height", 32)


@pytest.fixture
def bad(tmp_path: Path, clip: Path, sound: Path) -> Path:
    """A folder of inputs that cannot be used, and one that can."""
    folder = tmp_path / "bad"
    folder.mkdir()
    shutil.copy(clip, folder / "good.mp4")
    shutil.copy(sound, folder / "sound.wav")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video\n")
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:-600])
    (folder / "folder").mkdir()
    (folder / "model").mkdir()
    return folder


OF_VIDEOS = [
    name
    for name in COMMANDS
    if name
    not in (
        "audit-readout",
        "bench",
        "calibrate",
        "compare",
        "config",
        "encode",
        "models",
        "report",
        "view",
        "viewer",
    )
]
CASES = [
    pytest.param(("missing.mp4",), "no such file", id="missing file"),
    pytest.param(("folder",), "folder", id="folder"),
    pytest.param(("text.mp4",), "cannot be opened as a video", id="unreadable"),
    pytest.param(("sound.wav",), "has only sound", id="audio only"),
    pytest.param(("empty.mp4",), "is empty", id="empty"),
    pytest.param(("cut.mp4",), "truncated: ", id="truncated"),
    pytest.param(("good.mp4", "--frames", "99"), "24 frames were decoded, 99 were", id="too few"),
    pytest.param(("good.mp4", "--start", "60"), "no frame at or after 60 s", id="starts too late"),
    pytest.param(("good.mp4", "--model", "model"), "config.json", id="model without weights"),
    pytest.param(("good.mp4", "--model", "nowhere"), "nowhere", id="no such model"),
    pytest.param(("good.mp4", "--device", "cuda:99"), "cuda:99", id="no such device"),
    pytest.param(("good.mp4", "--device", "tpu"), "tpu", id="unknown device"),
    pytest.param(("good.mp4", "--stride", "9999"), "stride 9999", id="stride with gaps"),
    pytest.param(
        ("good.mp4", "--gazing-ratio", "0.5", "--max-gaze-tokens-each-frame", "5"),
        "give one of them",
        id="two budgets",
    ),
    pytest.param(("good.mp4", "--frames", "0"), "at least 1, not '0'", id="zero"),
    pytest.param(("good.mp4", "--fps", "nan"), "not 'nan'", id="NaN"),
    pytest.param(("good.mp4", "--no-such-option"), "No such option", id="unknown option"),
    pytest.param(("good.mp4", "--frames"), "requires an argument", id="no value"),
    pytest.param((), "no input given", id="no input"),
    pytest.param(("good.mp4", "-o", "text.mp4"), "text.mp4", id="output folder is a file"),
]


@pytest.mark.parametrize("command", OF_VIDEOS)
@pytest.mark.parametrize(("arguments", "says"), CASES)
def test_one_line_and_nothing_written(
    run: Run,
    bad: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(bad)
    rate = () if "--fps" in arguments else ("--fps", 8)
    before = sorted(bad.rglob("*"))
    result = run(command, "-q", *SMALL, *rate, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert isinstance(result.exception, SystemExit)
    assert sorted(bad.rglob("*")) == before


@pytest.mark.parametrize("command", OF_VIDEOS)
def test_existing_outputs_stay_unless_overwritten(
    run: Run, bad: Path, command: str, tmp_path: Path
) -> None:
    base = (command, "-q", bad / "good.mp4", *SMALL, "--frames", 2, "-o", tmp_path / "out")
    assert run(*base).exit_code == 0
    files = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for path in files:
        path.write_text("mine")
        result = run(*base)
        assert result.exit_code == 2
        assert "already exists; give --overwrite" in result.stderr
        assert path.read_text() == "mine"
    assert run(*base, "--overwrite").exit_code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_a_failure_keeps_the_old_outputs(run: Run, bad: Path, tmp_path: Path) -> None:
    base = ("render-assets", "-q", bad / "good.mp4", *SMALL, "-o", tmp_path / "out")
    assert run(*base, "--frames", 2).exit_code == 0
    files = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert run(*base, "--frames", 99, "--overwrite").exit_code == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_a_damaged_trace(run: Run, bad: Path) -> None:
    result = run("mask", bad / "good.mp4", "--trace", bad / "text.mp4", "-o", bad)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {bad / 'text.mp4'}: is not a trace")


ODD_SETTINGS: dict[str, tuple[object, ...]] = {
    "start": ("1/0", "abc", "1e99999999", -1, [], {}, True, "9" * 99),
    "fps": ("1/0", "abc", "1e99999999", 0, "-1", [], True),
    "frames": (-1, 0, "4", 1.5, [], True),
    "stream": ("0", [], 1.5, -1),
    "tone_map": ("some", 1, []),
    "allow_truncated": ("no", 1),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, odd in ODD_SETTINGS.items() for value in odd]
)
def test_a_trace_whose_settings_are_odd(run: Run, bad: Path, name: str, value: object) -> None:
    trace = bad / "good.trace.json"
    common = ("--mask-source", "patch-diff", "-o", bad)
    assert run("trace", bad / "good.mp4", "--frames", 2, *common).exit_code == 0
    content = json.loads(trace.read_text())
    content["settings"][name] = value
    trace.write_text(json.dumps(content))
    result = run("mask", bad / "good.mp4", "--trace", trace, "-o", bad)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {trace}: in its settings, {name} ")
    result = run("report", bad)
    assert result.exit_code == 3  # and the index is there
    assert f"in its settings, {name} " in result.stderr


@pytest.mark.parametrize("fps", [str(2**63 - 1), f"1/{2**63 - 1}"])
def test_a_trace_whose_rate_is_odd(run: Run, bad: Path, fps: str) -> None:
    trace = bad / "good.trace.json"
    common = ("--mask-source", "patch-diff", "-o", bad)
    assert run("trace", bad / "good.mp4", "--frames", 2, *common).exit_code == 0
    content = json.loads(trace.read_text())
    content["fps"] = fps
    trace.write_text(json.dumps(content))
    result = run("mask", bad / "good.mp4", "--trace", trace, "--format", "mp4", "-o", bad)
    assert result.exit_code == 2
    assert "frames per second; trace the video again" in result.stderr


def test_the_traceback_comes_with_vv_and_always_to_the_log_file(run: Run, bad: Path) -> None:
    log = bad / "logs" / "run.log"
    plain = run("trace", bad / "text.mp4", "--log-file", log)
    assert "Traceback" not in plain.stderr
    assert "InputError" in log.read_text()
    loud = run("-vv", "trace", bad / "text.mp4")
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1].startswith("Error: ")


def test_an_unforeseen_error_is_one_line_too(
    run: Run, bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of two\nlines")

    monkeypatch.setattr("autogaze_cli.jobs.videos.announce", fail)
    result = run("trace", bad / "good.mp4", "-o", bad)
    assert result.exit_code == 2
    says = "Error: unexpected RuntimeError: of two lines; -vv shows the traceback\n"
    assert result.stderr == says


def test_a_name_of_any_bytes_stays_one_line_and_valid_json(clip: Path, tmp_path: Path) -> None:
    video = tmp_path / os.fsdecode(b"two\nlines \xff.mp4")
    shutil.copy(clip, video)
    command = (sys.executable, "-m", "autogaze_cli", "trace", video, "-o", tmp_path)
    done = subprocess.run(
        [*command, "--mask-source", "patch-diff", "--frames", "2", "--json", "--log-file", "log"],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    json.loads(done.stdout.decode())
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "two" in (tmp_path / "log").read_text()
