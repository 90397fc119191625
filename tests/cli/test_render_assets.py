"""``render-assets`` from end to end: files, metrics, the same bytes again, and --check."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from jsonschema import validate  # type: ignore[import-untyped]
from PIL import Image, ImageSequence

from autogaze_cli.media.mask_palette import MASK_PALETTE
from autogaze_cli.trace import read_trace

Run = Callable[..., Result]

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schemas" / "metrics.schema.json").read_text()
)
SMALL = ("--inference-width", 96, "--inference-height", 64, "--gif-width", 48, "--gif-height", 32)
PATCH_DIFF = ("--mask-source", "patch-diff")
NAMES = [
    f"autogaze_square_{role}" for role in ("input.gif", "mask.gif", "output.gif", "metrics.json")
]


def metrics(folder: Path, name: str = NAMES[3]) -> dict[str, object]:
    text = (folder / name).read_text(encoding="utf-8")
    document: dict[str, object] = json.loads(text)
    validate(document, SCHEMA)
    assert text == json.dumps(document, indent=2) + "\n"
    return document


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()
    }


def test_four_files_of_the_reference(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run("render-assets", "--input", clip, "--out-dir", out, *PATCH_DIFF, *SMALL)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines()
    assert lines[0] == "mask source: patch-diff"
    assert lines[1:] == [f"wrote {out / name}" for name in NAMES]
    assert sorted(p.name for p in out.iterdir()) == sorted(NAMES)
    for name in NAMES[:3]:
        with Image.open(out / name) as gif:
            frames = list(ImageSequence.Iterator(gif))
            assert (gif.size, len(frames), gif.info["loop"]) == ((48, 32), 16, 0)
    colours = {tuple(colour) for colour in MASK_PALETTE.tolist()}
    with Image.open(out / NAMES[1]) as gif:
        for frame in ImageSequence.Iterator(gif):
            pixels = np.asarray(frame.convert("RGB")).reshape(-1, 3)
            assert {tuple(pixel) for pixel in pixels.tolist()} <= colours


def test_cells_are_drawn_where_they_lie(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The default mask: every pixel under a cell is coloured, and no other, in no band."""
    gaze: tuple[object, ...] = ("--model", tiny_model, "--frames", 2, "--fps", 8)
    gaze += ("--max-gaze-tokens-each-frame", 9, "--top-k", 9, "--mode", "resize", "-o", tmp_path)
    assert run("render-assets", clip, *gaze, *SMALL).exit_code == 0
    assert run("trace", clip, *gaze).exit_code == 0
    with Image.open(tmp_path / NAMES[1]) as gif:
        drawn = [np.asarray(f.convert("RGB")).any(axis=2) for f in ImageSequence.Iterator(gif)]
    for frame, coloured in zip(read_trace(tmp_path / "square.trace.json"), drawn, strict=True):
        cells = frame.fixations
        assert len(set(cells.grid.tolist())) > 1
        covered = np.zeros((64, 96), bool)
        for x, y, w, h in zip(cells.x, cells.y, cells.width, cells.height, strict=True):
            left, right = math.floor((x - w / 2) * 96 + 1e-4), math.ceil((x + w / 2) * 96 - 1e-4)
            top, bottom = math.floor((y - h / 2) * 64 + 1e-4), math.ceil((y + h / 2) * 64 - 1e-4)
            covered[top:bottom, left:right] = True
        assert 0 < covered.mean() < 1
        np.testing.assert_array_equal(coloured, covered[::2, ::2])


def test_the_metrics_document(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("render-assets", clip, "-o", tmp_path, *PATCH_DIFF, *SMALL).exit_code == 0
    document = metrics(tmp_path)
    assert list(document) == SCHEMA["required"]
    expected = {
        "source_video": str(clip),
        "model_dir": None,
        "inference_mode": "anyres-tile-224",
        "clip_chunking": "anyres-resized-grid",
        "fps": 8,
        "frames": 16,
        "keyframe_duration": 12,
        "blend_alpha": 0.55,
        "mask_cell_scale": 1.0,
        "mask_visualization": "overlay",
        "max_update_ratio": 1.0,
        "mask_source": "patch-diff",
        "output_files": {
            role: str(tmp_path / name)
            for role, name in zip(("input", "mask", "output"), NAMES[:3], strict=True)
        },
    }
    assert {key: document[key] for key in expected} == expected
    assert '"mask_cell_scale": 1.0,' in (tmp_path / NAMES[3]).read_text()
    # The square moves by 3 of 96 pixels a frame: a few of 14 x 14 cells change, and no others.
    assert 0.01 < float(str(document["average_mask_ratio"])) < 0.1


def test_frame_lines_come_with_v(run: Run, clip: Path, tmp_path: Path) -> None:
    arguments = ("--frames", 2, *PATCH_DIFF, *SMALL)
    result = run("render-assets", clip, "-v", "-o", tmp_path, *arguments)
    first, second = (x for x in result.stderr.splitlines() if x.startswith("frame "))
    assert first == "frame 01/2: points=0 mask=0.00% update=100.00% psnr=inf dB"
    assert second.startswith("frame 02/2: points=")
    assert "device: cpu" in result.stderr
    quiet = run("render-assets", clip, "-q", "-o", tmp_path / "q", *arguments)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_a_model_gazes_and_is_recorded(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    few = ("--frames", 3, "--clip-len", 2, "--max-gaze-tokens-each-frame", 4)
    result = run("render-assets", clip, "--model", tiny_model, *few, "-o", tmp_path, *SMALL)
    assert result.exit_code == 0, result.output
    document = metrics(tmp_path)
    weights = hashlib.sha256((tiny_model / "model.safetensors").read_bytes()).hexdigest()
    assert document["model_dir"] == document["model"] == str(tiny_model)
    assert (document["mask_source"], document["model_sha256"]) == ("autogaze", weights)
    assert (document["max_gaze_tokens_each_frame"], document["top_k"]) == (4, 10)
    assert document["fixation_budget_each_frame"] == 4
    assert document["num_vision_tokens_each_frame"] == 265
    assert weights in result.stderr


def test_tile_batches_change_no_picture(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    tiles = ("--tile-size", 48, "--frames", 2, "--max-gaze-tokens-each-frame", 6)
    for batch in (1, 3):
        folder = tmp_path / str(batch)
        arguments = (*tiles, "--tile-batch-size", batch, "-o", folder, *SMALL)
        assert run("render-assets", clip, "--model", tiny_model, *arguments).exit_code == 0
    one, three = hashes(tmp_path / "1"), hashes(tmp_path / "3")
    assert metrics(tmp_path / "1")["tile_count"] == 4
    assert {name: one[name] for name in NAMES[:3]} == {name: three[name] for name in NAMES[:3]}


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (("--mode", "tiled-full", "--tile-size", 48, "--stride", 32), "tiled-full-48-stride-32"),
        (("--mode", "resize"), "resize"),
    ],
)
def test_other_modes(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path, arguments: tuple[object, ...], mode: str
) -> None:
    few = ("--frames", 2, "--max-gaze-tokens-each-frame", 4, "--mask-visualization", "overlay")
    result = run(
        "render-assets", clip, "--model", tiny_model, *few, *arguments, "-o", tmp_path, *SMALL
    )
    assert result.exit_code == 0, result.output
    document = metrics(tmp_path)
    assert document["inference_mode"] == mode
    assert document["tile_count"] == (6 if mode.startswith("tiled") else 1)


def test_the_same_settings_give_the_same_bytes_and_pass_the_check(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    base = ("render-assets", clip, "-o", tmp_path, "--frames", 5, *SMALL)
    assert run(*base).exit_code == 0
    before = hashes(tmp_path)
    assert run(*base).exit_code == 2  # they exist
    assert run(*base, "--overwrite").exit_code == 0
    assert hashes(tmp_path) == before
    check = run(*base, "--check")
    assert (check.exit_code, check.stdout) == (0, "")


def test_check_says_what_differs_and_changes_nothing(run: Run, clip: Path, tmp_path: Path) -> None:
    base = ("render-assets", clip, "-o", tmp_path, "--frames", 5, *SMALL)
    assert run(*base).exit_code == 0
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[2]).write_bytes(b"GIF89a")
    before = hashes(tmp_path)
    result = run(*base, "--check", "--keyframe-duration", 3)
    assert result.exit_code == 1
    missing, output, document, keys = result.stdout.splitlines()
    assert missing.startswith(f"{tmp_path / NAMES[0]}: missing")
    assert output.startswith(f"{tmp_path / NAMES[2]}: differs")
    assert document.startswith(f"{tmp_path / NAMES[3]}: differs")
    assert keys.startswith(f"{tmp_path / NAMES[3]}: keys that differ: keyframe_duration, average_")
    assert "frames" not in keys.split(": ")[-1].split(", ")
    assert hashes(tmp_path) == before


def test_check_where_nothing_is(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "none"
    result = run("render-assets", clip, "-o", out, "--frames", 2, "--check", *SMALL)
    assert (result.exit_code, result.stdout.count(": missing")) == (1, 4)
    assert not out.exists()


def test_json_is_the_document(run: Run, clip: Path, tmp_path: Path) -> None:
    result = run("render-assets", clip, "-o", tmp_path, "--frames", 2, "--json", *SMALL)
    assert json.loads(result.stdout) == metrics(tmp_path)
    assert result.stdout == (tmp_path / NAMES[3]).read_text()
