"""The options of the gaze: coverage, target scales, the model's own budget, aliases, presets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import autogaze_cli
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.budget import CoverageTracker
from autogaze_cli.media.videos import read_frames
from autogaze_cli.trace import Trace, read_trace

Run = Callable[..., Result]


@pytest.fixture
def traced(run: Run, clip: Path, tiny_model: Path, tmp_path: Path) -> Callable[..., Trace]:
    """``traced("--mode", "tiled")``: the trace of two frames."""

    def trace(*words: object) -> Trace:
        command = ("trace", clip, "--model", tiny_model, "--device", "cpu", "--frames", 2)
        result = run(*command, "-o", tmp_path, "--overwrite", *words)
        assert result.exit_code == 0, result.stderr
        return read_trace(tmp_path / "square.trace.json")

    return trace


def test_a_frame_ends_once_the_share_is_covered(traced: Callable[..., Trace]) -> None:
    every = ("--task-loss-requirement", "none", "--max-gaze-tokens-each-frame", 265)
    part = traced(*every, "--coverage-ratio", 0.3)
    assert part.header.settings["coverage_ratio"] == 0.3
    model = autogaze_cli.load_model(part.header.model)
    chunk = model.config.num_multi_token_pred
    for frame in part:
        assert chunk <= len(frame.fixations) < 265
        tracker = CoverageTracker(model.config.layout, 0.3)
        for token in frame.fixations.token[:-chunk]:
            tracker.mark(int(token))
        assert not tracker.done  # it goes on until the share is covered,
        for token in frame.fixations.token[-chunk:]:
            tracker.mark(int(token))
        budget = -(-int(np.ceil(0.3 * 196)) // chunk) * chunk
        assert len(frame.fixations) == budget or tracker.done  # and no further than the budget


def test_target_scales_are_those_of_generate(traced: Callable[..., Trace], clip: Path) -> None:
    scales, patch = (64, 128, 224, 448), 16
    words = ("--target-scales", "64+128+224+448", "--target-patch-size", patch)
    trace = traced(*words, "--gazing-ratio", 0.03)
    assert trace.header.scales == "64+128+224+448"
    assert trace.header.num_vision_tokens_each_frame == 16 + 64 + 196 + 784
    model = autogaze_cli.load_model(trace.header.model)
    rgb = np.stack([frame.rgb for frame in read_frames(clip)][:2])
    gaze = model.generate(
        model.preprocess(rgb, size=(448, 448)),
        gazing_ratio=0.03,
        target_scales=scales,
        target_patch_size=patch,
    )
    ids = (gaze.gazing_pos[0][~gaze.if_padded_gazing[0]] % 1060).tolist()
    assert trace.fixations.token.tolist() == ids
    assert set(trace.fixations.grid.tolist()) <= {4, 8, 14, 28}
    stream = traced(*words, "--gazing-ratio", 0.03, "--horizon-frames", 16)
    assert stream.fixations.token.tolist() == ids


def test_no_maximum_is_the_model_s_own(traced: Callable[..., Trace]) -> None:
    zero, own = traced("--max-gaze-tokens-each-frame", 0), traced()
    assert zero.fixations.token.tolist() == own.fixations.token.tolist()
    assert zero.header == own.header
    assert "coverage_ratio" not in own.header.settings


@pytest.mark.parametrize(
    ("alias", "mode"),
    [
        ("anyres", "tiled"),
        ("AnyRes-Tiled", "tiled"),
        ("full-res", "tiled-full"),
        ("fast", "resize"),
    ],
)
def test_a_mode_has_the_spellings_of_the_reference(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path, alias: str, mode: str
) -> None:
    command = ("trace", clip, "--model", tiny_model, "--frames", 1, "--device", "cpu", "--json")
    made = json.loads(run(*command, "-o", tmp_path, "--mode", alias).stdout)
    assert (made["mode"], made["settings"]["mode"]) == (mode, mode)
    called = autogaze_cli.trace_video(
        clip, model=tiny_model, frames=1, mode=alias, device="cpu", out_dir=tmp_path / "again"
    )
    assert called.document["mode"] == mode


def test_a_preset_is_above_the_defaults_and_below_the_rest(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("autogaze.toml").write_text("[mask]\ntile-batch-size = 2\n")
    monkeypatch.setenv("AUTOGAZE_BLEND_ALPHA", "0.5")
    command = ("mask", clip, "--preset", "tiled", "--top-k", 7, "--dry-run", "--json")
    rows = json.loads(run(*command).stdout)["settings"]
    found = {row["option"]: (row["value"], row["source"]) for row in rows}
    assert found["mode"] == ("tiled", "preset tiled")
    assert found["mask-visualization"] == ("scale-rows", "preset tiled")
    assert found["top-k"] == (7, "command line")
    assert found["tile-batch-size"] == (2, str(tmp_path / "autogaze.toml"))
    assert found["blend-alpha"] == (0.5, "environment, AUTOGAZE_BLEND_ALPHA")
    assert found["clip-len"] == (16, "default")


def test_a_preset_works_from_a_file_and_from_python(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("autogaze.toml").write_text('preset = "realtime"\nmask-source = "patch-diff"\n')
    drawn = json.loads(run("mask", clip, "--frames", 2, "--json").stdout)
    assert (drawn["inference_width"], drawn["mask_geometry"]) == (640, "deduplicated")
    again = autogaze_cli.render_mask(
        clip, frames=2, preset="realtime", mask_source="patch-diff", out_dir="again"
    )
    assert again.files["mask"].read_bytes() == Path("square.mask.gif").read_bytes()
    small = autogaze_cli.render_mask(
        clip,
        frames=2,
        preset="realtime",
        inference_height=32,
        mask_source="patch-diff",
        out_dir="small",
        gazing_ratio=0.5,
    )
    assert (small.document["inference_width"], small.document["inference_height"]) == (48, 32)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--coverage-ratio", 0), "coverage_ratio must be above 0 and at most 1, not 0"),
        (("--coverage-ratio", 2), "must be a finite number from 0 to 1"),
        (("--target-scales", "64+128"), "target_scales and target_patch_size belong together"),
        (("--target-scales", "a+b", "--target-patch-size", 16), "numbers of pixels joined by '+'"),
        (
            ("--target-scales", "64", "--target-patch-size", 16, "--mode", "tiled"),
            "target_scales need mode resize",
        ),
        (("--target-scales", "64", "--target-patch-size", 16), "target_scales has 1 scales"),
        (("--mode", "anyrest"), "must be one of resize, tiled, tiled-full, not 'anyrest'"),
        (("--preset", "viewer"), "'viewer' is not one of"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_code_2(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path, words: tuple[object, ...], says: str
) -> None:
    result = run("trace", clip, "--model", tiny_model, "--frames", 1, "-o", tmp_path, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_preset_that_is_not_there_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preset must be one of realtime, tiled, assets"):
        autogaze_cli.trace_video(clip, preset="viewer", out_dir=tmp_path)  # type: ignore[arg-type]
