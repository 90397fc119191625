"""How cells become tokens: their scale, the route, dilation on the clip's grid, the batch index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import autogaze_cli
from autogaze_cli.errors import ConfigError
from autogaze_cli.readout import FORMATS, read_readout
from autogaze_cli.readout.document import Readout

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quarter(tmp_path: Path) -> Path:
    """A trace of one frame of 224 x 224 that gazes at the upper left quarter: readout spec 8.5."""
    document: Any = json.loads((ROOT / "fixtures" / "traces" / "v1.trace.json").read_text())
    cell = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5, "confidence": 1.0}
    frame = document["frames"][0]
    frame["fixations"] = {
        name: [{**cell, "grid": 2, "token": 0, "tile": 0, "slot": 0}[name]]
        for name in frame["fixations"]
    }
    path = tmp_path / "quarter.trace.json"
    path.write_text(json.dumps({**document, "frames": [frame]}))
    return path


@pytest.fixture
def readout(run: Run, quarter: Path, tmp_path: Path) -> Callable[..., Readout]:
    """``readout("--route", "rects")``: of 16 x 16 patches."""

    def make(*words: object, form: str = "npz") -> Readout:
        clip = ("--patch-size", 14, "--clip-height", 224, "--clip-width", 224, "--format", form)
        result = run("readout", quarter, *clip, "-o", tmp_path, "--overwrite", *words)
        assert result.exit_code == 0, result.stderr
        return read_readout(tmp_path / f"quarter.readout.{form}")

    return make


def square(side: int) -> set[tuple[int, int]]:
    return {(row, col) for row in range(side) for col in range(side)}


def cells(readout: Readout) -> set[tuple[int, int]]:
    return {(int(row), int(col)) for _, _, row, col in readout.coords}


def test_rectangles_are_rounded_outward_once(readout: Callable[..., Readout]) -> None:
    assert cells(readout("--image-grid", 7)) == square(10)  # 4 of 7 tokens: 9.1 of 16
    assert cells(readout("--image-grid", 7, "--route", "rects")) == square(8)
    kept = readout("--image-grid", 7, "--route", "rects", "--emit", "keep-indices", "--merge", 2)
    assert {(int(row), int(col)) for _, row, col in kept.keep_indices.mrope} == square(4)


def test_each_dilation_has_its_grid_and_its_route(readout: Callable[..., Readout]) -> None:
    rects = ("--route", "rects")
    assert cells(readout(*rects, "--video-dilation", 1)) == square(9)
    assert cells(readout("--image-grid", 16, "--video-dilation", 2)) == square(10)
    assert cells(readout(*rects, "--dilation", 3)) == square(8)  # of frames' tokens alone
    made = readout("--video-dilation", 2)
    assert made.header.video_options.dilation == 2


def test_cells_are_scaled_before_they_are_projected(readout: Callable[..., Readout]) -> None:
    small = readout("--fixation-scale", 0.5)
    np.testing.assert_allclose(small.rects.values, [[0.125, 0.125, 0.375, 0.375]])
    assert cells(readout("--image-grid", 16, "--fixation-scale", 0.5)) == {
        (row, col) for row in range(2, 6) for col in range(2, 6)
    }


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_the_route_and_the_batch_index(
    readout: Callable[..., Readout], form: str, tmp_path: Path
) -> None:
    made = readout("--route", "rects", "--batch-index", 5, form=form)
    assert made.header.route == "rects"
    assert set(made.coords[:, 0].tolist()) == {5}
    if form == "json":
        schema = json.loads((ROOT / "docs" / "schemas" / "readout.schema.json").read_text())
        document = json.loads((tmp_path / "quarter.readout.json").read_text())
        Draft202012Validator(schema).validate(document)
    assert "route" not in readout(form=form).header.to_mapping()


def test_a_call_has_the_same_settings(quarter: Path, tmp_path: Path) -> None:
    made = autogaze_cli.project_readout(
        quarter,
        route="rects",
        fixation_scale=0.5,
        video_dilation=1,
        batch_index=2,
        patch_size=14,
        clip_height=224,
        clip_width=224,
        out_dir=tmp_path,
    )
    found = read_readout(made.files["readout"])
    assert found.coords.tolist() == [[2, 0, row, col] for row in range(1, 7) for col in range(1, 7)]
    for bad in ({"route": "points"}, {"batch_index": 2**32}, {"fixation_scale": 0.0}):
        settings: Any = bad
        with pytest.raises(ConfigError, match=next(iter(bad))):
            autogaze_cli.project_readout(quarter, out_dir=tmp_path / "no", **settings)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--route", "points"), "'points' is not one of 'tokens', 'rects'"),
        (("--batch-index", 2**32), "batch_index must be at least 0 and below 4294967296"),
        (("--video-dilation", -1), "must be a whole number of at least 0"),
        (("--fixation-scale", 0), "must be a finite number from 1e-06 to 1e+06"),
    ],
)
def test_a_bad_value_is_refused(
    run: Run, quarter: Path, tmp_path: Path, words: tuple[object, ...], says: str
) -> None:
    result = run("readout", quarter, "-o", tmp_path / "out", *words)
    assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "out").exists()


def test_a_small_trace_is_not_read_out_to_a_huge_file(
    run: Run, quarter: Path, tmp_path: Path
) -> None:
    document = json.loads(quarter.read_text())
    times = [{"index": i, "time": str(i), "time_s": float(i)} for i in range(16)]
    document["frames"] = [{**document["frames"][0], **time} for time in times]
    quarter.write_text(json.dumps({**document, "width": 65536, "height": 65536}))
    for emit in ("rects,tokens,coords", "keep-indices"):
        result = run("readout", quarter, "-o", tmp_path / "out", "--emit", emit)
        assert result.exit_code == 2
        assert result.stderr.endswith(
            f"Error: {quarter}: a readout of 20971520 tokens or more is too large, more than "
            "16777216; give larger patches (--patch-size), fewer --frames or "
            "--max-tokens-per-frame, or raise AUTOGAZE_MAX_DOCUMENT_BYTES\n"
        )
    assert not list(tmp_path.glob("out/*"))
    coarse = ("--image-grid", 14, "--route", "rects", "--patch-size", 1024)
    assert run("readout", quarter, "-o", tmp_path, *coarse).exit_code == 0
    assert len(read_readout(tmp_path / "quarter.readout.npz").video_tokens) == 16 * 32 * 32
