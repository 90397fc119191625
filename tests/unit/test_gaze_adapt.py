"""Target resolutions against inference spec 8.4 and outputs of the published implementation.

``fixtures/parity`` holds cases recorded from it with seeded weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.adapt import AdaptLayout, JoinedGaze
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.preprocess import cut_square_tiles

MODEL = ScaleLayout.from_config("32+64+112+224", 265, 16)
PARITY = Path(__file__).parents[2] / "fixtures" / "parity"
CASES = {
    "tiny-b1-t2-tiles392": ([56, 112, 196, 392], 14),
    "tiny-b1-t2-tiles448": ([64, 128, 224, 448], 16),
}


def adapt_to(scales: list[int], patch: int) -> AdaptLayout:
    found = AdaptLayout.from_config(MODEL, scales, patch)
    assert found is not None
    return found


def masks_by_hand(
    adapt: AdaptLayout, rows: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]
) -> list[NDArray[np.uint8]]:
    """The recovery as the specification words it: masks are laid out as pictures and cropped."""
    frames, n = len(rows[0][2]), adapt.tiles
    tiles = [
        MODEL.masks(ids[None].astype(np.int64), padded[None], frames) for ids, padded, _ in rows
    ]
    joined = []
    for scale, (grid, target) in enumerate(zip(MODEL.grids, adapt.target.grids, strict=True)):
        stack = np.concatenate([masks[scale] for masks in tiles])
        picture = stack.reshape(-1, n, n, frames, grid, grid).transpose(0, 3, 1, 4, 2, 5)
        picture = picture.reshape(-1, frames, n * grid, n * grid)[:, :, :target, :target]
        joined.append(picture.reshape(len(picture), frames, target**2))
    return joined


@pytest.mark.parametrize("case", CASES)
def test_join_equals_the_recorded_join(case: str) -> None:
    recorded = load_file(PARITY / case / "outputs.safetensors")
    adapt = adapt_to(*CASES[case])
    rows = len(recorded["tile_gazing_pos"])
    joined = adapt.join(
        list(recorded["tile_gazing_pos"]),
        list(recorded["tile_if_padded_gazing"]),
        [recorded["tile_num_gazing_each_frame"]] * rows,
    )
    np.testing.assert_array_equal(joined.gazing_pos, recorded["gazing_pos"])
    np.testing.assert_array_equal(joined.if_padded_gazing, recorded["if_padded_gazing"] != 0)
    np.testing.assert_array_equal(joined.num_gazing_each_frame, recorded["num_gazing_each_frame"])
    masks = adapt.target.masks(joined.gazing_pos, joined.if_padded_gazing, 2)
    for scale, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, recorded[f"gazing_mask_{scale}"])


@pytest.mark.parametrize("case", CASES)
def test_join_of_tiles_that_were_decoded_alone(case: str) -> None:
    recorded = load_file(PARITY / case / "outputs_alone.safetensors")
    adapt = adapt_to(*CASES[case])
    rows = [
        (
            recorded[f"gazing_pos_r{row}"],
            recorded[f"if_padded_gazing_r{row}"],
            recorded[f"num_gazing_each_frame_r{row}"],
        )
        for row in range(4)
    ]
    joined = adapt.join(*map(list, zip(*rows, strict=True)))
    masks = adapt.target.masks(joined.gazing_pos, joined.if_padded_gazing, 2)
    for mask, expected in zip(masks, masks_by_hand(adapt, rows), strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert not joined.if_padded_gazing.any()
    assert joined.gazing_pos.shape[1] == joined.num_gazing_each_frame.sum()


def test_geometry_of_target_scales() -> None:
    small = adapt_to([56, 112, 196, 392], 14)
    assert small.target.grids == (4, 8, 14, 28)
    assert (small.tiles, small.tile_size, small.pad) == (2, 196, 0)
    assert small.target.num_tokens == 1060
    padded = adapt_to([48, 96, 192, 384], 16)
    assert padded.target.grids == (3, 6, 12, 24)
    assert padded.target.counts == (9, 36, 144, 576)
    assert (padded.tiles, padded.tile_size, padded.pad) == (2, 224, 64)
    assert padded.target.num_tokens == 765


def test_the_models_own_scales_need_nothing() -> None:
    assert AdaptLayout.from_config(MODEL, [32, 64, 112, 224], 16) is None
    assert AdaptLayout.from_config(MODEL, [32, 64, 112, 224], 8) is not None


def test_one_tile_is_enough_for_a_target_that_is_no_larger() -> None:
    adapt = adapt_to([2, 4, 7, 14], 1)  # patches of one pixel, the model's own grids
    assert (adapt.tiles, adapt.tile_size, adapt.pad) == (1, 14, 0)
    joined = join_rows(adapt, [[[264, 0], [5]]])
    assert joined.gazing_pos.tolist() == [[0, 264, 265 + 5]]
    assert joined.num_gazing_each_frame.tolist() == [2, 1]


@pytest.mark.parametrize(("scales", "patch"), [([224], 16), ([8, 16, 32, 64], 16), ([1] * 4, 0)])
def test_target_scales_that_cannot_be(scales: list[int], patch: int) -> None:
    with pytest.raises(ConfigError, match="target_"):
        AdaptLayout.from_config(MODEL, scales, patch)


def join_rows(adapt: AdaptLayout, rows: list[list[list[int]]]) -> JoinedGaze:
    """Join rows given as ids within each frame, -1 for padding."""
    ids = [
        np.concatenate([np.array(frame, int) + 265 * t for t, frame in enumerate(row)])
        for row in rows
    ]
    padded = [np.concatenate([np.array(frame, int) < 0 for frame in row]) for row in rows]
    return adapt.join(ids, padded, [[len(frame) for frame in row] for row in rows])


def test_cells_beyond_the_target_grid_are_dropped_and_batches_padded() -> None:
    adapt = adapt_to([48, 96, 192, 384], 16)  # the coarsest grid is 3 x 3, of 4 x 4 tile cells
    none: list[list[int]] = [[-1], [-1]]
    first = [[[3, 0], [0]], [[0, 1], [-1]], none, [[0, 3], [-1]]]
    second = [[[264], [-1, 5]], none, none, none]
    joined = join_rows(adapt, first + second)
    # Video 0, frame 0: tile 0 gives cells 0 and 4; tile 1's first cell is 2, its second is outside;
    # tile 3's first cell is 8, its last is outside.
    last = 9 + 36 + 144 + 13 * 24 + 13
    assert joined.num_gazing_each_frame.tolist() == [4, 1]
    assert joined.gazing_pos.tolist() == [
        [0, 2, 4, 8, 765],
        [last, -1, -1, -1, 765 + 9 + 1],
    ]
    assert joined.if_padded_gazing.tolist() == [[False] * 5, [False, True, True, True, False]]


def test_padding_of_later_frames_is_raised_as_well() -> None:
    adapt = adapt_to([56, 112, 196, 392], 14)
    nothing: list[list[int]] = [[], []]
    joined = join_rows(adapt, [[[0], [0, 1]], *[nothing] * 3, [[0], [1]], *[nothing] * 3])
    assert joined.gazing_pos.tolist() == [[0, 1060, 1061], [0, 1061, 1059]]
    assert joined.if_padded_gazing.tolist() == [[False] * 3, [False, False, True]]


def test_cutting_pads_below_and_right_and_orders_tiles_by_row() -> None:
    adapt = adapt_to([48, 96, 192, 384], 16)
    video = torch.arange(2 * 384 * 384, dtype=torch.float32).reshape(2, 1, 1, 384, 384) + 1
    tiles = cut_square_tiles(video.expand(2, 1, 3, 384, 384), adapt)
    assert tiles.shape == (8, 1, 3, 224, 224)
    assert torch.equal(tiles[0, 0, 0], video[0, 0, 0, :224, :224])
    assert torch.equal(tiles[1, 0, 2, :, :160], video[0, 0, 0, :224, 224:])
    assert torch.equal(tiles[4 + 2, 0, 1, :160], video[1, 0, 0, 224:, :224])
    assert not tiles[1, ..., 160:].any()
    assert not tiles[2, ..., 160:, :].any()
    with pytest.raises(ConfigError, match="384 x 384, not 224 x 384"):
        cut_square_tiles(video.expand(2, 1, 3, 384, 384)[..., :224], adapt)
