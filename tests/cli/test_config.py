"""Options from the environment and from TOML files, and where each value comes from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from autogaze_cli.cli.main import COMMANDS, cli

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def shown(run: Run, *arguments: object) -> dict[str, tuple[Any, str]]:
    result = run("config", "show", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return {row["option"]: (row["value"], row["source"]) for row in json.loads(result.stdout)}


def test_the_command_line_wins_then_the_environment_then_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("autogaze.toml").write_text(
        'frames = 7\nmask_source = "patch-diff"\n[mask]\nfps = 4\nmask-geometry = "effective"\n'
    )
    file = str(Path.cwd() / "autogaze.toml")
    monkeypatch.setenv("AUTOGAZE_FPS", "30000/1001")
    monkeypatch.setenv("AUTOGAZE_INTERFRAME_FRAMES", "3")
    mask = shown(run, "mask")
    assert mask["frames"] == (7, file)
    assert mask["fps"] == ("30000/1001", "environment, AUTOGAZE_FPS")
    assert mask["mask-geometry"] == ("effective", file)
    assert mask["top-k"] == (1, "default")
    assert shown(run, "interframe")["frames"] == (3, "environment, AUTOGAZE_INTERFRAME_FRAMES")
    assert shown(run, "trace")["mask-source"] == ("patch-diff", file)


def test_a_command_obeys_the_file_and_the_environment(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pyproject.toml").write_text(
        "[tool.autogaze]\nframes = 7\n[tool.autogaze.mask]\ngif-width = 48\n"
        "[tool.autogaze.audit]\nrequire_helpers = true\n"  # read by audit-readout itself
    )
    monkeypatch.setenv("AUTOGAZE_MASK_SOURCE", "patch-diff")
    monkeypatch.setenv("AUTOGAZE_JSON", "1")
    said = json.loads(run("mask", clip).stdout)
    assert (said["frames"], said["mask_source"], said["gif_width"]) == (7, "patch-diff", 48)
    said = json.loads(run("mask", clip, "--frames", 2, "--overwrite").stdout)
    assert said["frames"] == 2


def test_a_named_file_stands_for_the_one_that_would_be_found(run: Run, tmp_path: Path) -> None:
    Path("autogaze.toml").write_text("frames = 7\n")
    other = tmp_path / "other.toml"
    other.write_text("frames = 9\n")
    assert shown(run, "mask", "--config", other)["frames"] == (9, str(other))
    result = run("--config", other, "config", "show", "mask", "--json")
    assert {"command": "mask", "option": "frames", "value": 9, "source": str(other)} in json.loads(
        result.stdout
    )


def test_the_search_ends_at_the_repository(run: Run, tmp_path: Path) -> None:
    (tmp_path / "autogaze.toml").write_text("frames = 5\n")
    assert shown(run, "mask")["frames"][0] == 5
    Path(".git").mkdir()
    assert shown(run, "mask")["frames"] == (None, "default")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("framse = 7", "unknown key 'framse'; did you mean frames?"),
        ("[msak]\nframes = 7", "unknown key 'msak'; did you mean mask?"),
        ("[mask]\nmask_geometri = 7", "did you mean mask-geometry?"),
        ("[mask]\nconfig = 'x'", "unknown key 'mask.config'"),
        ("frames = ", "not valid TOML"),
        ("frames = 2024-01-01", "must be a string, a number"),
        ('out_dir = "\\u0000"', "must be a string, a number"),
        ("frames = " + "[" * 5000, "not valid TOML"),
        ("frames = 0", "must be a whole number of at least 1"),
        ("resume = 1", "resume must be true or false, not 1"),
        ("mask = 1", "write a table, [mask]"),
    ],
)
def test_a_file_that_cannot_be_meant(run: Run, clip: Path, text: str, says: str) -> None:
    Path("autogaze.toml").write_text(text)
    result = run("mask", clip)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "overwrite = true",
        'log-file = "x.log"',
        'address = "ray://head:10001"',
        'engine = "ray"',
        "live = true",
        "dry-run = true",
        '[view]\nhost = "0.0.0.0"',
        "[audit-readout]\nexit-zero = true",
        "[audit-readout]\nlist-rules = true",
        "[audit-readout]\nfile-time-limit = 1e9",
        'input = "/somewhere/private.mp4"',
        'input = ["clips/", "../private.mp4"]',
        'input = "link/private.mp4"',
        'input = "@list.txt"',
        'trace = "../private.trace.json"',
        '[report]\nvideos = "/somewhere"',
        '[compare]\ncheck = "../assets"',
        'out-dir = "/somewhere"',
        'out-dir = "../.."',
        'out-dir = "link"',
    ],
)
def test_a_file_that_was_only_found_reaches_nothing_else(
    run: Run, clip: Path, tmp_path: Path, line: str
) -> None:
    Path("link").symlink_to(tmp_path)
    Path("autogaze.toml").write_text(f"frames = 1\n{line}\n")
    result = run("mask", clip, "--mask-source", "patch-diff")
    assert result.exit_code == 2
    assert "is not taken from a file that was only found" in result.stderr
    assert "name it: --config" in result.stderr
    named = run(
        "mask", clip, "--mask-source", "patch-diff", "--dry-run", "--config", "autogaze.toml"
    )
    assert "is not taken" not in named.stderr


def test_a_found_file_may_name_paths_below_its_own(run: Run, clip: Path) -> None:
    shutil.copy(clip, "clip.mp4")
    Path("autogaze.toml").write_text(
        'frames = 1\nmask-source = "patch-diff"\nout-dir = "made"\n[mask]\ninput = ["./*.mp4"]\n'
    )
    assert run("mask").exit_code == 0
    assert len(list(Path("made").iterdir())) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("[tool]\n" + ".".join("a" * 50_000) + " = 1\n"),
        lambda path: path.write_text("#" * (2 << 20)),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
    ],
)
def test_no_pyproject_takes_memory_or_waits(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "work" / "pyproject.toml")
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
        "from autogaze_cli.cli.main import cli; cli()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "show"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nautogaze = 3"])
def test_a_pyproject_of_another_shape(run: Run, text: str) -> None:
    Path("pyproject.toml").write_text(text)
    result = run("config", "show")
    assert "unexpected" not in result.stderr
    assert result.exit_code == (2 if "autogaze" in text else 0)


def test_a_wrong_value_tells_where_it_stands(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("autogaze.toml").write_text("workers = true")
    assert "not 'true' (from " in run("mask", clip).stderr
    monkeypatch.setenv("AUTOGAZE_WORKERS", "many")
    assert "not 'many' (from environment, AUTOGAZE_WORKERS)" in run("mask", clip).stderr


def test_a_file_that_is_not_there(run: Run, clip: Path) -> None:
    result = run("mask", clip, "--config", "no.toml")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: no.toml: cannot be read: No such file or directory\n",
    )


def test_every_option_has_a_variable_of_its_own() -> None:
    ctx = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            continue
        for param in command.params:
            if isinstance(param, click.Option):
                variables = param.envvar
                assert isinstance(variables, list), f"{name} {param.name}"
                assert variables[1].startswith("AUTOGAZE_")


def test_values_are_completed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    complete = BashComplete(cli, {}, "autogaze", "_AUTOGAZE_COMPLETE")

    def completed(*words: str) -> list[str]:
        return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]

    assert completed("render") == ["render-assets"]
    assert "kestrel" in completed("mask", "--model", "")
    assert completed("mask", "--format", "m") == ["mp4"]
    assert completed("mask", "--mask-geometry", "e") == ["effective"]
    assert completed("trace", "--mask-source", "p") == ["patch-diff"]


def test_a_byte_order_mark_is_no_part_of_the_file(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("autogaze.toml").write_bytes(b"\xef\xbb\xbfframes = 3\n")
    rows = json.loads(run("config", "show", "trace", "--json").stdout)
    assert {row["option"]: row["value"] for row in rows}["frames"] == 3


def test_somebody_s_broken_pyproject_is_no_error(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[project]\nname = {{ cookiecutter.name }}\n")
    result = run("config", "show", "trace")
    assert result.exit_code == 0
    assert "Warning: " in result.stderr
    Path("pyproject.toml").write_text("[tool.autogaze]\nframes = {{ n }}\n")
    result = run("config", "show", "trace")
    assert (result.exit_code, "not valid TOML" in result.stderr) == (2, True)


def test_true_is_no_path(run: Run) -> None:
    Path("options.toml").write_text("output = true\n")
    done = run("viewer", "--config", "options.toml")
    assert done.exit_code == 2
    assert "true: " in done.stderr
    assert "unexpected" not in done.stderr
