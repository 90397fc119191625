"""Trace stores of several clips on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import save_file

import autogaze_cli
from autogaze_cli.readout import read_readout

Run = Callable[..., Result]

CLIP = ("--clip-height", 64, "--clip-width", 64, "--emit", "rects,coords")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two clips of two frames with one point each, and maps of 4 x 4 cells."""
    corners = np.array([[[[0.25, 0.25]]] * 2, [[[0.75, 0.75]]] * 2], np.float32)
    maps = np.zeros((2, 2, 4, 4), np.float32)
    maps[1, :, 0, 3] = 0.5
    tensors = {
        "fixations": corners,
        "scales": np.full((2, 2, 1), 0.5, np.float32),
        "confidences": np.ones((2, 2, 1), np.float32),
        "stop_probabilities": np.zeros((2, 2), np.float32),
        "visibility_maps": maps,
    }
    path = tmp_path / "gaze.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("words", "rect"),
    [
        ((), [0, 0, 0.5, 0.5]),
        (("--trace-clip", 1), [0.5, 0.5, 1, 1]),
        (("--trace-clip", 1, "--trace-maps"), [0.75, 0, 1, 0.25]),
    ],
)
def test_a_readout_is_of_the_clip_and_of_what_is_asked_for(
    run: Run, store: Path, tmp_path: Path, words: tuple[object, ...], rect: list[float]
) -> None:
    result = run("readout", store, *CLIP, "-o", tmp_path, *words)
    assert result.exit_code == 0, result.stderr
    made = read_readout(tmp_path / "gaze.readout.npz")
    assert made.rects.values.tolist() == [rect] * 2


def test_masks_are_drawn_from_a_clip(run: Run, clip: Path, store: Path, tmp_path: Path) -> None:
    words = ("--trace", store, "--frames", 2, "-o", tmp_path, "--json", "--overwrite")
    ratios = []
    for more in ((), ("--trace-clip", 1, "--trace-maps")):
        result = run("mask", "synthetic:pan,size=64x64,frames=2", *words, *more)
        assert result.exit_code == 0, result.stderr
        ratios.append(json.loads(result.stdout)["average_mask_ratio"])
    assert ratios == [0.25, 1 / 16]
    called = autogaze_cli.render_interframe(
        "synthetic:pan,size=64x64,frames=2", trace=store, trace_clip=1, out_dir=tmp_path / "b"
    )
    assert called.document["average_mask_ratio"] == 0.25


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--trace-clip", 2), "has no clip 2; it holds 2, counted from 0"),
        (("--trace-clip", -1), "must be a whole number of at least 0"),
        (("--trace-clip", "9" * 5000), "must be within 0 to 999999999999999999, not '99999"),
        (("--image-grid", f"{'9' * 5000}x2"), "must be height x width such as 14x14"),
    ],
)
def test_a_clip_that_is_not_there(
    run: Run, store: Path, tmp_path: Path, words: tuple[object, ...], says: str
) -> None:
    result = run("readout", store, *CLIP, "-o", tmp_path / "out", *words)
    assert (result.exit_code, says in result.stderr) == (2, True), result.stderr


def test_a_video_and_a_trace_are_no_stores(run: Run, clip: Path, tmp_path: Path) -> None:
    words = ("--mask-source", "patch-diff", "--frames", 2, "-o", tmp_path)
    result = run("mask", clip, *words, "--trace-clip", 1)
    assert (result.exit_code, "are for trace stores; give --trace" in result.stderr) == (2, True)
    assert run("trace", clip, *words).exit_code == 0
    trace = tmp_path / "square.trace.json"
    for option, says in (
        ("--trace-maps", "has no visibility maps"),
        ("--trace-clip=1", "no clip 1"),
    ):
        result = run("mask", clip, "--trace", trace, "-o", tmp_path, option)
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
