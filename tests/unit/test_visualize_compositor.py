"""Composed frames: the sequences of the vectors, and the rule any strategy must keep."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.errors import ConfigError
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.geometry import mask_rects
from autogaze_cli.visualize.panels import mix
from autogaze_cli.visualize.rects import Image, paint
from autogaze_cli.visualize.settings import GEOMETRIES, Visualization
from tests.golden.visualize_vectors import document, fixations, full_size

SOURCE = np.array([[[10, 20, 30, 200], [100, 110, 120, 255]]], np.uint8)
LEFT_HALF = fixations([{"xywh": [0.25, 0.5, 0.5, 1], "grid": 2}])


def interframe(keyframe_duration: int, **settings: Any) -> Visualization:
    return Visualization(
        visualization_mode="interframe", keyframe_duration=keyframe_duration, **settings
    )


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "sequence", document("visualize_interframe.json"), ids=lambda s: str(s["id"])
)
def test_interframe_sequence(sequence: dict[str, Any], channels: int) -> None:
    duration = sequence["kd"]
    compositor = Compositor(interframe(duration))
    for frame in sequence["frames"]:
        if "set_kd" in frame:
            duration = frame["set_kd"]
            compositor.settings = interframe(duration)
        if "toggle" in frame:
            compositor = Compositor(interframe(duration))
        width, height = frame["wh"]
        source = np.zeros((height, width, channels), np.uint8)
        source[..., 3:] = 255
        source[..., 0] = np.reshape(frame["r"], (height, width))
        view = compositor.step(source, fixations(frame["pts"]))
        source[:] = 99  # the caller's buffer; the output must not share it
        assert view.output[..., 0].reshape(-1).tolist() == frame["out"]
        assert (view.mask_ratio, view.update_ratio) == (frame["mask"], frame["update"])
        assert view.keyframe == frame["key"]


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.5, [133, 138, 143, 200]), (0.25, [71, 79, 86, 200]), (-1, [10, 20, 30, 200])],
)
def test_full_blend_goes_towards_white(alpha: float, expected: list[int]) -> None:
    """Visualization spec 8.4."""
    view = Compositor(Visualization(blend_alpha=alpha)).step(SOURCE, LEFT_HALF)
    assert view.output.tolist() == [[expected, [100, 110, 120, 255]]]
    assert (view.updated_pixel_count, view.keyframe) == (1, False)


@given(st.data())
def test_interframe_keeps_the_equivalence_rule(data: st.DataObject) -> None:
    """Visualization spec 4.5, and no geometry or panel style changes it."""
    geometry = data.draw(st.sampled_from(list(GEOMETRIES)))
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    channels = data.draw(st.sampled_from([3, 4]))
    duration = data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    compositor = Compositor(interframe(duration, mask_geometry=geometry))
    previous: Image | None = None
    for index in range(6):
        frame = rng.integers(0, 256, (height, width, channels), np.uint8)
        grids = rng.choice([2, 4, 7, 14], data.draw(st.integers(0, 9)))
        points = fixations(
            [{"cell": [*rng.integers(0, g, 2).tolist(), g, g], "grid": g} for g in grids.tolist()]
        )
        view = compositor.step(frame, points)
        mask = paint(mask_rects(points, width, height, geometry), width, height)
        key = previous is None or (duration > 0 and index % duration == 0)
        expected = frame.copy()
        if previous is not None and not key:
            expected[~mask] = previous[~mask]
        np.testing.assert_array_equal(view.output, expected)
        assert view.mask_pixel_count == mask.sum()
        assert view.updated_pixel_count == (height * width if key else mask.sum())
        assert math.isinf(view.psnr_db) == np.array_equal(view.output[..., :3], frame[..., :3])
        previous = view.output


@pytest.mark.parametrize("channels", [3, 4])
def test_full_blend_touches_covered_pixels_once(channels: int) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (270, 480, channels), np.uint8)
    view = Compositor(Visualization(blend_alpha=0.55)).step(frame, full_size())
    mask = view.union.mask()
    expected = frame.copy()
    expected[mask, :3] = mix(frame[mask, :3], 255, 0.55)
    np.testing.assert_array_equal(view.output, expected)
    assert view.update_ratio == view.mask_ratio == mask.mean()


def test_full_size_interframe() -> None:
    """Visualization spec 9.4."""
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 256, (2, 1080, 1920, 3), np.uint8)
    whole = fixations([{"cell": [i % 2, i // 2, 2, 2], "grid": 2} for i in range(4)])
    compositor = Compositor(interframe(30))
    view = compositor.step(first, whole)
    assert (view.updated_pixel_count, view.psnr_db) == (2073600, math.inf)
    np.testing.assert_array_equal(view.output, first)
    view = compositor.step(second, full_size())
    assert (view.updated_pixel_count, view.update_ratio) == (783150, 0.37767650462962965)
    mask = view.union.mask()[..., None]
    np.testing.assert_array_equal(view.output, np.where(mask, second, first))


def test_keyframes_at_duration_12() -> None:
    """Visualization spec 8.7."""
    compositor = Compositor(interframe(12))
    frame = np.zeros((8, 8, 3), np.uint8)
    keys = [compositor.step(frame, fixations([])).keyframe for _ in range(16)]
    assert [i for i, key in enumerate(keys) if key] == [0, 12]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
    ids=lambda frame: f"{frame.dtype}{frame.shape}",
)
def test_unusable_frame_is_refused_and_changes_nothing(frame: Any) -> None:
    compositor = Compositor(interframe(2))
    good = np.zeros((2, 2, 3), np.uint8)
    compositor.step(good, fixations([]))
    with pytest.raises(ConfigError, match="frame"):
        compositor.step(frame, fixations([]))
    assert [compositor.step(good + 1, fixations([])).keyframe for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("geometry", "pixels"), [("native", 196), ("deduplicated", 196), ("effective", 4)]
)
def test_pixels_of_a_geometry_are_what_is_blended(geometry: str, pixels: int) -> None:
    """A quarter of the frame is one cell of 14 x 14 in the effective geometry."""
    point = fixations([{"cell": [0, 0, 2, 2], "grid": 2}])
    settings = Visualization(mask_geometry=geometry, blend_alpha=1)
    view = Compositor(settings).step(np.zeros((28, 28, 3), np.uint8), point)
    assert view.mask_pixel_count == pixels
    assert (view.output == 255).all(axis=2).sum() == pixels
    assert view.updated_pixel_count == pixels
    assert (view.mask_ratio, view.update_ratio) == (pixels / 784, pixels / 784)


def test_output_cannot_be_overwritten() -> None:
    view = Compositor(interframe(0)).step(SOURCE, LEFT_HALF)
    with pytest.raises(ValueError, match="read-only"):
        view.output[0, 0, 0] = 1
