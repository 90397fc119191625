"""Mask panels, byte for byte."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_cli.errors import ConfigError
from autogaze_cli.visualize import compiled
from autogaze_cli.visualize.geometry import mask_rects
from autogaze_cli.visualize.panels import COLOURS, fill_colour, mask_panel, mix, to_rgba
from autogaze_cli.visualize.rects import Image, paint
from autogaze_cli.visualize.settings import (
    GEOMETRIES,
    MASK_VISUALIZATIONS,
    VISUALIZATION_MODES,
    Visualization,
)
from tests.golden.visualize_vectors import fixations, full_size, lines, panels

CHARACTERS: dict[bytes, str] = {bytes([0, 0, 0, 255]): "."}
for _letter, _colour in zip("OGBP", COLOURS.values(), strict=True):
    CHARACTERS[bytes([*_colour, 255])] = _letter
    CHARACTERS[bytes([*fill_colour(_colour), 255])] = _letter.lower()

SOURCE = np.array([[[10, 20, 30, 200], [100, 110, 120, 255]]], np.uint8)
LEFT_HALF = fixations([{"xywh": [0.25, 0.5, 0.5, 1], "grid": 2}])


def test_colours_are_the_named_ones() -> None:
    fills = {grid: fill_colour(colour) for grid, colour in COLOURS.items()}
    assert fills == {2: (107, 76, 0), 4: (25, 92, 50), 7: (0, 78, 107), 14: (97, 46, 107)}


@pytest.mark.parametrize(
    ("settings", "rows"), panels(), ids=lambda v: str(v["id"]) if "id" in v else ""
)
@pytest.mark.parametrize("channels", [3, 4])
def test_panel_as_drawn(settings: dict[str, Any], rows: list[str], channels: int) -> None:
    width, height = settings["wh"]
    panel = mask_panel(
        np.full((height, width, channels), 77, np.uint8),
        fixations(settings["pts"]),
        Visualization(mask_visualization=settings["mode"], mask_geometry=settings["geometry"]),
    )
    assert ["".join(CHARACTERS[p.tobytes()] for p in row) for row in panel] == rows


@pytest.mark.parametrize("vector", lines("visualize_mix.jsonl"), ids=lambda v: str(v["mix"]))
def test_mix(vector: dict[str, Any]) -> None:
    base, over, alpha = vector["mix"]
    pixels = np.full((2, 3), base, np.uint8)
    assert mix(pixels, over, alpha).tolist() == np.full((2, 3), vector["result"]).tolist()
    assert mix(pixels, np.full_like(pixels, over), alpha).tolist() == [[vector["result"]] * 3] * 2


@given(st.floats(-0.5, 1.5, width=32) | st.sampled_from([0.5, 0.25, 0.55, 0.1, 0.38]))
def test_mix_rounds_halves_away_for_every_pair_of_bytes(alpha: float) -> None:
    base, over = np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 2)
    a = min(max(np.float32(alpha), np.float32(0)), np.float32(1))
    exact = base.astype(np.float32) * (np.float32(1) - a) + over.astype(np.float32) * a
    assert exact.dtype == np.float32
    expected = np.floor(exact.astype(np.float64) + 0.5)
    np.testing.assert_array_equal(mix(base, over, alpha), expected)
    same = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(mix(same, same, alpha), same)


@pytest.mark.parametrize(
    ("style", "alpha", "expected"),
    [
        ("overlay", 0.5, [[255, 180, 0, 255], [0, 0, 0, 255]]),
        ("image-overlay", 0.5, [[133, 100, 15, 200], [100, 110, 120, 255]]),
        ("image-mask-only", 0.5, [[133, 100, 15, 200], [0, 0, 0, 0]]),
        ("image-overlay", 1, [[255, 180, 0, 200], [100, 110, 120, 255]]),
        ("image-mask-only", 0, [[10, 20, 30, 200], [0, 0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_image_panel(
    style: str,
    alpha: float,
    expected: list[list[int]],
    native: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Visualization spec 8.4; by numpy and, where it was built, in C."""
    if not native:
        monkeypatch.setattr(compiled, "library", lambda: None)
    settings = Visualization(mask_visualization=style, blend_alpha=alpha)
    source = SOURCE.copy()
    assert mask_panel(source, LEFT_HALF, settings).tolist() == [expected]
    assert source.tolist() == SOURCE.tolist()


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("style", ["image-overlay", "image-mask-only"])
@pytest.mark.parametrize("channels", [3, 4])
def test_image_panels_follow_from_the_overlay(geometry: str, style: str, channels: int) -> None:
    """Visualization spec 3.6, done as it is written there, over several blocks of rows."""
    rng = np.random.default_rng(1)
    source = rng.integers(0, 256, (301, 257, channels), np.uint8)
    points = full_size()
    overlay = mask_panel(
        source, points, Visualization(mask_visualization="overlay", mask_geometry=geometry)
    )
    coloured = overlay[..., :3].any(axis=2)
    np.testing.assert_array_equal(coloured, paint(mask_rects(points, 257, 301, geometry), 257, 301))
    rgba = to_rgba(source)
    expected = rgba.copy() if style == "image-overlay" else np.zeros_like(rgba)
    expected[coloured] = rgba[coloured]
    expected[coloured, :3] = mix(rgba[coloured, :3], overlay[coloured, :3], 0.55)
    settings = Visualization(mask_visualization=style, mask_geometry=geometry, blend_alpha=0.55)
    np.testing.assert_array_equal(mask_panel(source, points, settings), expected)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (5, 7, 4)])
def test_to_rgba(shape: tuple[int, int, int]) -> None:
    source = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    result = to_rgba(source[:, ::-1])
    np.testing.assert_array_equal(result[..., : shape[2]], source[:, ::-1])
    if shape[2] == 3:
        assert (result[..., 3] == 255).all()


def counts(panel: Image) -> dict[str, int]:
    values, numbers = np.unique(panel.view(np.uint32), return_counts=True)
    return {
        CHARACTERS[value.tobytes()]: int(number)
        for value, number in zip(values, numbers, strict=True)
    }


@pytest.mark.parametrize(
    ("style", "geometry", "expected"),
    [
        (
            "overlay",
            "native",
            {".": 1290450, "b": 721441, "B": 11178, "g": 17686, "G": 554, "p": 31008, "P": 1283},
        ),
        (
            "overlay",
            "deduplicated",
            {".": 1290450, "b": 711318, "B": 11396, "g": 59728, "G": 708},
        ),
        (
            "scale-rows",
            "native",
            {".": 1969645, "b": 81922, "B": 3928, "g": 13904, "G": 496, "p": 3280, "P": 425},
        ),
    ],
)
def test_full_size_colour_counts(style: str, geometry: str, expected: dict[str, int]) -> None:
    """Visualization spec 8.9."""
    settings = Visualization(mask_visualization=style, mask_geometry=geometry)
    panel = mask_panel(np.zeros((1080, 1920, 3), np.uint8), full_size(), settings)
    assert counts(panel) == expected


def test_effective_cells_are_drawn_from_left_to_right() -> None:
    """Visualization spec 3.4: in the order of x0, x1, y0, y1, however large the cells are drawn."""
    points = fixations(
        [{"cell": [13, 3, 14, 14], "grid": 14}, {"cell": [12, 4, 14, 14], "grid": 14}]
    )
    settings = Visualization(
        mask_visualization="overlay", mask_geometry="effective", mask_cell_scale=3
    )
    panel = mask_panel(np.zeros((14, 14, 3), np.uint8), points, settings)
    assert ["".join(CHARACTERS[p.tobytes()] for p in row[10:]) for row in panel[1:7]] == [
        "....",
        "..PP",
        ".PPP",
        ".PPP",
        ".PPP",
        "....",
    ]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
def test_panel_of_no_cells(style: str, geometry: str) -> None:
    settings = Visualization(mask_visualization=style, mask_geometry=geometry)
    ground = {"image-mask-only": [0, 0, 0, 0], "image-overlay": [9, 9, 9, 255]}
    panel = mask_panel(np.full((3, 5, 3), 9, np.uint8), fixations([]), settings)
    assert Counter(map(tuple, panel.reshape(-1, 4).tolist())) == {
        tuple(ground.get(style, [0, 0, 0, 255])): 15
    }


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("mask_geometry", GEOMETRIES),
        ("mask_visualization", MASK_VISUALIZATIONS),
        ("visualization_mode", VISUALIZATION_MODES),
    ],
)
def test_every_spelling_is_stored_in_canonical_form(
    name: str, table: dict[str, tuple[str, ...]]
) -> None:
    for canonical, aliases in table.items():
        for spelling in (canonical, *aliases):
            settings: dict[str, Any] = {name: f" {spelling.title()} "}
            assert getattr(Visualization(**settings), name) == canonical


@pytest.mark.parametrize(
    "settings",
    [
        {"mask_geometry": "finer"},
        {"mask_visualization": ""},
        {"visualization_mode": "native"},
        {"mask_cell_scale": float("nan")},
        {"mask_cell_scale": float("inf")},
        {"blend_alpha": float("nan")},
        {"keyframe_duration": -1},
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Visualization(**settings)
