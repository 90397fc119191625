"""Every gaze source without a model, under every command; and one that another package adds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import autogaze_cli
from autogaze_cli.trace import read_trace

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
ENCODER = ROOT / "fixtures" / "encoders" / "siglip-tiny-p16"
SOURCES = ("rlt", "evs", "codec", "random", "uniform")
SETTINGS: dict[str, dict[str, Any]] = {
    "rlt": {"rlt_threshold": 0.1, "rlt_tubelet": 2},
    "evs": {"pruning_rate": 0.75},
    "codec": {"codec_threshold": 0.25},
    "random": {"seed": 0, "max_gaze_tokens_each_frame": 19},
    "uniform": {"max_gaze_tokens_each_frame": 19},
}


def done(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", SOURCES)
def test_every_command_takes_every_source(name: str, run: Run, clip: Path, tmp_path: Path) -> None:
    plain = ("--mask-source", name, "--frames", 6, "-o", tmp_path, "--json")
    done(run("trace", clip, *plain, "--report"))
    trace = read_trace(tmp_path / "square.trace.json")
    assert trace.header.mask_source == name
    assert (trace.header.model, trace.header.tile_count) == (None, 1)
    assert trace.header.settings.items() >= SETTINGS[name].items()
    assert len(trace) == 6 < len(trace.fixations)
    assert (tmp_path / "square.report.html").is_file()

    document = done(run("interframe", clip, *plain, "--format", "mp4"))
    assert document["mask_source"] == name
    drawn = done(run("mask", clip, *plain, "--format", "png"))
    assert drawn["positive_fixations"] == len(trace.fixations)
    again = ("mask", clip, "--trace", tmp_path / "square.trace.json", "-o", tmp_path / "again")
    assert run(*again, "--format", "png").exit_code == 0
    pictures = [sorted((tmp_path / at / "square.mask").iterdir()) for at in ("", "again")]
    assert len(pictures[0]) == len(pictures[1]) == 6
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*pictures, strict=True))
    assets = done(run("render-assets", clip, *plain[:-3], "-o", tmp_path / "assets", "--json"))
    assert assets["mask_source"] == name

    projected = done(run("readout", clip, *plain, "--format", "json"))["projected_tokens"]
    assert 6 <= projected <= 6 * (96 // 16) * (64 // 16)
    encoded = done(run("encode", clip, *plain, "--encoder", ENCODER, "--device", "cpu"))
    assert encoded["mask_source"] == name


@pytest.mark.parametrize("name", SOURCES)
def test_batches_resume_and_refuse_other_settings(
    name: str, run: Run, clip: Path, tmp_path: Path
) -> None:
    for stem in "ab":
        (tmp_path / f"{stem}.mp4").write_bytes(clip.read_bytes())
    options = ("--mask-source", name, "--frames", 3, "-o", tmp_path / "out", "--resume")
    assert run("trace", tmp_path / "a.mp4", tmp_path / "b.mp4", *options).exit_code == 0
    made = (tmp_path / "out" / "a.trace.json").read_bytes()
    skipped = run("trace", tmp_path / "a.mp4", tmp_path / "b.mp4", *options)
    assert "2 skipped" in skipped.stderr
    budget = ("--exact", "--max-gaze-tokens-each-frame", 5)
    other = run("trace", tmp_path / "a.mp4", tmp_path / "b.mp4", *options, *budget, "--overwrite")
    assert (other.exit_code, "skipped" in other.stderr) == (0, False), other.stderr
    trace = read_trace(tmp_path / "out" / "a.trace.json")
    assert np.diff(trace.offsets).tolist() == [5] * 3
    assert (tmp_path / "out" / "a.trace.json").read_bytes() != made


@pytest.mark.parametrize("name", ["patch-diff", *SOURCES])
def test_a_live_stream_is_gazed_at_like_a_file(
    name: str, run: Run, clip: Path, tmp_path: Path
) -> None:
    options: tuple[object, ...] = ("--mask-source", name, "--frames", 7)
    if name == "evs":
        refused = run("trace", clip, "--live", *options, "-o", tmp_path)
        assert refused.exit_code == 2
        assert "a live stream has no last frame; give --exact and" in refused.stderr
        assert not list(tmp_path.iterdir())
        options = (*options, "--exact", "--max-gaze-tokens-each-frame", 9)
    assert run("trace", clip, *options, "-o", tmp_path / "file").exit_code == 0
    assert run("trace", clip, "--live", *options, "-o", tmp_path / "live").exit_code == 0
    file, live = (read_trace(tmp_path / at / "square.trace.json") for at in ("file", "live"))
    assert len(live) == 7
    assert np.array_equal(file.offsets, live.offsets)
    for column, values in file.fixations.columns().items():
        assert np.array_equal(values, live.fixations.columns()[column])


def test_python_calls_take_the_settings_too(clip: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"exact": True, "max_gaze_tokens_each_frame": 4, "seed": 7}
    result = autogaze_cli.trace_video(
        clip, mask_source="random", frames=2, out_dir=tmp_path, **options
    )
    assert result.document["settings"].items() >= options.items()
    assert result.document["positive_fixations"] == 8


def test_exact_is_the_same_promise_with_a_model(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = ("--model", tiny_model, "--device", "cpu", "--frames", 3, "-o", tmp_path)
    budget = ("--max-gaze-tokens-each-frame", 12, "--task-loss", 1000)
    assert run("trace", clip, *model, *budget).exit_code == 0
    stopped = read_trace(tmp_path / "square.trace.json")
    assert (np.diff(stopped.offsets) < 12).all()  # a loss that any gaze reaches at once
    assert run("trace", clip, *model, *budget, "--exact", "--overwrite").exit_code == 0
    assert np.diff(read_trace(tmp_path / "square.trace.json").offsets).tolist() == [12] * 3


def test_an_unknown_source_is_refused_by_its_name(run: Run, clip: Path, tmp_path: Path) -> None:
    for name, hint in (("kodec", "did you mean codec?"), ("x", "is the package that adds it")):
        refused = run("trace", clip, "--mask-source", name, "-o", tmp_path)
        assert refused.exit_code == 2
        assert "mask_source must be one of autogaze, patch-diff, rlt, " in refused.stderr
        assert f"not '{name}'; {hint}" in refused.stderr
    assert not list(tmp_path.iterdir())


def installed(folder: Path, module: str, code: str, entry: str) -> dict[str, str]:
    """A package put where Python finds it, as an installer would; the environment to see it."""
    folder.mkdir()
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[autogaze.sources]\n{entry}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def trace_in(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autogaze_cli", "trace", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_example_of_the_documents_adds_a_source(clip: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sources.md").read_text()
    (code,) = re.findall(r"```python\n(# autogaze_edges\.py\n.*?)```", page, re.DOTALL)
    (entry,) = re.findall(r"^edges = \"(.*?)\"$", page, re.MULTILINE)
    environment = installed(tmp_path / "site", "autogaze_edges", code, f"edges = {entry}")
    out = tmp_path / "out"
    made = trace_in(
        environment, clip, "--mask-source", "edges", "--frames", 3, "-o", out, "--exact",
        *("--max-gaze-tokens-each-frame", 30),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    trace = read_trace(out / "square.trace.json")
    assert trace.header.mask_source == "edges"
    assert np.diff(trace.offsets).tolist() == [30] * 3
    # The square's right edge, at x = 16 and y from 20 to 36 of 96 x 64.
    best = trace.frame(0).fixations.select(slice(5))
    assert (abs(best.x - 16 / 96) < 0.04).all()
    assert ((best.y > 0.2) & (best.y < 0.65)).all()


def test_a_broken_package_is_named(clip: Path, tmp_path: Path) -> None:
    broken = installed(tmp_path / "a", "bad_source", "import nothing_here", "bad = bad_source:Bad")
    made = trace_in(broken, clip, "--mask-source", "bad", "-o", tmp_path / "out")
    assert made.returncode == 2
    assert "gaze source bad of bad_source cannot be imported (No module named" in made.stderr
    assert "Traceback" not in made.stderr
    entries = "rlt = no_source:Bad\nbad = no_source:Bad"
    other = installed(tmp_path / "b", "no_source", "Bad = 3", entries)
    made = trace_in(other, clip, "--mask-source", "bad", "-o", tmp_path / "out")
    assert "no_source:Bad is not a subclass of GazeSource" in made.stderr
    assert trace_in(other, clip, "--mask-source", "rlt", "-o", tmp_path / "out").returncode == 0
