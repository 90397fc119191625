"""The commands as calls: the same settings, the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import autogaze_cli
from autogaze_cli.batch.result import Result as Made
from autogaze_cli.errors import ConfigError, InputError

Run = Callable[..., Result]


def test_a_call_writes_what_its_command_writes(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGAZE_FRAMES", "9")  # a library does not heed the environment
    common = ("--mask-source", "patch-diff", "-o", "out", "--overwrite")
    calls: dict[str, Callable[..., Made]] = {
        "trace": autogaze_cli.trace_video,
        "mask": autogaze_cli.render_mask,
        "interframe": autogaze_cli.render_interframe,
        "readout": autogaze_cli.project_readout,
        "render-assets": autogaze_cli.render_assets,
    }
    monkeypatch.chdir(tmp_path)
    for command, call in calls.items():
        assert run(command, clip, *common, "--frames", 3).exit_code == 0
        result = call(clip, frames=3, mask_source="patch-diff", out_dir="again")
        for path in result.files.values():
            made = path.read_bytes().replace(b"again/", b"out/")
            assert made == Path("out", path.name).read_bytes(), path


def test_a_setting_that_is_not_there_has_a_suggestion(clip: Path) -> None:
    with pytest.raises(ConfigError, match="mask has no setting 'frame'") as error:
        autogaze_cli.render_mask(clip, frame=3)
    assert error.value.hint == "did you mean frames?"
    with pytest.raises(ConfigError, match="whole number"):
        autogaze_cli.render_mask(clip, frames=0)


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
    settings = {"mask_source": "patch-diff", "frames": 2, "out_dir": tmp_path / "out"}
    assert autogaze_cli.run_batch("trace", str(clip), **settings).exit_code() == 0
    with pytest.raises(InputError, match="is a folder"):
        autogaze_cli.trace_video(clip.parent, **settings)
    with pytest.raises(ConfigError, match="resume is of many inputs"):
        autogaze_cli.trace_video(clip, resume=True, **settings)
    made = tmp_path / "out" / f"{clip.stem}.trace.json"
    report = autogaze_cli.run_batch("readout", [], traces=[made], out_dir=tmp_path)
    assert report.exit_code() == 0


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
