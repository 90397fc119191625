"""The benchmark's document and its comparison; the times themselves are nobody's business here."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from autogaze_cli.bench.matrix import MODES, SOURCES, STYLES, matrix_figures
from autogaze_cli.bench.model import tiled_figures
from autogaze_cli.bench.report import Figure, read_document, slower, table_rows
from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.synthetic import seeded_frames, seeded_model
from autogaze_cli.bench.timing import Timer
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import ConfigError, FormatError, InputError

ROOT = Path(__file__).parents[2]
QUICK = ("--quick", "--frames", "1", "--batch", "1", "--batch", "2", "--repeats", "1", "--device")

DRAWN = ("interframe", "overlay")
MATRIX = ("--matrix", "--quick", "--frames", "2", "--repeats", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(cli, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def found(run: Callable[..., Result]) -> dict[str, Any]:
    result = run(*QUICK, "cpu", "--growth", "--gazing-ratio", 0.04, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_document_is_as_its_schema_has_it(found: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "docs/schemas/bench.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(found)
    assert not validator.is_valid({**found, "figures": []})


def test_every_stage_is_measured(found: dict[str, Any]) -> None:
    names = [figure["name"] for figure in found["figures"]]
    assert len(set(names)) == len(names)
    video = "decode_video patch_diff compose mask_panel encode_gif encode_mp4 preprocess"
    model = ["vision", "decode_tokens", "generate", "decode_tokens", "generate"]
    losses = ["", "", "", "/loss-0.7", "/loss-0.7"]
    assert names == [
        *(f"cpu/{stage}" for stage in video.split()),
        *(
            f"cpu/float32/{stage}/batch-{batch}{loss}"
            for batch in (1, 2)
            for stage, loss in zip(model, losses, strict=True)
        ),
    ]
    assert [case["what"] for case in found["growth"]] == ["frames", "batch"]


def test_a_figure_is_its_own_arithmetic(found: dict[str, Any]) -> None:
    ceiling = found["ceilings"]["cpu"]["matmul_float32_gflops"]
    counted = [figure for figure in found["figures"] if figure["operations"]]
    assert len(counted) == 10
    for figure in counted:
        assert figure["gflops"] == pytest.approx(
            figure["operations"] / figure["seconds"] / 1e9, rel=1e-2
        )
        assert figure["ratio"] == pytest.approx(figure["gflops"] / ceiling, rel=1e-2, abs=1e-4)
    by_name = {figure["name"]: figure["operations"] for figure in counted}
    assert by_name["cpu/float32/vision/batch-2"] == 2 * by_name["cpu/float32/vision/batch-1"]


@pytest.fixture(scope="module")
def matrix(run: Callable[..., Result]) -> dict[str, Any]:
    tiny = ROOT / "fixtures" / "parity-tiny"
    kinds = [f"*/{mode}/{style}" for mode in ("resize", "tiled") for style in DRAWN]
    cases = [argument for kind in kinds for argument in ("--case", kind)]
    result = run(*MATRIX, "--model", tiny, "--gazing-ratio", 0.04, *cases, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_matrix_has_every_source_mode_and_style(matrix: dict[str, Any]) -> None:
    Draft202012Validator(
        json.loads((ROOT / "docs/schemas/bench.schema.json").read_text())
    ).validate(matrix)
    gaze = {"autogaze": "cpu/float32/gaze/autogaze", "patch-diff": "cpu/gaze/patch-diff"}
    assert [figure["name"] for figure in matrix["figures"]] == [
        name
        for source, mode in (
            ("autogaze", "resize"),
            ("autogaze", "tiled"),
            ("patch-diff", "resize"),
        )
        for name in (
            f"{gaze[source]}/{mode}",
            *(f"cpu/draw/{source}/{mode}/{style}" for style in DRAWN),
        )
    ]
    for figure in matrix["figures"]:
        assert figure["name"].split("/")[-1] in (figure["style"], figure["mode"])
        assert (figure["frames"], figure["seconds"] > 0) == (2, True)


def test_matrices_are_compared_case_by_case(
    run: Callable[..., Result], matrix: dict[str, Any], tmp_path: Path
) -> None:
    earlier = copy.deepcopy(matrix)
    for figure in earlier["figures"]:
        slow = figure["name"] == "cpu/draw/patch-diff/resize/overlay"
        figure["seconds"] = 1e-6 if slow else 1e6
    earlier["settings"]["model"] = None
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(earlier))
    one = ("--case", "patch-diff/resize/overlay", "--gazing-ratio", 0.04)
    result = run(*MATRIX, *one, "--compare", path)
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("slower: ")]
    assert line.startswith("slower: cpu/draw/patch-diff/resize/overlay: ")


def test_the_matrix_is_all_cases_where_none_is_chosen() -> None:
    assert MODES == ("resize", "tiled", "tiled-full")
    assert SOURCES == ("autogaze", "patch-diff")
    assert len(STYLES) == 6
    # Without a model there are no tiles.
    only = BenchSettings(matrix=True, case=("patch-diff/tiled/*",), quick=True, frames=1)
    with pytest.raises(ConfigError, match=r"no case matches patch-diff/tiled/\*"):
        list(matrix_figures(only))


def test_a_run_is_not_slower_than_itself(found: dict[str, Any]) -> None:
    assert slower(found, found, 0.0) == []


def test_what_is_slower_is_named(found: dict[str, Any]) -> None:
    worse = copy.deepcopy(found)
    worse["figures"][0]["seconds"] *= 1.3
    worse["figures"][3]["seconds"] *= 0.3
    (line,) = slower(worse, found, 0.2)
    assert line.startswith("cpu/decode_video: ")
    assert line.endswith("(+30%)")
    assert slower(worse, found, 0.4) == []


def test_what_only_one_run_measured_does_not_count(found: dict[str, Any]) -> None:
    fewer = copy.deepcopy(found)
    del fewer["figures"][2:]
    assert slower(found, fewer, 0.0) == slower(fewer, found, 0.0) == []


def test_runs_that_cannot_be_compared(found: dict[str, Any]) -> None:
    other = copy.deepcopy(found)
    other["settings"]["frames"] = 9
    with pytest.raises(ConfigError, match="frames was 9 and is 1"):
        slower(found, other, 0.2)
    with pytest.raises(ConfigError, match="no figure in common"):
        slower(found, {**found, "figures": []}, 0.2)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (None, InputError, "cannot be read"),
        ("{", FormatError, "is not JSON"),
        ("[]", FormatError, "is not the output of autogaze bench --json"),
        ('{"format": "autogaze-bench", "version": 2}', FormatError, "version is 2, not 1"),
    ],
)
def test_a_file_that_is_none(
    tmp_path: Path, text: str | None, error: type[Exception], says: str
) -> None:
    path = tmp_path / "earlier.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=says):
        read_document(str(path))


def test_compare_exits_1_where_something_is_slower(
    run: Callable[..., Result], found: dict[str, Any], tmp_path: Path
) -> None:
    earlier = copy.deepcopy(found)
    for figure in earlier["figures"]:
        figure["seconds"] = 1e-6 if figure["stage"] == "encode_mp4" else 1e6
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(earlier))
    result = run(*QUICK, "cpu", "--gazing-ratio", 0.04, "--compare", path)
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("slower: ")]
    assert line.startswith("slower: cpu/encode_mp4: ")
    for row in table_rows(found):
        assert row[0] in result.stdout


def test_the_seeded_model_is_of_the_published_sizes_and_always_the_same() -> None:
    before = torch.get_rng_state()
    one, two = (seeded_model().network.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(weight.numel() for weight in one.values()) == 3_258_240
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_seeded_frames_move() -> None:
    first, second = seeded_frames(2, 320, 180)
    assert first.rgb.shape == (180, 320, 3)
    assert (first.rgb != second.rgb).any()
    np.testing.assert_array_equal(first.rgb, seeded_frames(1, 320, 180)[0].rgb)


def test_a_clip_in_tiles() -> None:
    settings = BenchSettings(quick=True, frames=1, gazing_ratio=0.04, repeats=1)
    figures = list(tiled_figures(settings, seeded_model(), 100.0))
    stages = ["tiled_preprocess", "tiled_vision", "tiled_decode_tokens", "tiled_all"]
    assert [figure.name for figure in figures] == [f"cpu/float32/{s}/batch-6" for s in stages]
    operations = [figure.operations or 0 for figure in figures]
    assert operations[3] == operations[1] + operations[2] > 0
    assert all(figure.frames == 1 and figure.seconds > 0 for figure in figures)


def test_the_first_call_does_not_count() -> None:
    waits = iter([0.2, 0.02, 0.0, 0.02, 0.0])
    assert Timer(repeats=3, enough_s=1).best(lambda: time.sleep(next(waits))) < 0.02
    assert list(waits) == [0.0]


def test_a_call_is_not_repeated_once_it_took_long_enough() -> None:
    calls: list[None] = []
    Timer(repeats=3, enough_s=0.01).best(lambda: calls.append(time.sleep(0.02)))  # type: ignore[func-returns-value]
    assert len(calls) == 2  # the warm-up, and one


def test_names_leave_out_what_does_not_apply() -> None:
    assert Figure("compose", 1.0, "cpu", 16).name == "cpu/compose"
    figure = Figure(
        "generate", 1.0, "cuda", 16, dtype="bfloat16", batch=8, task_loss_requirement=0.7
    )
    assert figure.name == "cuda/bfloat16/generate/batch-8/loss-0.7"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"batch": (1, 0)}, "batch must be at least 1"),
        ({"batch": ()}, "batch must be given"),
        ({"case": ("*",)}, "case selects cases of the matrix"),
        ({"matrix": True, "growth": True}, "growth is not of the matrix"),
        ({"dtype": ("float16",)}, "dtype must be float32 or bfloat16"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        BenchSettings(**settings)


def test_a_quick_run_does_less() -> None:
    assert BenchSettings.defaults(quick=True) == {"frames": 4, "batch": (1,)}
    full = BenchSettings()
    assert BenchSettings.defaults(quick=False) == {"frames": full.frames, "batch": full.batch}


def test_a_device_that_is_not_there_is_an_error(run: Callable[..., Result]) -> None:
    result = run("--device", "cuda:99")
    assert result.exit_code == 2
    assert "device cuda:99 is not available" in result.stderr


def test_a_file_that_is_none_is_refused_before_anything_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autogaze_cli", "bench", "--compare", "no.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == "Error: no.json: cannot be read: No such file or directory\n"
