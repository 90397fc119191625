"""How options are spelled, what they accept, and which settings they become."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from autogaze_cli.cli.main import COMMANDS, cli
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.jobs import request as request_of
from autogaze_cli.jobs.request import make_request
from autogaze_cli.jobs.settings import BatchSettings
from autogaze_cli.media.sampling import Sampling


def values(*arguments: str, command: str = "render-assets") -> Any:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return found.make_context(command, list(arguments)).params


@pytest.mark.parametrize(
    ("names", "text", "key", "value"),
    [
        (["--input", "--source-video", "-i"], "a.mp4", "more_inputs", ("a.mp4",)),
        (["--model", "--model-dir"], "m", "model", "m"),
        (["--out-dir", "--output-dir", "-o"], "d", "out_dir", "d"),
        (["--inference-width", "--width"], "640", "inference_width", 640),
        (["--inference-height", "--height"], "360", "inference_height", 360),
        (["--gif-width", "--display-width"], "64", "gif_width", 64),
        (["--gif-height", "--display-height"], "+36", "gif_height", 36),
        (["--fps"], "12", "fps", Fraction(12)),
        (["--fps"], "30000/1001", "fps", Fraction(30000, 1001)),
        (["--start"], "1:02.5", "start", Fraction(125, 2)),
        (["--frames"], "3", "frames", 3),
        (["--clip-len", "--frames-per-clip"], "4", "clip_len", 4),
        (["--top-k"], "5", "top_k", 5),
        (["--max-gaze-tokens-each-frame"], "9", "max_gaze_tokens_each_frame", 9),
        (["--task-loss-requirement", "--task-loss"], "0.5", "task_loss_requirement", 0.5),
        (["--task-loss-requirement", "--task-loss"], " OFF ", "task_loss_requirement", None),
        (["--task-loss"], "none", "task_loss_requirement", None),
        (["--task-loss"], "False", "task_loss_requirement", None),
        (["--task-loss"], "", "task_loss_requirement", None),
        (
            ["--task-loss-requirement-db", "--task-loss-db", "--task-psnr-db"],
            "3",
            "task_loss_requirement_db",
            3.0,
        ),
        (["--tile-size"], "112", "tile_size", 112),
        (["--stride"], "56", "stride", 56),
        (["--tile-batch-size", "--tile-batch", "--tiles-per-batch"], "2", "tile_batch_size", 2),
        (["--mask-cell-scale"], "25e-2", "mask_cell_scale", 0.25),
        (["--blend-alpha"], "0.25", "blend_alpha", 0.25),
        (["--keyframe-duration"], "1", "keyframe_duration", 1),
        (["--mask-geometry"], " Dedup ", "mask_geometry", "deduplicated"),
        (["--mask-visualization"], "ROWS", "mask_visualization", "scale-rows"),
        (["--visualization-mode"], "alpha", "visualization_mode", "full-blend"),
    ],
)
def test_every_spelling(names: list[str], text: str, key: str, value: object) -> None:
    for name in names:
        assert values(name, text)[key] == value


@pytest.mark.parametrize(
    ("arguments", "requirement"),
    [
        ((), "model"),
        (("--task-loss", "none"), None),
        (("--task-loss", "0.2", "--task-loss-db", "6"), 0.5011872053146362),
        (("--task-loss-db", "6", "--task-loss", "0.2"), 0.2),
        (("--task-loss", "0.1", "--task-psnr-db", "6", "--task-loss-requirement=none"), None),
        (("--task-loss-db", "0", "--task-loss", "off", "--task-loss-db=0"), 1.0),
    ],
)
def test_the_later_task_loss_wins(arguments: tuple[str, ...], requirement: object) -> None:
    assert request_of.gaze_settings(values(*arguments)).task_loss_requirement == requirement


@pytest.fixture
def no_models(tmp_path: Path) -> Path:
    """Bundled models of which none is the default."""
    (tmp_path / "models.json").write_text('{"default": null, "models": []}')
    return tmp_path


def test_the_mask_source_follows_the_model(no_models: Path) -> None:
    plain = request_of.gaze_settings(values(), no_models)
    model = request_of.gaze_settings(values("--model", "m"))
    forced = request_of.gaze_settings(values("--model", "m", "--mask-source", "patch-diff"))
    assert (plain.mask_source, plain.mode) == ("patch-diff", "tiled")
    assert (model.mask_source, model.model) == ("autogaze", "m")
    assert (forced.mask_source, forced.model) == ("patch-diff", None)
    with pytest.raises(ConfigError, match="needs a model"):
        request_of.gaze_settings(values("--mask-source", "autogaze"), no_models)


@pytest.mark.parametrize("command", ["trace", "mask", "interframe"])
def test_without_options_the_gaze_settings_are_the_library_s(command: str, no_models: Path) -> None:
    assert request_of.gaze_settings(values(command=command), no_models) == GazeSettings()


def test_render_assets_has_the_reference_settings() -> None:
    request = make_request("render-assets", ["a.mp4"], values("--input", "a.mp4"))
    assert request.sampling == Sampling(
        start=Fraction(0), frames=16, fps=Fraction(8), width=1920, height=1080
    )
    assert request.drawing is not None
    how = request.drawing.visualization
    assert (how.mask_visualization, how.mask_geometry) == ("overlay", "native")
    assert (how.visualization_mode, how.keyframe_duration) == ("interframe", 12)
    assert (how.mask_cell_scale, how.blend_alpha) == (1.0, 0.55)
    assert (request.drawing.width, request.drawing.height) == (384, 216)
    assert request.batch == BatchSettings()
    gaze = request.gaze
    assert (gaze.tile_size, gaze.tile_batch_size, gaze.clip_len, gaze.top_k) == (224, 8, 16, 10)


COUNTS = (
    "--inference-width --inference-height --gif-width --gif-height --frames --clip-len --top-k "
    "--max-gaze-tokens-each-frame --tile-size --stride --tile-batch-size --keyframe-duration "
    "--patch-diff-grid --threads"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in COUNTS.split() for text in ("-1", "1.5", "1_0", " 1", "")),
        *((name, "0") for name in COUNTS.split() if name != "--max-gaze-tokens-each-frame"),
        *(("--fps", text) for text in ("0", "-8", "nan", "inf", "1/0", "eight")),
        *(("--start", text) for text in ("-1", "nan", "1:2:3:4")),
        *(("--mask-cell-scale", text) for text in ("nan", "inf", "1_0", "x", "0", "-1")),
        *(("--blend-alpha", text) for text in ("nan", "-inf", "", "-0.1", "1.1")),
        *(("--gazing-ratio", text) for text in ("nan", "-0.1", "1.1")),
        *(("--task-loss", text) for text in ("nan", "inf", "-0.5", "often")),
        *(("--task-loss-db", text) for text in ("nan", "inf", "-1", "none")),
        *(("--patch-diff-threshold", text) for text in ("nan", "-1")),
        *((f"--{name}", "x") for name in ("mask-geometry", "mask-visualization", "mode", "dtype")),
    ],
)
def test_out_of_range_is_one_line(run: Callable[..., Result], name: str, text: str) -> None:
    result = run("render-assets", "no.mp4", f"{name}={text}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: Invalid value for ")
    assert name in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    [
        *("--inference-width", "--gif-width", "--frames", "--start", "--tile-size", "--stride"),
        *("--tile-batch-size", "--clip-len", "--top-k", "--max-gaze-tokens-each-frame"),
        *("--patch-diff-grid", "--threads"),
    ],
)
def test_too_much_for_any_machine_is_one_line(
    run: Callable[..., Result], clip: Path, tmp_path: Path, name: str
) -> None:
    result = run("render-assets", clip, "-q", "-o", tmp_path / "out", name, 10**25)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "must be within" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_other_commands_allow_one_keyframe_only() -> None:
    assert values("--keyframe-duration", "0", command="interframe")["keyframe_duration"] == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_verbosity_is_accepted_before_and_after_the_command(
    run: Callable[..., Result], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["-vv", name, "no.mp4"], [name, "-vv", "no.mp4"], ["-v", name, "-v", "no"]):
        assert "Traceback" in run(*arguments).stderr
    for arguments in ([name, "-v", "no.mp4"], [name, "no.mp4"]):
        assert "Traceback" not in run(*arguments).stderr
