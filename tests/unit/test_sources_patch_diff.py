"""The patch-difference source against inference spec 9 and 11.5."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autogaze_cli.model.preprocess import IMAGE_STD, normalise
from autogaze_cli.sources.patch_diff import PatchDiff

Frame = NDArray[np.uint8]


UNIT = (2.0, 2.0, 2.0)
"""With this standard deviation a change from 0 to 255 is 1 in normalised units, as in the spec."""


def changed(height: int, width: int, rows: slice, cols: slice) -> tuple[Frame, Frame]:
    """Two frames, the second differing by 1 normalised unit in the given region."""
    previous = np.zeros((height, width, 3), np.uint8)
    current = previous.copy()
    current[rows, cols] = 255
    return previous, current


def test_quarter_of_the_frame() -> None:
    source = PatchDiff(grid=2, threshold=0.25, std=UNIT)
    found = source.fixations(*changed(28, 28, slice(14, 28), slice(14, 28)))
    assert (found.x.tolist(), found.y.tolist()) == ([0.75], [0.75])
    assert (found.width.tolist(), found.height.tolist()) == ([0.5], [0.5])
    assert (found.confidence.tolist(), found.token.tolist()) == ([1.0], [3])
    assert (found.grid.tolist(), found.tile.tolist(), found.slot.tolist()) == ([2], [0], [0])


def test_one_cell() -> None:
    source = PatchDiff(grid=14, threshold=0.25, std=UNIT)
    found = source.fixations(*changed(28, 28, slice(10, 12), slice(8, 10)))
    assert found.token.tolist() == [5 * 14 + 4]
    assert found.x[0] == np.float32(4.5) / np.float32(14)
    assert found.y[0] == np.float32(5.5) / np.float32(14)
    assert found.width[0] == np.float32(1) / np.float32(14)


def test_threshold_zero_has_graded_confidence() -> None:
    previous, current = changed(4, 4, slice(0, 2), slice(0, 2))
    current[1, 1] = 0
    source = PatchDiff(grid=2, threshold=0, std=UNIT)
    scores = source.scores(previous, current)
    assert scores.ravel().tolist() == [0.75, 0, 0, 0]
    assert source.select(scores).confidence.tolist() == [0.75]
    tiny = np.array([[1e-12, 5.0], [np.inf, np.nan]], np.float32)
    assert source.select(tiny).token.tolist() == [1, 0]
    assert source.select(tiny).confidence.tolist() == [1.0, float(np.finfo(np.float32).eps)]


def test_sizes_that_the_grid_does_not_divide() -> None:
    source = PatchDiff(grid=3, threshold=0.1, std=UNIT)
    scores = source.scores(*changed(5, 7, slice(0, 3), slice(0, 4)))
    expected = np.array([1, 2 / 3, 0, 2 / 3, 4 / 9, 0, 0, 0, 0], np.float32)
    np.testing.assert_array_equal(scores.ravel(), expected)
    found = source.select(scores)
    assert found.token.tolist() == [0, 1, 3, 4]
    assert found.confidence.tolist() == [1.0] * 4


def test_one_frame_has_no_points() -> None:
    assert len(PatchDiff().fixations(None, np.zeros((4, 4, 3), np.uint8))) == 0


def test_threshold_is_exclusive() -> None:
    scores = np.array([[0.45, np.nextafter(np.float32(0.45), np.float32(1))]] * 2, np.float32)
    assert PatchDiff(grid=2, threshold=0.45).select(scores).token.tolist() == [1, 3]


def test_equal_scores_keep_row_major_order() -> None:
    scores = np.array([[0.5, 0.9], [0.9, 0.5]], np.float32)
    assert PatchDiff(grid=2).select(scores).token.tolist() == [1, 2, 0, 3]


def test_one_grey_level() -> None:
    still = np.full((224, 398, 3), 100, np.uint8)
    scores = PatchDiff().scores(still, still + np.uint8(1))
    np.testing.assert_allclose(scores, 0.0347, atol=5e-5)
    assert len(PatchDiff().fixations(still, still + np.uint8(12))) == 0
    assert len(PatchDiff().fixations(still, still + np.uint8(13))) == 196


def test_standard_deviation_is_that_of_the_processor() -> None:
    assert PatchDiff().std == IMAGE_STD


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    grid=st.integers(1, 16),
    seed=st.integers(0, 2**32 - 1),
)
def test_integer_sums_equal_the_normalised_means_of_the_reference(
    height: int, width: int, grid: int, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    source = PatchDiff(grid=grid)
    exact = source.scores(frames[0], frames[1])
    video = normalise(torch.from_numpy(frames)).numpy()
    # The reference's own definition: the mean over channels, averaged adaptively.
    plane = torch.from_numpy(np.abs(video[1] - video[0]).mean(axis=0))[None]
    pooled = torch.nn.functional.adaptive_avg_pool2d(plane, (grid, grid))[0]
    np.testing.assert_allclose(exact, pooled.numpy(), rtol=2e-6, atol=2e-6)  # of float32 means


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_tensors_score_as_arrays_do(height: int, width: int, grid: int, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    source = PatchDiff(grid=grid, threshold=0.3)
    tensors = torch.from_numpy(frames)
    np.testing.assert_array_equal(source.scores(*tensors), source.scores(*frames))
    found, expected = source.fixations(*tensors), source.fixations(*frames)
    assert found.token.tolist() == expected.token.tolist()
