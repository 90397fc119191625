"""``trace``, ``mask`` and ``interframe``: formats, drawing from a trace, several inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from jsonschema import validate  # type: ignore[import-untyped]
from PIL import Image

import autogaze_cli
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import probe, read_frames
from autogaze_cli.readout import first_frames
from autogaze_cli.trace import read_trace, write_trace

PLAIN = ("--mask-source", "patch-diff")

Run = Callable[..., Result]

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FEW = ("--frames", 4, "--max-gaze-tokens-each-frame", 6)


def valid(path: Path, schema: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(path.read_text())
    validate(document, json.loads((SCHEMAS / schema).read_text()))
    return document


@pytest.mark.parametrize("form", ["json", "npz", "safetensors", "csv"])
def test_traces_say_how_they_were_made(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path, form: str
) -> None:
    result = run("trace", clip, "--model", tiny_model, "--format", form, "-o", tmp_path, *FEW)
    assert result.exit_code == 0, result.output
    trace = read_trace(tmp_path / f"square.trace.{form}")
    header = trace.header
    assert len(trace) == 4
    assert (header.source, header.width, header.height) == (str(clip), 96, 64)
    assert (header.mask_source, header.model) == ("autogaze", str(tiny_model))
    assert header.settings["max_gaze_tokens_each_frame"] == 6
    assert (header.fps, header.settings["frames"]) == (Fraction(8), 4)
    assert "threads" not in header.settings


def test_a_json_trace_is_valid(run: Run, clip: Path, tmp_path: Path) -> None:
    result = run("trace", clip, "--mask-source", "patch-diff", "-o", tmp_path, "--json")
    document = valid(tmp_path / "square.trace.json", "trace.schema.json")
    summary = json.loads(result.stdout)
    frames = document["frames"]
    assert isinstance(frames, list)
    assert summary["frames"] == len(frames) == 24
    assert summary["positive_fixations"] == sum(len(f["fixations"]["x"]) for f in frames) > 0
    assert summary["mask_source"] == document["mask_source"] == "patch-diff"
    assert summary["model"] is None


@pytest.mark.parametrize("command", ["mask", "interframe"])
@pytest.mark.parametrize("form", ["gif", "mp4", "webm", "png", "apng", "webp"])
def test_every_format(run: Run, clip: Path, tmp_path: Path, command: str, form: str) -> None:
    result = run(command, clip, "--format", form, "--frames", 3, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    document = valid(tmp_path / f"square.{command}.json", "metrics.schema.json")
    assert (document["gif_width"], document["gif_height"], document["frames"]) == (96, 64, 3)
    if form == "png":
        images = sorted((tmp_path / f"square.{command}").iterdir())
        assert len(images) == 3
        with Image.open(images[0]) as image:
            assert image.size == (96, 64)
        return
    info = probe(tmp_path / f"square.{command}.{form}")
    assert (info.width, info.height, info.frames) == (96, 64, 3)
    role = "mask" if command == "mask" else "output"
    assert document["output_files"] == {role: str(tmp_path / f"square.{command}.{form}")}


@pytest.mark.parametrize(
    ("size", "form", "drawn"),
    [((), "gif", (640, 427)), ((), "mp4", (1200, 800)), (("--gif-height", 80), "gif", (120, 80))],
)
def test_a_gif_is_at_most_640_wide_unless_asked(
    run: Run,
    clip: Path,
    tmp_path: Path,
    size: tuple[object, ...],
    form: str,
    drawn: tuple[int, int],
) -> None:
    wide = ("--frames", 1, "--inference-width", 1200)
    assert run("mask", clip, *wide, *size, "--format", form, "-o", tmp_path).exit_code == 0
    document = json.loads((tmp_path / "square.mask.json").read_text())
    assert (document["gif_width"], document["gif_height"]) == drawn


@pytest.mark.parametrize("command", ["mask", "interframe"])
def test_a_trace_redraws_the_same(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path, command: str
) -> None:
    sampled = ("--start", 0.5, "--fps", 4, "--inference-width", 48, "--inference-height", 32, *FEW)
    gazed = (clip, "--model", tiny_model, *sampled)
    assert run("trace", *gazed, "-o", tmp_path).exit_code == 0
    assert run(command, *gazed, "-o", tmp_path / "a").exit_code == 0
    trace = tmp_path / "square.trace.json"
    result = run(command, clip, "--trace", trace, "-o", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert f"from the trace {trace}" in result.stderr
    picture = f"square.{command}.gif"
    assert (tmp_path / "a" / picture).read_bytes() == (tmp_path / "b" / picture).read_bytes()
    one, two = (
        json.loads((tmp_path / x / f"square.{command}.json").read_text()) | {"output_files": None}
        for x in "ab"
    )
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--fps", 4), "frame 12 is not in the trace"),
        (("--frames", 8), "frame 8 is not in the trace"),
    ],
)
def test_another_video_than_the_trace_s_is_refused(
    run: Run, clip: Path, tmp_path: Path, arguments: tuple[object, ...], says: str
) -> None:
    """A trace that says nothing of how its frames were sampled; their numbers tell."""
    assert run("trace", clip, *arguments, "-o", tmp_path).exit_code == 0
    trace = tmp_path / "square.trace.json"
    document = json.loads(trace.read_text())
    document["settings"] |= {"fps": None, "frames": None}
    trace.write_text(json.dumps(document))
    result = run("mask", clip, "--trace", trace, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["mask", "interframe"])
def test_of_a_trace_frames_select_and_gaze_settings_are_refused(
    run: Run, clip: Path, tmp_path: Path, command: str
) -> None:
    assert run("trace", clip, *PLAIN, "-o", tmp_path).exit_code == 0
    trace = tmp_path / "square.trace.json"
    assert run(command, clip, *PLAIN, "--frames", 4, "-o", tmp_path / "a").exit_code == 0
    few = run(command, clip, "--trace", trace, "--frames", 4, "-o", tmp_path / "b")
    assert few.exit_code == 0, few.stderr
    picture = f"square.{command}.gif"
    assert (tmp_path / "a" / picture).read_bytes() == (tmp_path / "b" / picture).read_bytes()
    many = run(command, clip, "--trace", trace, "--frames", 99, "-o", tmp_path / "c")
    assert (many.exit_code, "99 frames" in many.stderr) == (2, True)
    for option in (
        "--top-k 5",
        "--model m",
        "--fps 2",
        "--start 1",
        "--device cpu",
        "--dtype float32",
    ):
        refused = run(command, clip, "--trace", trace, *option.split(), "-o", tmp_path / "c")
        assert refused.exit_code == 2
        assert f"{option.split()[0]} cannot be used with the saved trace {trace}" in refused.stderr
    assert not (tmp_path / "c").exists()


def test_a_trace_is_of_one_video(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("trace", clip, "-o", tmp_path).exit_code == 0
    trace = tmp_path / "square.trace.json"
    result = run("mask", clip, tmp_path / "other.mp4", "--trace", trace, "-o", tmp_path)
    assert (result.exit_code, result.stderr) == (2, "Error: --trace takes a single input, got 2\n")


def test_a_trace_without_frames_is_a_trace(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("trace", clip, *PLAIN, "--format", "npz", "-o", tmp_path).exit_code == 0
    empty = tmp_path / "empty.trace.json"
    write_trace(first_frames(read_trace(tmp_path / "square.trace.npz"), 0), empty, "json")
    result = run("mask", clip, "--trace", empty, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "its trace has no frames" in result.stderr


def test_outputs_mirror_the_inputs_and_one_failure_stops_no_other(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    for name in ("a/x.mp4", "b/x.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        shutil.copy(clip, tmp_path / "in" / name)
    (tmp_path / "in" / "bad.mp4").write_text("no video")
    out = tmp_path / "out"
    arguments = (tmp_path / "in", tmp_path / "no.mp4", "--frames", 2, "-o", out, "--json")
    result = run("mask", *arguments)
    assert result.exit_code == 3
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == [
        "a/x.mask.gif",
        "a/x.mask.json",
        "autogaze-manifest.jsonl",
        "b/x.mask.gif",
        "b/x.mask.json",
    ]
    said = json.loads(result.stdout)
    assert [d["source_video"] for d in said["results"]] == [
        str(tmp_path / "in" / name) for name in ("a/x.mp4", "b/x.mp4")
    ]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    bad, missing = tmp_path / "in" / "bad.mp4", tmp_path / "no.mp4"
    assert [str(bad) in errors[0], str(missing) in errors[1]] == [True, True]
    assert errors[2:] == [f"Error: 2 of 4 inputs failed: {bad}, {missing}"]


def test_two_inputs_with_one_output_fail_and_the_rest_is_done(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    for name in ("square.mov", "other.mp4"):
        shutil.copy(clip, tmp_path / name)
    videos = (clip, tmp_path / "square.mov", tmp_path / "other.mp4")
    result = run("trace", *videos, *PLAIN, "--frames", 2, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert f"{clip} and {tmp_path / 'square.mov'} would both write square.*" in result.stderr
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["other.trace.json"]


@pytest.mark.parametrize("command", ["mask", "interframe"])
def test_side_by_side_is_the_input_and_the_result(
    run: Run, clip: Path, tmp_path: Path, command: str
) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    words = (command, clip, "--frames", 3, "--mask-source", "patch-diff", "--format", "png")
    assert run(*words, "-o", alone).exit_code == 0
    result = run(*words, "-o", both, "--side-by-side", "--json")
    document = json.loads(result.stdout)
    assert (document["gif_width"], document["gif_height"]) == (192, 64)
    for n, frame in enumerate(read_frames(clip, Sampling(frames=3)), 1):
        name = f"square.{command}/frame_{n:06}.png"
        drawn = np.asarray(Image.open(both / name).convert("RGB"))
        np.testing.assert_array_equal(drawn[:, :96], frame.rgb)
        np.testing.assert_array_equal(
            drawn[:, 96:], np.asarray(Image.open(alone / name).convert("RGB"))
        )
    made = autogaze_cli.render_mask(
        clip, frames=2, mask_source="patch-diff", side_by_side=True, gif_width=40, out_dir=tmp_path
    )
    with Image.open(made.files["mask"]) as drawing:
        assert drawing.size == (80, 27)
