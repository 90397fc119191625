"""The metrics document against visualization spec 6.7, and how it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogaze_cli.errors import FormatError
from autogaze_cli.trace import TraceHeader
from autogaze_cli.visualize.document import dump_document, metrics_document, write_document
from autogaze_cli.visualize.settings import Visualization

HEADER = TraceHeader(
    source="in/birds.mp4",
    source_width=1920,
    source_height=1080,
    width=640,
    height=360,
    fps=Fraction(8),
    mask_source="autogaze",
    model="kestrel",
    model_sha256="ab" * 32,
    scales="32+64+112+224",
    num_vision_tokens_each_frame=265,
    mode="tiled",
    tile_size=224,
    stride=224,
    tile_count=6,
    settings={
        "device": "cuda:1",
        "clip_len": 16,
        "top_k": 10,
        "max_gaze_tokens_each_frame": 198,
        "task_loss_requirement": 0.7,
        "tile_batch_size": 8,
    },
    tool_version="0.1",
)


def document(header: TraceHeader = HEADER, **drawing: Any) -> dict[str, Any]:
    return metrics_document(
        header,
        Visualization(**drawing),
        frames=16,
        gif_size=(320, 180),
        summary={"average_mask_ratio": 0.5},
        files={"mask": Path("out/birds.mask.gif")},
    )


def with_settings(**changes: Any) -> TraceHeader:
    return replace(HEADER, settings=HEADER.settings | changes)


def test_keys_in_the_order_of_the_specification() -> None:
    found = document()
    assert list(found)[:24] == [
        "source_video", "model_dir", "backend", "inference_mode", "visualization_mode",
        "inference_width", "inference_height", "gif_width", "gif_height", "fps", "frames",
        "clip_len", "top_k", "max_gaze_tokens_each_frame", "task_loss_requirement",
        "clip_chunking", "tile_count", "tile_batch_size", "fixation_budget_each_frame", "scales",
        "num_vision_tokens_each_frame", "mask_cell_scale", "blend_alpha", "keyframe_duration",
    ]  # fmt: skip
    assert (found["source_video"], found["backend"], found["fps"]) == ("in/birds.mp4", "cuda", 8)
    assert (found["gif_width"], found["gif_height"]) == (320, 180)
    assert (found["inference_width"], found["inference_height"]) == (640, 360)
    assert found["fixation_budget_each_frame"] == 6 * 198
    assert (found["average_mask_ratio"], found["blend_alpha"]) == (0.5, 0.38)
    assert found["output_files"] == {"mask": "out/birds.mask.gif"}
    assert (found["mask_geometry"], found["mask_visualization"]) == ("native", "image-mask-only")
    assert (found["mask_source"], found["model_sha256"]) == ("autogaze", "ab" * 32)


@pytest.mark.parametrize(
    ("changes", "mode", "chunking"),
    [
        ({}, "anyres-tile-224", "anyres-resized-grid"),
        (
            {"mode": "tiled-full", "tile_size": 320, "stride": 160},
            "tiled-full-320-stride-160",
            "full-resolution",
        ),
        ({"mode": "resize"}, "resize", "resize"),
    ],
)
def test_modes_in_words(changes: dict[str, Any], mode: str, chunking: str) -> None:
    found = document(replace(HEADER, **changes))
    assert (found["inference_mode"], found["clip_chunking"]) == (mode, chunking)


def test_a_budget_is_at_least_one_per_tile_and_may_be_unknown() -> None:
    for budget, wanted in ((0, 6), (1, 6), (2, 12), (None, None)):
        found = document(with_settings(max_gaze_tokens_each_frame=budget))
        assert found["max_gaze_tokens_each_frame"] == budget
        assert found["fixation_budget_each_frame"] == wanted
    half = document(with_settings(max_gaze_tokens_each_frame=0.5))
    assert half["fixation_budget_each_frame"] == 6


def test_rates_and_weights_are_the_shortest_numbers() -> None:
    assert document(replace(HEADER, fps=Fraction(30000, 1001)))["fps"] == 30000 / 1001
    assert isinstance(document()["fps"], int)
    found = document(
        with_settings(task_loss_requirement=float(np.float32(0.1))),
        blend_alpha=float(np.float32(0.55)),
    )
    assert (found["task_loss_requirement"], found["blend_alpha"]) == (0.1, 0.55)
    assert document(with_settings(task_loss_requirement=None))["task_loss_requirement"] is None
    settings = {name: HEADER.settings[name] for name in ("top_k",)}
    assert document(replace(HEADER, settings=settings))["backend"] == "cpu"


@pytest.mark.parametrize("value", ["5", True, [5], 2**53, -(2**53), 1e300])
@pytest.mark.parametrize("name", ["max_gaze_tokens_each_frame", "task_loss_requirement"])
def test_settings_of_a_trace_must_be_numbers(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match=rf"in/birds\.mp4: in its trace, {name}"):
        document(with_settings(**{name: value}))


def test_the_largest_whole_number_is_written() -> None:
    found = document(with_settings(max_gaze_tokens_each_frame=2**53 - 1))
    assert found["max_gaze_tokens_each_frame"] == 2**53 - 1


def test_text_of_a_document(tmp_path: Path) -> None:
    text = dump_document({"a": [1, 2], "é": None})
    assert text == '{\n  "a": [\n    1,\n    2\n  ],\n  "é": null\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        dump_document({"a": float("nan")})
    undecodable = {"file": b"a\xff.mp4".decode("utf-8", "surrogateescape")}
    assert "\\udcff" in dump_document(undecodable)
    write_document(tmp_path / "m.json", undecodable)
    assert json.loads((tmp_path / "m.json").read_bytes()) == undecodable
