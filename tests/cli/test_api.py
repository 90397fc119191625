"""The commands as calls: the same settings, the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import autogaze_cli
from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.result import Result as Made

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
