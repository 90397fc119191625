"""PSNR, averages, texts, and the summary of a render."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.metrics import (
    MASK_PALETTE,
    MovingAverage,
    RenderMetrics,
    format_psnr_db,
    frame_line,
)
from autogaze_cli.visualize.psnr import psnr, squared_error
from autogaze_cli.visualize.settings import Visualization
from tests.golden.visualize_vectors import document, fixations

VECTORS = document("visualize_metrics.json")


def grey(value: int, alpha: int = 0) -> Any:
    return np.full((8, 8, 4), [value, value, value, alpha], np.uint8)


def test_psnr_of_images() -> None:
    """Visualization spec 8.6."""
    black = grey(0)
    one_red = black.copy()
    one_red[5, 3, 0] = 255
    pixel, other = np.array([[[[10, 20, 30, 0]]], [[[20, 20, 30, 255]]]], np.uint8)
    assert psnr(pixel, other) == 32.90201615587573
    assert psnr(black, one_red) == 22.833012287035498
    assert psnr(black, grey(0, alpha=9)) == math.inf
    assert psnr(black, grey(255)) == 0
    assert psnr(black, grey(1)) == 48.1308036086791


@given(
    st.sampled_from([3, 4]), st.integers(1, 400), st.integers(1, 120), st.sampled_from([0, 1, 255])
)
def test_squared_error_is_the_plain_sum(channels: int, width: int, height: int, step: int) -> None:
    rng = np.random.default_rng(width)
    a = rng.integers(0, 256, (height, width, channels), np.uint8)
    b = a ^ np.uint8(step) if step < 255 else rng.integers(0, 256, a.shape, np.uint8)
    plain = int(((a.astype(np.int64) - b)[..., :3] ** 2).sum())
    assert squared_error(a, b) == plain
    if plain:
        assert psnr(a, b) == 10 * math.log10(255**2 / (plain / (3 * width * height)))


def test_largest_error_does_not_overflow() -> None:
    black = np.zeros((200, 200, 3), np.uint8)
    assert squared_error(black, ~black) == 255**2 * black.size


@pytest.mark.parametrize(
    "shapes",
    [((2, 2, 3), (2, 2, 4)), ((2, 0, 3), (2, 0, 3)), ((2, 2), (2, 2)), ((2, 2, 3), (3, 2, 3))],
)
def test_psnr_needs_two_images_of_one_shape(shapes: tuple[tuple[int, ...], ...]) -> None:
    a, b = (np.zeros(shape, np.uint8) for shape in shapes)
    with pytest.raises(ConfigError, match="shapes"):
        psnr(a, b)


@pytest.mark.parametrize(
    "vector", [v for kind in ("psnr_ema", "ratio_ema") for v in VECTORS[kind] if "render" in v]
)
def test_moving_average(vector: dict[str, Any]) -> None:
    average = MovingAverage()
    assert average.value is None
    found: list[float | None] = []
    for value in vector["values"]:
        average.add(float(value))
        found.append(average.value)
    assert found == pytest.approx([float(v) for v in vector["render"]], abs=1e-12)


@pytest.mark.parametrize("vector", VECTORS["formats"], ids=lambda v: str(v["value"]))
def test_text_of_a_psnr(vector: dict[str, Any]) -> None:
    assert format_psnr_db(float(vector["value"])) == vector["psnr_db"]


def miniature() -> list[FrameView]:
    """The render of visualization spec 8.7."""
    compositor = Compositor(Visualization(visualization_mode="interframe", keyframe_duration=12))
    return [
        compositor.step(np.full((8, 8, 3), frame["grey"], np.uint8), fixations(frame["points"]))
        for frame in VECTORS["render_frames"]
    ]


def test_miniature_render_frames() -> None:
    views = miniature()
    for number, (view, frame) in enumerate(
        zip(views, VECTORS["render_frames"], strict=True), start=1
    ):
        assert (view.mask_ratio, view.update_ratio) == (frame["mask"], frame["update"])
        assert view.psnr_db == float(frame["psnr"])
        assert frame_line(number, 16, view) == f"frame 0{number}/16: {frame['line']}"
    expected = np.zeros((8, 8), np.uint8)
    expected[0:4, 0:4], expected[6:8, 6:8] = 10, 30
    np.testing.assert_array_equal(views[2].output, np.repeat(expected[..., None], 3, axis=2))


def test_miniature_render_summary() -> None:
    metrics = RenderMetrics()
    for view in miniature():
        metrics.add(view)
    expected = VECTORS["render_summary"] | {
        "positive_fixations": 2,
        # no grid is named: 224 pixels of a tile to 4 and to 2 pixels of a cell
        "cell_grid_histogram": {"14x14": 2},
    }
    assert list(metrics.summary().items()) == list(expected.items())


def test_summary_of_a_keyframe_alone_has_no_psnr() -> None:
    metrics = RenderMetrics()
    metrics.add(miniature()[0])
    summary = metrics.summary()
    assert [value for key, value in summary.items() if "psnr" in key] == [None] * 4
    assert summary["max_update_ratio"] == 1.0


def test_summary_needs_a_frame() -> None:
    with pytest.raises(InputError, match="without frames"):
        RenderMetrics().summary()


def test_histogram_counts_active_cells_by_name() -> None:
    """Visualization spec 6.6: the cells that name no grid are measured in tiles."""
    cell = {"cell": [0, 0, 2, 2]}
    points = fixations(
        [cell | {"grid": g} for g in (14, 4, 14, 7)]
        + [cell | {"grid": 2, "conf": 0}, cell, {"cell": [0, 0, 8, 16]}, {"cell": [0, 0, 14, 1]}]
    )
    metrics = RenderMetrics(tile_size=32)
    metrics.add(Compositor(Visualization()).step(np.zeros((32, 64, 3), np.uint8), points))
    summary = metrics.summary()
    assert summary["positive_fixations"] == 7
    # 32/max(32, 16) = 1 -> 2; 32/max(8, 2) = 4; 32/max(64/14, 32) = 1 -> 2
    assert list(summary["cell_grid_histogram"].items()) == [
        ("14x14", 2),
        ("2x2", 2),
        ("4x4", 2),
        ("7x7", 1),
    ]


def test_palette_is_in_string_order() -> None:
    assert list(MASK_PALETTE.items()) == [
        ("14x14", [230, 110, 255]),
        ("2x2", [255, 180, 0]),
        ("4x4", [60, 220, 120]),
        ("7x7", [0, 185, 255]),
    ]
