"""Token ids and cells against inference spec 1.2, 4.1, 5.2 and 11.1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
PARITY = Path(__file__).parents[2] / "fixtures" / "parity"


def test_published_layout() -> None:
    assert LAYOUT.scales == (32, 64, 112, 224)
    assert LAYOUT.grids == (2, 4, 7, 14)
    assert LAYOUT.counts == (4, 16, 49, 196)
    assert LAYOUT.offsets == (0, 4, 20, 69)
    assert LAYOUT.num_tokens == 265


def test_counts_that_do_not_fit_are_shared_out_by_area() -> None:
    layout = ScaleLayout.from_config("32+64+224", 10, 16)
    assert layout.counts == (0, 0, 10)
    assert layout.grids == (1, 1, 3)
    # Ten ids on a 3 x 3 grid: the last one lies below it and is clamped to the frame.
    assert [int(value) for value in layout.cells(9)] == [3, 3, 0]
    assert layout.fixations([9], 1.0).y[0] == 1.0


@pytest.mark.parametrize(
    ("scales", "num_tokens", "counts", "grids"),
    [
        # The sum of the areas is 55,296: 1.85, 7.41 and 90.74 of 100 ids.
        ((32, 64, 224), 100, (1, 7, 92), (1, 3, 10)),
        ((32, 64), 0, (0, 0), (1, 1)),
        ((224,), 0, (0,), (1,)),
        ((), 0, (1,), (1,)),
        ((), 10, (10,), (3,)),
        # Scales smaller than a patch still have one cell each.
        ((8, 16, 32), 6, (1, 1, 4), (1, 1, 2)),
    ],
)
def test_layouts_of_odd_configurations(
    scales: tuple[int, ...], num_tokens: int, counts: tuple[int, ...], grids: tuple[int, ...]
) -> None:
    layout = ScaleLayout.in_order(scales, num_tokens, 16)
    assert (layout.counts, layout.grids) == (counts, grids)
    assert layout.num_tokens == sum(counts)


def test_ids_of_whole_grids() -> None:
    assert ScaleLayout.count_ids("32+64+112+224", 16) == 265
    assert ScaleLayout.count_ids([8, 40], 16) == 1 + 4


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ("224+32+112+64", (32, 64, 112, 224)),
        (" 64 + 32", (32, 64)),
        (224, (224,)),
        ([64, 32], (32, 64)),
    ],
)
def test_scales_are_sorted_in_every_form(
    scales: str | int | list[int], expected: tuple[int, ...]
) -> None:
    assert ScaleLayout.from_config(scales, 1, 16).scales == expected


@pytest.mark.parametrize("scales", ["32+abc", "32++64", "", "32+64.5", [], "0+32", -4])
def test_bad_scales_are_refused(scales: str | int | list[int]) -> None:
    with pytest.raises(ConfigError, match="scales"):
        ScaleLayout.from_config(scales, 265, 16)


@pytest.mark.parametrize(
    ("token", "grid", "row", "col", "x", "y", "extent"),
    [
        (0, 2, 0, 0, 0.25, 0.25, 0.5),
        (1, 2, 0, 1, 0.75, 0.25, 0.5),
        (3, 2, 1, 1, 0.75, 0.75, 0.5),
        (4, 4, 0, 0, 0.125, 0.125, 0.25),
        (19, 4, 3, 3, 0.875, 0.875, 0.25),
        (20, 7, 0, 0, 1 / 14, 1 / 14, 1 / 7),
        (68, 7, 6, 6, 13 / 14, 13 / 14, 1 / 7),
        (69, 14, 0, 0, 1 / 28, 1 / 28, 1 / 14),
        (82, 14, 0, 13, 27 / 28, 1 / 28, 1 / 14),
        (264, 14, 13, 13, 27 / 28, 27 / 28, 1 / 14),
    ],
)
def test_geometry(
    token: int, grid: int, row: int, col: int, x: float, y: float, extent: float
) -> None:
    assert [int(value) for value in LAYOUT.cells(token)] == [grid, row, col]
    fixations = LAYOUT.fixations([token], 1.0)
    assert fixations.grid.tolist() == [grid]
    for value, expected in (
        (fixations.x, x),
        (fixations.y, y),
        (fixations.width, extent),
        (fixations.height, extent),
    ):
        assert value.dtype == np.float32
        assert value[0] == np.float32(expected)


@pytest.mark.parametrize("token", [265, 266, 530, -1])
def test_padding_gives_no_fixation(token: int) -> None:
    assert len(LAYOUT.fixations([token], 1.0)) == 0
    assert int(LAYOUT.cells(token)[0]) == 0


def test_fixations_keep_order_and_count_padded_slots() -> None:
    fixations = LAYOUT.fixations([264, 265, 0, 4], [0.5, 0.0, 1.5, 0.25], tile=3)
    assert fixations.token.tolist() == [264, 0, 4]
    assert fixations.slot.tolist() == [0, 2, 3]
    assert fixations.tile.tolist() == [3, 3, 3]
    assert fixations.confidence.tolist() == [0.5, 1.0, 0.25]


def test_frames_of_a_clip() -> None:
    padded = [False] * 5 + [True]
    frames = LAYOUT.local_ids([0, 4, 20, 69, 266, 530], padded, [4, 2])
    assert [ids.tolist() for ids in frames] == [[0, 4, 20, 69], [1, -1]]
    first, second = (LAYOUT.fixations(ids, 1.0) for ids in frames)
    assert first.grid.tolist() == [2, 4, 7, 14]
    assert (second.x.tolist(), second.y.tolist()) == ([0.75], [0.25])
    assert second.width.tolist() == [0.5]


def test_a_padded_slot_never_becomes_the_next_frames_first_cell() -> None:
    # 265 is at once the padding of frame 0 and the first id of frame 1.
    masks = LAYOUT.masks([[0, 265, 265]], [[False, True, False]], 2)
    assert masks[0].tolist() == [[[1, 0, 0, 0], [1, 0, 0, 0]]]
    assert LAYOUT.local_ids([0, 265, 265], [False, True, False], [2, 1])[1].tolist() == [0]


def test_third_patch_of_the_fifth_frame() -> None:
    assert LAYOUT.global_ids(2, 4) == 1062


def test_masks() -> None:
    padded = [[False] * 5 + [True]]
    masks = LAYOUT.masks([[0, 4, 20, 69, 266, 999]], padded, 2)
    assert [mask.shape for mask in masks] == [(1, 2, 4), (1, 2, 16), (1, 2, 49), (1, 2, 196)]
    assert [np.flatnonzero(mask[0, 0]).tolist() for mask in masks] == [[0]] * 4
    assert [np.flatnonzero(mask[0, 1]).tolist() for mask in masks] == [[1], [], [], []]


def test_masks_equal_those_recorded_from_the_published_implementation() -> None:
    folder = PARITY / "tiny-b4-t4-stop"
    recorded = load_file(folder / "outputs.safetensors")
    masks = LAYOUT.masks(recorded["gazing_pos"], recorded["if_padded_gazing"], 4)
    for scale, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, recorded[f"gazing_mask_{scale}"])


def test_a_part_of_the_frame_is_placed_in_the_whole() -> None:
    part = LAYOUT.fixations([0, 3], [0.5, 1.0])
    placed = part.of_whole(0.5, 0.25, 0.5, 0.25)
    assert (placed.x.tolist(), placed.y.tolist()) == ([0.625, 0.875], [0.3125, 0.4375])
    assert (placed.width.tolist(), placed.height.tolist()) == ([0.25] * 2, [0.125] * 2)
    assert placed.confidence.tolist() == [0.5, 1.0]
    assert placed.token.tolist() == [0, 3]
    whole = part.of_whole(0, 0, 1, 1)
    assert (whole.x.tolist(), whole.height.tolist()) == ([0.25, 0.75], [0.5, 0.5])


def test_nothing_to_concatenate_is_no_fixations() -> None:
    assert len(Fixations.concatenate([])) == 0
    both = Fixations.concatenate([LAYOUT.fixations([4], 1.0), LAYOUT.fixations([0, 2], 1.0)])
    assert both.token.tolist() == [4, 0, 2]


@given(st.data())
def test_ids_and_cells_are_inverse(data: st.DataObject) -> None:
    grids = sorted(data.draw(st.sets(st.integers(1, 40), min_size=1, max_size=5)))
    layout = ScaleLayout.from_config([16 * g for g in grids], sum(g * g for g in grids), 16)
    ids = np.arange(layout.num_tokens)
    scale = layout.scale_of(ids)
    grid, row, col = layout.cells(ids)
    np.testing.assert_array_equal(grid, np.array(grids)[scale])
    assert (row < grid).all()
    assert (col < grid).all()
    np.testing.assert_array_equal(layout.ids(scale, row, col), ids)


@given(st.lists(st.integers(-5, 600), max_size=30))
def test_fixations_lie_within_the_frame(ids: list[int]) -> None:
    fixations = LAYOUT.fixations(ids, 1.0)
    assert len(fixations) == sum(0 <= token < 265 for token in ids)
    for centre, extent in ((fixations.x, fixations.width), (fixations.y, fixations.height)):
        assert (centre - extent / 2 >= -1e-6).all()
        assert (centre + extent / 2 <= 1 + 1e-6).all()


def test_ids_of_a_clip_are_those_of_its_frames() -> None:
    # Inference spec 4.1: a frame's ids are raised by its index times the ids of a frame.
    found = LAYOUT.clip_ids([[7, 265, 266, 530, 794], [0, 529, 530, 530, 795]], [1, 2, 2])
    assert found.tolist() == [[7, 0, 1, 0, 264], [0, 264, 265, 0, 265]]
    assert LAYOUT.clip_ids([], []).tolist() == []
