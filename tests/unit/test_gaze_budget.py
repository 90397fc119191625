"""Budgets against inference spec 8.1 to 8.3, 11.4 and visualization spec 8.6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.budget import (
    Budget,
    BudgetRequest,
    CoverageTracker,
    coverage_budget,
    ratio_budget,
    requirement_from_db,
)
from autogaze_cli.gaze.tokens import ScaleLayout

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)


@pytest.mark.parametrize(
    ("ratio", "tokens"),
    [
        (0.75, 198),
        (0.5, 132),
        (0.4, 106),
        (0.2, 53),
        (0.1, 26),
        (0.03, 7),
        (1.0, 265),
        (0.002, 1),
        (0.0, 1),
        (1.2, 265),
    ],
)
def test_ratio(ratio: float, tokens: int) -> None:
    assert ratio_budget(ratio, 265) == tokens


@pytest.mark.parametrize(
    ("db", "requirement"),
    [(0, 1.0), (3, 0.70794576), (20, 0.1), (40, 0.01), (-5, 1.0), (math.inf, 0.0), (6.0206, 0.5)],
)
def test_requirement_from_db(db: float, requirement: float) -> None:
    found = requirement_from_db(db)
    assert found == float(np.float32(found)), "a float32 value"
    assert found == pytest.approx(requirement, abs=1e-7)


def test_requirement_from_db_rounds_once() -> None:
    assert requirement_from_db(20) == float(np.float32(0.1))
    assert requirement_from_db(3) == float(np.float32(0.70794576))
    assert math.isnan(requirement_from_db(math.nan))
    assert math.isnan(requirement_from_db(-math.inf))


@dataclass(frozen=True)
class Published:
    """The numbers of the published model."""

    num_vision_tokens_each_frame: int = 265
    num_multi_token_pred: int = 10
    gazing_ratio: float | None = 0.75
    task_loss_requirement: float | None = 0.7


PUBLISHED = Published()


def resolve(model: Published = PUBLISHED, **asked: Any) -> Budget:
    return Budget.resolve(model, BudgetRequest(**asked))


@pytest.mark.parametrize(
    ("given", "tokens", "requirement"),
    [
        ({"gazing_ratio": 0.5, "task_loss_requirement": 0.6}, 132, 0.6),
        ({"gazing_ratio": 0.5}, 132, None),
        ({"gazing_ratio": [0.2, 0.03]}, (53, 7), None),
        ({"task_loss_requirement": 0.6}, 265, 0.6),
        ({"task_loss_requirement": 0}, 265, 0),
        ({}, 198, 0.7),
        ({"task_loss_requirement": None}, 198, None),
        ({"max_gaze_tokens_each_frame": 24}, 24, 0.7),
        ({"max_gaze_tokens_each_frame": 24, "task_loss_requirement": 0.6}, 24, 0.6),
        ({"max_gaze_tokens_each_frame": [24, 2]}, (24, 2), 0.7),
        ({"max_gaze_tokens_each_frame": 900}, 265, 0.7),
        ({"max_gaze_tokens_each_frame": 4, "top_k": 10}, 10, 0.7),
        ({"top_k": 200}, 200, 0.7),
        ({"top_k": 2}, 198, 0.7),
        ({"gazing_ratio": 0.03, "top_k": 10}, 7, None),
    ],
)
def test_what_applies(
    given: dict[str, Any], tokens: int | tuple[int, ...], requirement: float | None
) -> None:
    assert resolve(**given) == Budget(max_tokens=tokens, task_loss_requirement=requirement)


def test_a_model_without_defaults() -> None:
    never = Published(task_loss_requirement=None)
    assert resolve(never) == Budget(max_tokens=198, task_loss_requirement=None)
    without_ratio = Published(gazing_ratio=None)
    assert resolve(without_ratio) == Budget(max_tokens=10, task_loss_requirement=0.7)


@pytest.mark.parametrize("ratio", [math.nan, math.inf, [0.5, -math.inf]])
def test_a_ratio_that_is_not_finite(ratio: float | list[float]) -> None:
    with pytest.raises(ConfigError, match="gazing_ratio must be a finite number"):
        resolve(gazing_ratio=ratio)


def test_tokens_of_each_frame() -> None:
    assert resolve(gazing_ratio=0.1).each_frame(3) == (26, 26, 26)
    assert resolve(gazing_ratio=[0.2, 0.03]).each_frame(2) == (53, 7)
    with pytest.raises(ConfigError, match="2 token budgets for 3 frames"):
        resolve(gazing_ratio=[0.2, 0.03]).each_frame(3)


@pytest.mark.parametrize(
    ("tokens", "coverage", "expected"),
    [
        (198, 0.45, 90),
        (24, 0.45, 24),
        (198, None, 198),
        (198, 1.0, 198),
        (198, 0.05, 10),
        (198, 0.001, 10),
        (198, 0.7, 140),
        (198, 0.9, 180),
        (198, 0.0, 198),
        (198, -1.0, 198),
        (198, math.nan, 198),
        (198, math.inf, 198),
        (265, 1.0, 265),  # never fewer than the frame has, although 200 reach every finest cell
        (265, 1.2, 265),
    ],
)
def test_coverage_budget(tokens: int, coverage: float | None, expected: int) -> None:
    assert coverage_budget(tokens, coverage, LAYOUT, 10) == expected


@pytest.mark.parametrize(
    ("coverage", "stop", "ids", "covered"),
    [
        (1.0, 784, [0, 1, 2, 3, 4], [196, 392, 588, 784, 784]),
        (0.45, 353, [0, 4, 20, 69, 264, 3], [196, 196, 196, 196, 200, 392]),
    ],
)
def test_coverage_tracker(coverage: float, stop: int, ids: list[int], covered: list[int]) -> None:
    tracker = CoverageTracker(LAYOUT, coverage)
    assert tracker.stop_cells == stop
    for token, cells in zip(ids, covered, strict=True):
        tracker.mark(token)
        assert tracker.covered == cells
        assert tracker.done == (cells >= stop)


@pytest.mark.parametrize("coverage", [0.0, -1.0, math.nan, math.inf])
def test_coverage_that_is_ignored(coverage: float) -> None:
    tracker = CoverageTracker(LAYOUT, coverage)
    for token in range(4):
        tracker.mark(token)
    assert (tracker.covered, tracker.done) == (784, False)


def test_grids_without_a_small_common_multiple_share_cells() -> None:
    layout = ScaleLayout.from_config([16 * 17, 16 * 19], 17**2 + 19**2, 16)  # 17 * 19 = 323 > 256
    tracker = CoverageTracker(layout, 1.0)
    assert tracker.stop_cells == 19**2
    tracker.mark(0)  # cell 0 of 17 covers 0 to 19/17, two cells of 19 a side
    assert tracker.covered == 4


@given(st.lists(st.integers(0, 264), max_size=40), st.floats(0.001, 2))
def test_tracker_grows_and_never_exceeds_the_area(ids: list[int], coverage: float) -> None:
    tracker = CoverageTracker(LAYOUT, coverage)
    before, area = 0, 0.0
    for token in ids:
        tracker.mark(token)
        grid, _, _ = LAYOUT.cells(token)
        area += (28 / int(grid)) ** 2
        assert before <= tracker.covered <= min(area, 784)
        before = tracker.covered
    assert tracker.done == (tracker.covered >= tracker.stop_cells)
