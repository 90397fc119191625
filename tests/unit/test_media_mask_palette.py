"""The five mask colours, floor sampling and the delay: the vectors of visualization spec 8.8."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.media.mask_palette import (
    MASK_PALETTE,
    floor_sample,
    mask_indices,
)

INDICES = {
    (0, 0, 0): 0,
    (255, 180, 0): 1,
    (60, 220, 120): 2,
    (0, 185, 255): 3,
    (230, 110, 255): 4,
    (107, 76, 0): 1,
    (25, 92, 50): 2,
    (0, 78, 107): 3,
    (97, 46, 107): 4,
    (1, 0, 0): 2,
    (255, 255, 255): 4,
    (128, 128, 128): 2,
    (0, 0, 255): 3,
    (255, 0, 0): 1,
    (1, 78, 107): 2,
    (97, 46, 108): 2,
}


def test_indices() -> None:
    image = np.array([list(INDICES)], np.uint8)
    assert mask_indices(image).tolist() == [list(INDICES.values())]


def test_indices_ignore_alpha() -> None:
    image = np.array([[(*rgb, 7) for rgb in INDICES]], np.uint8)
    assert mask_indices(image).tolist() == [list(INDICES.values())]


@given(st.tuples(*[st.integers(0, 255)] * 3).filter(lambda rgb: rgb not in INDICES))
def test_other_colours_are_never_black_and_nearest(rgb: tuple[int, int, int]) -> None:
    distances = [
        sum((int(a) - b) ** 2 for a, b in zip(entry, rgb, strict=True))
        for entry in MASK_PALETTE.tolist()[1:]
    ]
    expected = 1 + distances.index(min(distances))
    assert mask_indices(np.array([[rgb]], np.uint8)).item() == expected


@pytest.mark.parametrize(
    ("source", "wanted", "columns"),
    [
        (10, 4, [0, 2, 5, 7]),
        (7, 3, [0, 2, 4]),
        (4, 10, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]),
        (1920 // 8, 384 // 8, [5 * x for x in range(48)]),
        (1080 // 8, 216 // 8, [5 * y for y in range(27)]),
    ],
)
def test_sampling(source: int, wanted: int, columns: list[int]) -> None:
    line = np.arange(source, dtype=np.uint8)
    assert floor_sample(line[None, :], wanted, 1)[0].tolist() == columns
    assert floor_sample(line[:, None], 1, wanted)[:, 0].tolist() == columns


def test_sampling_reads_single_pixels() -> None:
    # Panel C7 of spec 8.8: of 8 x 8 pixels only those of even rows and columns are read.
    panel = np.zeros((8, 8, 3), np.uint8)
    panel[0, 2] = 255, 180, 0
    panel[7, 5] = 60, 220, 120
    expected = np.zeros((4, 4), np.uint8)
    expected[0, 1] = 1
    assert np.array_equal(mask_indices(floor_sample(panel, 4, 4)), expected)
