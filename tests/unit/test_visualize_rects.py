"""Cell rectangles and unions, against the vectors and against counting pixels one by one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autogaze_cli.visualize.rects import fixation_rects, paint, union
from tests.golden.visualize_vectors import fixations, lines

SIZES = st.integers(1, 12)


@pytest.mark.parametrize("vector", lines("visualize_rects.jsonl"), ids=lambda v: str(v["id"]))
def test_rect_is_the_one_of_float32_arithmetic(vector: dict[str, Any]) -> None:
    width, height = vector["wh"]
    rects = fixation_rects(fixations([vector["pt"]]), width, height, vector["s"])
    assert rects.tolist() == [vector["rect"]]
    assert rects.dtype == np.int32


@pytest.mark.parametrize(
    ("size", "cells", "starts_lower", "ends_higher"),
    [
        *((n, 7, {1, 4, 5, 6}, set()) for n in (224, 448)),
        *((n, 14, {1, 4, 5, 6, 7}, set()) for n in (224, 448)),
        *((n, 14, {7}, set()) for n in (1920, 1080, 1280, 720, 640, 384, 360, 216)),
        *((n, g, set(), set()) for n in (1920, 1080, 640, 216) for g in (2, 4, 7)),
        (1920, 18, {6, 12}, {14}),
        (1920, 36, {6, 12}, {14}),
        (1920, 63, {42}, set()),
        (1920, 126, {42, 63}, set()),
        (1080, 10, {3, 4, 6}, {8}),
        (1080, 20, {3, 4, 6, 10}, {8}),
        (1080, 35, {21, 28}, set()),
        (1080, 70, {21, 28, 35}, set()),
        (1280, 12, {3}, set()),
        (1280, 24, {3, 12}, set()),
        (1280, 42, set(), set()),
        (1280, 84, {42}, set()),
        (720, 8, set(), set()),
        (720, 16, set(), set()),
        (720, 28, {7}, set()),
        (720, 56, {7}, set()),
    ],
)
def test_rects_differ_from_exact_cells_where_the_spec_lists_it(
    size: int, cells: int, starts_lower: set[int], ends_higher: set[int]
) -> None:
    """Visualization spec 1.3, on both axes."""
    row = fixations([{"cell": [i, i, cells, cells]} for i in range(cells)])
    x0, x1, y0, y1 = fixation_rects(row, size, size).T
    index = np.arange(cells)
    exact_start, exact_end = index * size // cells, -(-(index + 1) * size // cells)
    for start, end in ((x0, x1), (y0, y1)):
        assert (exact_start - start).tolist() == [int(i in starts_lower) for i in index]
        assert (end - exact_end).tolist() == [int(i in ends_higher) for i in index]


def test_inactive_fixations_have_no_rect_and_duplicates_keep_theirs() -> None:
    cell = {"xywh": [0.25, 0.25, 0.5, 0.5]}
    points = fixations([cell, cell | {"conf": 0}, cell | {"conf": float("nan")}, cell])
    assert fixation_rects(points, 8, 8).tolist() == [[0, 4, 0, 4], [0, 4, 0, 4]]


@pytest.mark.parametrize("scale", [0.0, -3.0])
def test_scale_of_at_most_zero_acts_as_the_smallest(scale: float) -> None:
    points = fixations([{"xywh": [0.5, 0.5, 1, 1]}])
    assert (
        fixation_rects(points, 8, 8, scale).tolist() == fixation_rects(points, 8, 8, 1e-6).tolist()
    )


@st.composite
def rects_in_a_frame(draw: st.DrawFn) -> tuple[NDArray[np.int32], int, int]:
    width, height = draw(SIZES), draw(SIZES)
    rects = [
        sorted((draw(st.integers(0, width)), draw(st.integers(0, width))))
        + sorted((draw(st.integers(0, height)), draw(st.integers(0, height))))
        for _ in range(draw(st.integers(0, 12)))
    ]
    full = [r for r in rects if r[0] < r[1] and r[2] < r[3]]
    return np.array(full, np.int32).reshape(-1, 4), width, height


def pixel_by_pixel(rects: NDArray[np.int32], width: int, height: int) -> NDArray[np.bool_]:
    return np.array(
        [
            [any(x0 <= x < x1 and y0 <= y < y1 for x0, x1, y0, y1 in rects) for x in range(width)]
            for y in range(height)
        ]
    )


@given(rects_in_a_frame())
def test_every_way_to_the_union_covers_the_same_pixels(
    case: tuple[NDArray[np.int32], int, int],
) -> None:
    expected = pixel_by_pixel(*case)
    np.testing.assert_array_equal(paint(*case), expected)
    np.testing.assert_array_equal(union(*case).mask(), expected)
    assert union(*case).pixel_count == expected.sum()


@pytest.mark.parametrize("n", [0, 3, 30, 3000])
@pytest.mark.parametrize("channels", [3, 4])
def test_select_takes_pixels_where_the_mask_is(n: int, channels: int) -> None:
    rng = np.random.default_rng(n)
    inside, outside = rng.integers(0, 256, (2, 135, 241, channels), np.uint8)
    x, y = rng.integers(0, 241, n), rng.integers(0, 135, n)
    rects = np.stack([x, np.minimum(x + 9, 241), y, np.minimum(y + 5, 135)], axis=1)
    covered = union(rects.astype(np.int32), 241, 135)
    expected = np.where(paint(rects, 241, 135)[..., None], inside, outside)
    np.testing.assert_array_equal(covered.select(inside, outside), expected)
