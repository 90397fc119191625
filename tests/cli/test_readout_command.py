"""``autogaze readout``: from videos and from saved traces, and without PyTorch from those."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from autogaze_cli.readout import FORMATS, read_readout

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "fixtures" / "traces"
SMALL = ("--patch-size", "16x32", "--tubelet-size", 1)


def arrays(path: Path) -> dict[str, Any]:
    return {name: array.tolist() for name, array in read_readout(path).arrays.items()}


@pytest.fixture
def trace(run: Run, clip: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """The gaze of a model at eight frames of 96 x 64."""
    gazed = ("--model", tiny_model, "--frames", 8, "--max-gaze-tokens-each-frame", 7)
    assert run("trace", clip, *gazed, "-o", tmp_path / "traces").exit_code == 0
    return tmp_path / "traces" / "square.trace.json"


def test_a_video_and_its_trace_give_the_same_bytes(
    run: Run, clip: Path, tiny_model: Path, trace: Path, tmp_path: Path
) -> None:
    how = ("--tubelet-size", 2, "--emit", "rects,tokens,coords,gazing-info", "--format", "json")
    gazed = ("--model", tiny_model, "--frames", 8, "--max-gaze-tokens-each-frame", 7)
    assert run("readout", clip, *gazed, *how, "-o", tmp_path / "a").exit_code == 0
    assert run("readout", trace, *how, "-o", tmp_path / "b").exit_code == 0
    assert run("readout", "--trace", trace, *how, "-o", tmp_path / "c").exit_code == 0
    one, two, three = (tmp_path / x / "square.readout.json" for x in "abc")
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    document = json.loads(one.read_text())
    schema = json.loads((ROOT / "docs" / "schemas" / "readout.schema.json").read_text())
    Draft202012Validator(schema).validate(document)
    assert document["geometry"] == {
        "frames": 8,
        "height": 64,
        "width": 96,
        "tubelet_size": 2,
        "patch_h": 16,
        "patch_w": 16,
    }
    assert document["video_grid"] == {"temporal_bins": 4, "height": 4, "width": 6}
    assert document["source"]["model"] == str(tiny_model)
    assert len(document["gazing_pos"][0]) == sum(document["num_gazing_each_frame"])


def test_every_format_holds_the_same(run: Run, trace: Path, tmp_path: Path) -> None:
    found = []
    for form in FORMATS:
        assert run("readout", trace, "--format", form, "-o", tmp_path).exit_code == 0
        found.append(arrays(tmp_path / f"square.readout.{form}"))
    assert found[1:] == found[:-1]
    assert run("readout", trace, "-o", tmp_path / "default").exit_code == 0
    assert (tmp_path / "default" / "square.readout.npz").exists()


def test_options_reach_the_helpers(run: Run, trace: Path, tmp_path: Path) -> None:
    result = run(
        *("readout", trace, "-o", tmp_path, "--json", "--frames", 6, "--image-grid", "5x7"),
        *("--clip-height", 32, "--clip-width", 48, "--patch-size", "8x12", "--tubelet-size", 3),
        *("--dilation", 1, "--max-fixations-per-frame", 2, "--max-tokens-per-frame", 9),
        *("--min-confidence", 0.01, "--min-tokens", 20, "--max-tokens", 21, "--emit", "coords"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["video_grid"] == {"temporal_bins": 2, "height": 4, "width": 4}
    assert document["image_grid"] == {"height": 5, "width": 7}
    assert document["readout_options"] == {
        "confidence_threshold": 0.01,
        "max_fixations_per_frame": 2,
        "fixation_scale": 1.0,
        "dilation": 1,
        "max_tokens_per_frame": 9,
    }
    assert document["video_options"] == {
        "tubelet_size": 3,
        "dilation": 0,
        "min_tokens": 20,
        "max_tokens": 21,
    }
    assert document["emit"] == ["coords"]
    readout = read_readout(Path(document["output_files"]["readout"]))
    assert document["shapes"] == {name: list(a.shape) for name, a in readout.arrays.items()}
    assert 20 <= len(readout.coords) <= 21
    assert readout.arrays["frame_index"].tolist() == list(range(6))


def test_a_cap_of_zero_is_a_cap(run: Run, trace: Path, tmp_path: Path) -> None:
    assert run("readout", trace, "--max-fixations-per-frame", 0, "-o", tmp_path).exit_code == 0
    readout = read_readout(tmp_path / "square.readout.npz")
    assert [len(readout.arrays[name]) for name in ("rects", "image_tokens", "coords")] == [0, 0, 0]


def test_many_traces_and_one_that_fails(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, form in (("a", "npz"), ("b", "csv"), ("c", "safetensors")):
        shutil.copy(TRACES / f"v1.trace.{form}", folder / f"{name}.trace.{form}")
    (folder / "broken.trace.json").write_text('{"format": "autogaze-trace"}')
    result = run("readout", folder / "*.trace.*", *SMALL, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "broken.trace.json" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"{name}.readout.npz" for name in "a"),
        "autogaze-manifest.jsonl",
        *(f"{name}.readout.npz" for name in "bc"),
    ]
    again = run("readout", folder / "a.trace.npz", *SMALL, "-o", tmp_path / "out")
    assert again.exit_code == 2
    assert "a.readout.npz: already exists; give --overwrite" in again.stderr
    two = run("readout", folder / "a.trace.npz", TRACES / "v1.trace.npz", *SMALL, "-o", tmp_path)
    assert two.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tubelet-size", 2), "v1.trace.json: frames (3) must be divisible by tubelet size (2)"),
        (("--tubelet-size", 2), "and 1 would be left over; 2 and 4 are"),
        (("--patch-size", 30), "height (224) must be divisible by patch height (30), and 14 would"),
        (("--frames", 9), "v1.trace.json: 9 frames were requested, and the trace has 3"),
        (("--emit", "gazing-info"), "frame 3 has token -1 in slot 7, of 265 tokens and 8 slots"),
        (("--fps", 4), "--fps cannot be used with the saved trace "),
        (("--model", "m"), "--model cannot be used with the saved trace "),
        (("--emit", "rects,colours"), "must be some of rects,tokens,coords,gazing-info"),
        (("--image-grid", "0x4"), "must be height x width such as 14x14"),
        (("--image-grid", "4x"), "must be height x width such as 14x14"),
        (("--min-confidence", 2), "from 0 to 1"),
        (("--max-tokens", -1), "at least 0, not '-1'"),
        (("--trace", "missing.json"), "missing.json"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_numbers(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], says: str
) -> None:
    result = run("readout", TRACES / "v1.trace.json", *arguments, "-o", tmp_path / "out")
    assert (result.exit_code in (2, 3), result.stdout) == (True, "")
    assert says in result.stderr
    assert not list(tmp_path.rglob("*missing*")) + list(tmp_path.rglob(".autogaze-*"))


def test_a_damaged_trace_stops_no_other(run: Run, trace: Path, tmp_path: Path) -> None:
    (trace.parent / "bad.trace.json").write_text("junk")
    result = run("readout", trace.parent, trace, "-o", tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 3, result.stderr
    states = {item["input"]: item["state"] for item in json.loads(result.stdout)["inputs"]}
    assert states[str(trace)] == "run"
    assert states[str(trace.parent / "bad.trace.json")] == "fail"


def test_traces_and_videos_are_not_mixed(run: Run, clip: Path, tmp_path: Path) -> None:
    result = run("readout", TRACES / "v1.trace.csv", clip, "-o", tmp_path)
    assert result.exit_code == 2
    assert "v1.trace.csv is a saved trace, and " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_does_not_fit_is_refused_before_the_model_runs(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    result = run("-v", "readout", clip, "--patch-size", 15, "-o", tmp_path)
    assert result.exit_code == 2
    assert "height (64) must be divisible by patch height (15), and 4 would" in result.stderr
    assert "frame 01" not in result.stderr


def process(*arguments: object, folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\n"
        "from autogaze_cli.cli.main import cli\n"
        "cli(sys.argv[1:], prog_name='autogaze', standalone_mode=False)\n"
        "print(*sorted(sys.modules), file=sys.stdout)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        **more,
    )


@pytest.mark.parametrize("form", ["json", "npz", "safetensors", "csv"])
def test_a_saved_trace_needs_neither_pytorch_nor_the_video(form: str, tmp_path: Path) -> None:
    done = process("readout", TRACES / f"v1.trace.{form}", *SMALL, folder=tmp_path)
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert modules & {"torch", "av", "imageio", "PIL"} == set()
    assert "numpy" in modules
    assert len(read_readout(tmp_path / "v1.readout.npz").rects) == 3


def test_a_trace_on_stdin(tmp_path: Path) -> None:
    with (TRACES / "v1.trace.npz").open("rb") as file:
        process("readout", "-", *SMALL, folder=tmp_path, stdin=file)
    assert np.array_equal(
        read_readout(tmp_path / "stdin.readout.npz").arrays["frame_index"], [0, 1, 3]
    )


def test_keep_indices_are_groups_and_exactly_as_many_as_asked(
    run: Run, trace: Path, tmp_path: Path
) -> None:
    groups = ("--emit", "keep-indices", "--merge", 2, "--tubelet-size", 2)
    exact = ("--min-tokens", 9, "--max-tokens", 9)
    assert run("readout", trace, *groups, *exact, "-o", tmp_path).exit_code == 0
    kept = read_readout(tmp_path / "square.readout.npz").keep_indices
    assert len(kept.indices) == 9
    assert kept.grid_thw.tolist() == [4, 4, 6]
    assert (kept.mrope.max(axis=0) < [4, 2, 3]).all()
    wrong = run("readout", trace, *groups[:2], "--merge", 4, "-o", tmp_path / "b")
    assert wrong.exit_code == 2
    assert "groups of 4 x 4 patches do not divide a grid of 4 x 6" in wrong.stderr
    alone = run("readout", trace, "--merge", 2, "-o", tmp_path / "b")
    assert "merge is for keep-indices alone" in alone.stderr
