"""Tiles against inference spec 6.2 to 6.4 and 11.3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import Mode
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import ScaleLayout

TOKENS = ScaleLayout.from_config("32+64+112+224", 265, 16)


def layout(width: int, height: int, mode: Mode, tile: int = 224, stride: int = 224) -> TileLayout:
    return TileLayout(mode=mode, height=height, width=width, tile_size=tile, stride=stride)


@pytest.mark.parametrize(
    ("width", "height", "cols", "rows", "canvas"),
    [
        (1920, 1080, 9, 5, (1120, 2016)),
        (1280, 720, 6, 4, (896, 1344)),
        (640, 480, 3, 3, (672, 672)),
        (225, 224, 2, 1, (224, 448)),
        (100, 100, 1, 1, (224, 224)),
    ],
)
def test_stretched_grid(
    width: int, height: int, cols: int, rows: int, canvas: tuple[int, int]
) -> None:
    tiles = layout(width, height, "tiled")
    assert (tiles.cols, tiles.rows, tiles.canvas) == (cols, rows, canvas)
    assert len(tiles) == len(tiles.origins) == cols * rows


@pytest.mark.parametrize(
    ("width", "height", "stride", "cols", "rows", "last"),
    [
        (1920, 1080, 224, 9, 5, (896, 1792)),
        (1280, 720, 224, 6, 4, (672, 1120)),
        (1280, 720, 112, 12, 7, (672, 1232)),
        (448, 448, 112, 4, 4, (336, 336)),
    ],
)
def test_full_resolution(
    width: int, height: int, stride: int, cols: int, rows: int, last: tuple[int, int]
) -> None:
    tiles = layout(width, height, "tiled-full", stride=stride)
    assert (tiles.cols, tiles.rows, tiles.canvas) == (cols, rows, (height, width))
    assert tuple(tiles.origins[-1]) == last


def test_tile_order_and_count() -> None:
    tiles = layout(1920, 1080, "tiled")
    assert tiles.origins[8].tolist() == [0, 1792]
    assert tiles.origins[44].tolist() == [896, 1792]
    assert len(layout(47, 31, "tiled", tile=16)) == 6
    assert len(layout(47, 31, "resize")) == 1
    # A stretched grid has no stride of its own.
    assert layout(1280, 720, "tiled", stride=112).cols == 6


@pytest.mark.parametrize(
    ("width", "height", "mode", "grids"),
    [
        (1920, 1080, "tiled", {2: (18, 10), 4: (36, 20), 7: (63, 35), 14: (126, 70)}),
        (1280, 720, "tiled", {2: (12, 8), 4: (24, 16), 7: (42, 28), 14: (84, 56)}),
        (1920, 1080, "tiled-full", {2: (17, 9), 4: (34, 19), 7: (60, 33), 14: (120, 67)}),
        (1280, 720, "tiled-full", {2: (11, 6), 4: (22, 12), 7: (40, 22), 14: (80, 45)}),
    ],
)
def test_recovered_grids(
    width: int, height: int, mode: Mode, grids: dict[int, tuple[int, int]]
) -> None:
    placed = layout(width, height, mode).to_source(TOKENS.fixations([0, 4, 20, 69], 1.0))
    assert placed.grid.tolist() == list(grids)
    assert placed.width.tolist() == [np.float32(1) / np.float32(w) for w, _ in grids.values()]
    assert placed.height.tolist() == [np.float32(1) / np.float32(h) for _, h in grids.values()]


def test_a_grid_of_one_cell_is_placed_like_any_other() -> None:
    one = ScaleLayout.from_config("16+32", 5, 16)
    tiles = layout(64, 32, "tiled", tile=32, stride=32)
    placed = tiles.to_source(one.fixations([0, 4], 1.0, tile=1))
    assert placed.grid.tolist() == [1, 2]
    assert (placed.x.tolist(), placed.y.tolist()) == ([0.75, 0.875], [0.5, 0.75])
    assert (placed.width.tolist(), placed.height.tolist()) == ([0.5, 0.25], [1.0, 0.5])


def test_tiles_are_those_of_the_published_model_unless_said_otherwise() -> None:
    assert len(TileLayout(mode="tiled", width=448, height=225)) == 4


def place(tiles: TileLayout, tile: int, token: int) -> list[float] | None:
    """Centre and extent of a token of a tile, or None when it is dropped."""
    placed = tiles.to_source(TOKENS.fixations([token], 1.0, tile=tile))
    columns = (placed.x, placed.y, placed.width, placed.height)
    return [float(column[0]) for column in columns] if len(placed) else None


def test_points_of_full_resolution_tiles() -> None:
    tiles = layout(1920, 1080, "tiled-full")
    assert tiles.origins[10].tolist() == [224, 224]
    assert place(tiles, 10, int(TOKENS.ids(3, 7, 7))) == pytest.approx(
        [21.5 / 120, 21.5 / 67, 1 / 120, 1 / 67], rel=1e-6
    )
    assert tiles.origins[36].tolist() == [896, 0]
    kept = place(tiles, 36, int(TOKENS.ids(2, 4, 0)))
    assert kept is not None
    assert kept[1] == np.float32(32.5) / np.float32(33)
    assert place(tiles, 36, int(TOKENS.ids(2, 5, 0))) is None


def test_points_of_the_stretched_grid() -> None:
    tiles = layout(1280, 720, "tiled")
    assert tiles.origins[7].tolist() == [224, 224]
    expected = [np.float32(2.5) / np.float32(12), 0.3125, np.float32(1) / np.float32(12), 0.125]
    assert place(tiles, 7, 0) == expected


def test_points_of_overlapping_tiles() -> None:
    tiles = layout(1280, 720, "tiled-full", stride=112)
    assert tiles.origins[1].tolist() == [0, 112]
    assert place(tiles, 1, 69) == pytest.approx([0.09375, 8 / 720, 0.0125, 16 / 720], rel=1e-6)
    # The last column starts at 1232: what lies right of pixel 48 of it is outside the frame.
    assert place(tiles, 11, int(TOKENS.ids(3, 0, 2))) is not None
    assert place(tiles, 11, int(TOKENS.ids(3, 0, 3))) is None


def test_cell_outside_a_small_frame_is_dropped() -> None:
    tiles = TileLayout(mode="tiled-full", height=3, width=3, tile_size=2)
    assert tiles.origins[3].tolist() == [2, 2]
    assert place(tiles, 3, 3) is None
    assert place(tiles, 3, 0) is not None


def test_extents_never_exceed_the_frame() -> None:
    tiles = TileLayout(mode="tiled-full", height=50, width=50, tile_size=200, stride=40)
    placed = tiles.to_source(TOKENS.fixations([0], 1.0))
    assert (placed.width.tolist(), placed.x.tolist()) == ([], [])
    placed = tiles.to_source(TOKENS.fixations([4], 1.0))
    assert (placed.width.tolist(), placed.x.tolist()) == ([1.0], [0.5])


def test_merge_orders_by_confidence_then_tile_then_slot() -> None:
    tiles = layout(448, 224, "tiled")
    first = TOKENS.fixations([0, 1, 2], [0.5, 0.0, 0.75])
    second = TOKENS.fixations([3, 0], [0.75, 0.5], tile=1)
    merged = tiles.merge(Fixations.concatenate([first, second]))
    assert merged.confidence.tolist() == [0.75, 0.75, 0.5, 0.5]
    assert merged.tile.tolist() == [0, 1, 0, 1]
    assert merged.token.tolist() == [2, 3, 0, 0]
    assert merged.slot.tolist() == [2, 0, 0, 1]


def test_merge_drops_nan_confidences() -> None:
    tiles = layout(448, 224, "tiled")
    nan = TOKENS.fixations([0, 1], [np.nan, 0.5])
    assert tiles.merge(nan).token.tolist() == [1]


def test_resize_mode_keeps_the_order_of_choice() -> None:
    tiles = layout(1920, 1080, "resize")
    fixations = TOKENS.fixations([69, 0, 264], [0.1, 0.9, 0.5])
    merged = tiles.merge(fixations)
    for name, column in fixations.columns().items():
        np.testing.assert_array_equal(merged.columns()[name], column)


def test_merging_a_4k_frame_of_many_tiles() -> None:
    tiles = layout(3840, 2160, "tiled")
    rng = np.random.default_rng(7)
    parts = [
        TOKENS.fixations(rng.permutation(265)[:50], rng.random(50), tile=tile)
        for tile in range(len(tiles))
    ]
    merged = tiles.merge(Fixations.concatenate(parts))
    assert len(merged) == 50 * 180
    assert (np.diff(merged.confidence) <= 0).all()
    assert len(set(zip(merged.tile.tolist(), merged.token.tolist(), strict=True))) == 9000


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    tile=st.integers(16, 300),
    share=st.floats(0.1, 1),
    mode=st.sampled_from(["tiled", "tiled-full"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_mapping_stays_within_the_frame(
    width: int, height: int, tile: int, share: float, mode: Mode, seed: int
) -> None:
    tiles = layout(width, height, mode, tile, max(1, int(share * tile)))
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 265, 200)
    at = rng.integers(0, len(tiles), 200)
    placed = tiles.to_source(TOKENS.fixations(ids, 1.0, tile=at))
    for column in (placed.x, placed.y):
        assert column.dtype == np.float32
        assert ((column >= 0) & (column <= 1)).all()
    for column in (placed.width, placed.height):
        assert column.dtype == np.float32
        assert ((column >= 1e-6) & (column <= 1)).all()
    if mode == "tiled":
        assert len(placed) == 200, "a stretched grid has no cells outside the canvas"
        left = placed.x - placed.width / 2
        np.testing.assert_allclose(
            (left * tiles.canvas[1] - tiles.origins[at, 1]) / tile,
            (TOKENS.fixations(ids, 1.0).x - 0.5 / placed.grid),
            atol=1e-4 * tiles.canvas[1] / tile,
        )
