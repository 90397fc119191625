"""The commands as calls: the same settings, the same bytes."""

from __future__ import annotations

import inspect
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

import autogaze_cli
from autogaze_cli.batch.result import Result as Made
from autogaze_cli.cli.config import settled
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.jobs.values import Values

Run = Callable[..., Result]


def test_a_call_writes_what_its_command_writes(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGAZE_FRAMES", "9")  # a library does not heed the environment
    common = ("--mask-source", "patch-diff", "-o", "out", "--overwrite")
    monkeypatch.chdir(tmp_path)
    for command, call in CALLS.items():
        needed = NEEDED.get(command, {})
        words = [word for name, value in needed.items() for word in (f"--{name}", value)]
        assert run(command, clip, *common, *words, "--frames", 3).exit_code == 0
        result = call(clip, frames=3, mask_source="patch-diff", out_dir="again", **needed)
        for path in result.files.values():
            made = path.read_bytes().replace(b"again/", b"out/")
            assert made == Path("out", path.name).read_bytes(), path


CALLS: dict[str, Callable[..., Made]] = {
    "trace": autogaze_cli.trace_video,
    "mask": autogaze_cli.render_mask,
    "interframe": autogaze_cli.render_interframe,
    "readout": autogaze_cli.project_readout,
    "render-assets": autogaze_cli.render_assets,
    "encode": autogaze_cli.encode_video,
}
NEEDED: dict[str, Any] = {
    "encode": {
        "encoder": Path(__file__).parents[2] / "fixtures" / "encoders" / "siglip-tiny-p16",
        "device": "cpu",
    }
}
OF_THE_COMMAND_LINE = {"inputs", "more_inputs", "json", "jsonl", "live", "offline"}
OF_BATCHES = {"dry_run", "resume", "fail_fast", "workers", "engine", "address", "gpus_per_worker"}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_s_arguments_are_the_command_s_options(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    ctx = click.Context(command)
    options = {
        str(p.name): settled(ctx, p, p.get_default(ctx)) for p in command.params if p.expose_value
    }
    parameters = inspect.signature(CALLS[name]).parameters
    arguments = {n: p.default for n, p in parameters.items() if n != "video"}
    arguments["traces"] = ()  # a trace is named as the one input
    both = options.keys() & arguments.keys()
    assert options.keys() - arguments.keys() - {"traces"} == (
        (OF_THE_COMMAND_LINE - (set() if name in ("trace", "mask", "interframe") else {"live"}))
        | OF_BATCHES
    )
    assert arguments.keys() - options.keys() <= {"traces"}
    spelled = {"start": 0, "patch_size": 16} if name == "readout" else {"start": 0}
    for argument in both:
        expected = options[argument]
        if argument in spelled:
            assert expected in (None, (16, 16))
            expected = spelled[argument]
        assert arguments[argument] == expected, argument
    assert arguments.keys() <= Values.__annotations__.keys()


def test_a_setting_that_is_not_there_has_a_suggestion(clip: Path) -> None:
    settings: Any = {"frame": 3}
    with pytest.raises(ConfigError, match="mask has no setting 'frame'") as error:
        autogaze_cli.run_batch("mask", clip, **settings)
    assert error.value.hint == "did you mean frames?"
    with pytest.raises(ConfigError, match="frames must be within"):
        autogaze_cli.render_mask(clip, frames=0)
    with pytest.raises(ConfigError, match="no command over videos") as error:
        autogaze_cli.run_batch("masks", clip)
    assert error.value.hint == "did you mean mask?"
    with pytest.raises(ConfigError, match="fps must be frames per second"):
        autogaze_cli.render_mask(clip, fps="1/0")


def test_the_only_input_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.mp4"):
        autogaze_cli.trace_video(tmp_path / "no.mp4", mask_source="patch-diff")


def test_none_means_never_to_stop(clip: Path, tiny_model: Path, tmp_path: Path) -> None:
    made = autogaze_cli.trace_video(
        clip, frames=1, model=tiny_model, task_loss_requirement=None, out_dir=tmp_path
    )
    assert made.document["settings"]["task_loss_requirement"] is None
    made = autogaze_cli.trace_video(clip, frames=1, model=tiny_model, out_dir=tmp_path / "b")
    assert made.document["settings"]["task_loss_requirement"] is not None


def test_one_input_is_one_and_many_are_for_a_batch(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = autogaze_cli.run_batch(
        "trace", str(clip), mask_source="patch-diff", frames=2, out_dir=out
    )
    assert report.exit_code() == 0
    with pytest.raises(InputError, match="is a folder"):
        autogaze_cli.trace_video(clip.parent, mask_source="patch-diff")
    made = out / f"{clip.stem}.trace.json"
    report = autogaze_cli.run_batch("readout", [], traces=[made], out_dir=tmp_path)
    assert report.exit_code() == 0


def test_gaze_settings_beside_a_saved_trace_are_refused(clip: Path, tmp_path: Path) -> None:
    made = autogaze_cli.trace_video(clip, mask_source="patch-diff", frames=4, out_dir=tmp_path)
    trace = made.files["trace"]
    drawn = autogaze_cli.render_mask(clip, trace=trace, frames=2, out_dir=tmp_path)
    assert drawn.document["frames"] == 2
    with pytest.raises(ConfigError, match="--top-k cannot be used with the saved trace"):
        autogaze_cli.render_mask(clip, trace=trace, top_k=50, out_dir=tmp_path)
    read = autogaze_cli.project_readout(trace, model=None, frames=3, out_dir=tmp_path)
    assert read.document["shapes"]["frame_index"] == [3]
    with pytest.raises(ConfigError, match="--model cannot be used with the saved trace"):
        autogaze_cli.project_readout(trace, model="kestrel", out_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stdin", [False, True])
def test_workers_run_no_script_again(clip: Path, tmp_path: Path, stdin: bool) -> None:
    text = f"""
import autogaze_cli
print("once")
report = autogaze_cli.run_batch(
    "trace", [{str(clip)!r}, "other.mp4"], mask_source="patch-diff", workers=2
)
print(len(report.results))
"""
    shutil.copy(clip, tmp_path / "other.mp4")
    (tmp_path / "script.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-" if stdin else "script.py"],
        cwd=tmp_path,
        input=text if stdin else None,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert run.stdout == "once\n2\n"
