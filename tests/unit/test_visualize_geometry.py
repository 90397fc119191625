"""Mask geometries: the vectors, and what holds for any fixations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.geometry import (
    deduplicate,
    display_grid,
    effective_grid,
    effective_rects,
    mask_rects,
)
from autogaze_cli.visualize.rects import fixation_rects, paint, union
from tests.golden.visualize_vectors import fixations, full_size, lines

FRACTION = st.floats(0, 1, width=32)
POINTS = st.lists(
    st.fixed_dictionaries(
        {
            "xywh": st.tuples(FRACTION, FRACTION, FRACTION, FRACTION),
            "grid": st.sampled_from([0, 2, 4, 7, 14]),
            "conf": st.sampled_from([0, 0.5, 1, 1]),
        }
    )
    | st.sampled_from([2, 4, 7, 14]).flatmap(
        lambda g: st.fixed_dictionaries(
            {
                "cell": st.tuples(
                    st.integers(0, g - 1), st.integers(0, g - 1), st.just(g), st.just(g)
                ),
                "grid": st.just(g),
            }
        )
    ),
    max_size=12,
).map(fixations)
SIZES = st.integers(1, 30)
SCALES = st.sampled_from([1.0, 0.5, 2.5, 1e-6])


@pytest.mark.parametrize("vector", lines("visualize_geometry.jsonl"), ids=lambda v: str(v["id"]))
def test_rect_list_and_union(vector: dict[str, Any]) -> None:
    points = fixations(vector["pts"])
    width, height = vector["wh"]
    rects = mask_rects(points, width, height, vector["mode"], vector["s"])
    assert rects.tolist() == vector["rects"]
    assert union(rects, width, height).pixel_count == vector["union"]
    if "grid" in vector:
        assert list(effective_grid(points)) == vector["grid"]


@given(POINTS, SIZES, SIZES, SCALES)
def test_deduplication_keeps_exactly_what_adds_pixels(
    points: Fixations, width: int, height: int, scale: float
) -> None:
    """Visualization spec 2.2, done as it is written there."""
    active = points.active()
    order = sorted(
        range(len(active)),
        key=lambda i: (-active.width[i], -active.height[i], display_grid(active)[i]),
    )
    rects = fixation_rects(active, width, height, scale)
    covered = np.zeros((height, width), bool)
    expected = []
    for i in order:
        x0, x1, y0, y1 = rects[i]
        if not covered[y0:y1, x0:x1].all():
            covered[y0:y1, x0:x1] = True
            expected.append(int(active.slot[i]))
    kept = deduplicate(points, width, height, scale)
    assert kept.slot.tolist() == expected
    native, dedup = (
        paint(mask_rects(points, width, height, name, scale), width, height)
        for name in ("native", "deduplicated")
    )
    np.testing.assert_array_equal(native, dedup)


@given(POINTS, SIZES, SIZES, SCALES)
def test_effective_has_a_pixel_for_every_active_fixation(
    points: Fixations, width: int, height: int, scale: float
) -> None:
    rects = effective_rects(points, width, height, scale)
    assert len(rects) == len(points.active())
    x0, x1, y0, y1 = rects.T
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= width)).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= height)).all()


@pytest.mark.parametrize(
    ("extent", "grid", "expected"),
    [
        (1 / 3, 0, 2),  # a tie: the smaller one
        (1 / 5.5, 0, 4),
        (1 / 10.5, 0, 7),
        (1 / 100, 0, 14),
        (1, 0, 2),
        (1 / 14, 5, 5),
        (1 / 14, 28, 28),
    ],
)
def test_display_grid_is_the_own_one_or_the_nearest(
    extent: float, grid: int, expected: int
) -> None:
    points = fixations([{"xywh": [0.5, 0.5, 0.001, extent], "grid": grid}])
    assert display_grid(points).tolist() == [expected]


def cells(*boxes: tuple[int, int, int, int]) -> Fixations:
    """Fixations of the pixels ``x0, x1, y0, y1`` of a frame of 16 x 16."""
    x0, x1, y0, y1 = np.array(boxes).T / 16
    return Fixations.from_columns(
        {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0}
    )


@pytest.mark.parametrize(
    ("smaller", "kept"),
    [
        ((4, 8, 4, 8), 1),  # inside
        ((4, 8, 2, 6), 2),  # out above
        ((4, 8, 8, 11), 2),  # out below
        ((2, 6, 4, 8), 2),  # out to the left
        ((9, 11, 4, 8), 2),  # out to the right
        ((4, 10, 4, 10), 1),  # the same
        ((12, 14, 12, 14), 2),  # apart
    ],
)
def test_a_cell_stays_where_any_pixel_of_it_shows(
    smaller: tuple[int, int, int, int], kept: int
) -> None:
    for sign in (1, -1):
        points = cells(*[(4, 10, 4, 10), smaller][::sign])
        found = deduplicate(points, 16, 16)
        assert len(found) == kept
        assert fixation_rects(found, 16, 16)[0].tolist() == [4, 10, 4, 10]


def test_a_scale_of_one_but_for_rounding_is_one() -> None:
    """Visualization spec 2.3: within float32 epsilon, whole numbers decide."""
    epsilon = float(np.finfo(np.float32).eps)
    point = fixations([{"cell": [3, 5, 14, 14], "grid": 14}])
    for scale in (1.0, 1 + epsilon, 1 - epsilon):
        assert effective_rects(point, 28, 28, scale).tolist() == [[6, 8, 10, 12]]
    assert effective_rects(point, 28, 28, 1 + 2 * epsilon).tolist() == [[5, 9, 9, 13]]


def test_a_cell_is_never_larger_than_the_frame() -> None:
    """Visualization spec 2.3: half a frame to each side of the middle, at most."""
    point = fixations([{"cell": [3, 10, 14, 14], "grid": 14}])
    assert effective_rects(point, 28, 28, 100).tolist() == [[0, 21, 7, 28]]


def test_full_size_cells() -> None:
    """Visualization spec 8.9."""
    points = full_size()
    x0, x1, y0, y1 = fixation_rects(points, 1920, 1080).T
    assert int(((x1 - x0) * (y1 - y0)).sum()) == 930397
    counts = {
        name: union(mask_rects(points, 1920, 1080, name), 1920, 1080).pixel_count
        for name in ("native", "deduplicated", "effective")
    }
    assert counts == {"native": 783150, "deduplicated": 783150, "effective": 215121}
    kept = deduplicate(points, 1920, 1080)
    dropped = set(range(22)) - set(kept.slot.tolist())
    assert len(kept) == 18
    assert [(int(points.grid[i]), i) for i in sorted(dropped)] == [
        (7, 2),
        (14, 12),
        (14, 15),
        (14, 18),
    ]
    native = paint(fixation_rects(points, 1920, 1080), 1920, 1080)
    exact = np.zeros((1080, 1920), bool)
    for x, y, g in zip(points.x, points.y, points.grid.tolist(), strict=True):
        column, row = int(x * g), int(y * g)
        exact[
            row * 1080 // g : -(-(row + 1) * 1080 // g),
            column * 1920 // g : -(-(column + 1) * 1920 // g),
        ] = True
    np.testing.assert_array_equal(native, exact)


def test_frame_covered_by_coarse_cells_keeps_only_those() -> None:
    """Visualization spec 9.4, frame 0: 4, 16, 49 and 129 cells of the four grids."""
    points = fixations(
        [
            {"cell": [i % g, i // g, g, g], "grid": g}
            for g, n in ((14, 129), (7, 49), (4, 16), (2, 4))
            for i in range(n)
        ]
    )
    assert union(fixation_rects(points, 1920, 1080), 1920, 1080).pixel_count == 2073600
    assert deduplicate(points, 1920, 1080).grid.tolist() == [2, 2, 2, 2]
