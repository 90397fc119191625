"""What the C code would read or write beyond an array for is refused before it is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.decode import Decoder
from autogaze_cli.model.native import NativeLayers, instruction_set
from autogaze_cli.model.network import GazeDecoder
from autogaze_cli.sources.cell_sums import difference_sums, product_sums
from autogaze_cli.visualize import compiled
from autogaze_cli.visualize.panels import mask_panel
from autogaze_cli.visualize.settings import Visualization

needs_draw = pytest.mark.skipif(compiled.library() is None, reason="draw.c is not built")
needs_native = pytest.mark.skipif(instruction_set() is None, reason="native.c is not built")

BLACK = np.zeros((20, 30, 3), np.uint8)
COLOURS = np.array([1, 2], np.uint32)


@needs_draw
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("column", ["x", "y", "width", "height"])
def test_a_fixation_that_is_nowhere_is_not_drawn(column: str) -> None:
    columns = {"x": [0.5], "y": [0.5], "width": [0.1], "height": [0.1]} | {column: [np.nan]}
    with pytest.raises(ValueError, match=r"^rects: "):
        mask_panel(BLACK, Fixations.from_columns(columns), Visualization())


@needs_draw
@pytest.mark.parametrize(
    "rect", [(-1, 2, 0, 1), (0, 31, 0, 1), (0, 1, 0, 21), (5, 5, 0, 1), (0, 1, 3, 2), (0, 1, -9, 2)]
)
def test_rectangles_lie_within_the_image(rect: tuple[int, int, int, int]) -> None:
    canvas, mask = np.zeros((20, 30), np.uint32), np.zeros((20, 30), bool)
    with pytest.raises(ValueError, match=r"^rects: "):
        compiled.draw_cells(canvas, np.array([rect]), np.array([0]), COLOURS, COLOURS)
    with pytest.raises(ValueError, match=r"^rects: "):
        compiled.paint(mask, np.array([rect]))
    assert not canvas.any()
    assert not mask.any()


@needs_draw
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("canvas", np.zeros((20, 30), np.uint8)),
        ("canvas", np.zeros((30, 20), np.uint32).T),
        ("colours", np.array([2])),
        ("colours", np.array([-1])),
        ("colours", np.array([0, 0])),
        ("borders", COLOURS[:1]),
        ("fills", np.zeros((2, 2), np.uint32)[:, 0]),
    ],
)
def test_cells_are_drawn_with_arrays_that_fit(name: str, value: Any) -> None:
    given = {"canvas": np.zeros((20, 30), np.uint32), "rects": np.array([[0, 1, 0, 1]])}
    given |= {"colours": np.array([1]), "borders": COLOURS, "fills": COLOURS}
    compiled.draw_cells(**given)
    with pytest.raises(ValueError, match=f"^{'borders' if name == 'fills' else name}: |^fills: "):
        compiled.draw_cells(**(given | {name: value}))


@needs_draw
def test_frames_are_mixed_with_cells_of_their_size() -> None:
    cells = np.zeros((20, 30, 4), np.uint8)
    wrong: list[tuple[Any, Any, float]] = [
        (BLACK[..., :2], cells, 0.5),
        (BLACK.astype(np.int8), cells, 0.5),
        (BLACK, cells[:-1], 0.5),
        (BLACK, cells, float("nan")),
    ]
    for frame, other, alpha in wrong:
        with pytest.raises(ValueError, match=r"^(frame|cells|alpha): "):
            compiled.blend_cells(frame, other, alpha, keep_image=True)


@pytest.mark.parametrize("other", [BLACK[:-1], BLACK[..., :2], BLACK.astype(np.float32)])
def test_sums_are_over_frames_of_one_size(other: Any) -> None:
    for first, second in ((BLACK, other), (other, BLACK)):
        with pytest.raises(ValueError, match="frames must be uint8 of one size"):
            difference_sums(first, second, 3)
        with pytest.raises(ValueError, match="frames must be uint8 of one size"):
            product_sums(first, second, 3)


def test_sums_that_exceed_32_bits_are_refused() -> None:
    tall = np.full((66_049, 1, 1), 255, np.uint8)
    assert product_sums(tall, tall, 1)[0].item() == 255 * 255 * 66_049
    taller = np.full((66_100, 1, 1), 255, np.uint8)
    assert product_sums(taller, taller, 2)[0][:, 0].sum() == 255 * 255 * 66_100
    for rows in (66_050, 66_100):
        with pytest.raises(ValueError, match=f"a grid of 1 does not serve frames of {rows} rows"):
            product_sums(taller[:rows], taller[:rows], 1)


def decoder(layers: int = 2) -> Decoder:
    config = GazeConfig(
        layout=ScaleLayout.from_config("32+64+112+224", 265, 16),
        hidden_size=40,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
    )
    made = Decoder(GazeDecoder(config).requires_grad_(False), config)
    assert isinstance(made.layers, NativeLayers)
    return made


@needs_native
@pytest.mark.parametrize(
    ("start", "end", "lengths"),
    [(0, 64, [5]), (0, 3, [5]), (-1, 5, [5]), (1, 5, [5]), (0, 5, [4]), (0, 5, [5, 0]), (0, 5, [])],
)
def test_new_tokens_lie_within_their_cache(start: int, end: int, lengths: list[int]) -> None:
    one = decoder()
    (cache,) = one.new_caches(1, 32)
    cache.start, cache.end = start, end
    with pytest.raises(ValueError):  # noqa: PT011 - of several messages
        one.layers.run(torch.zeros(5, 40), np.arange(5), [cache] * len(lengths), lengths)


@needs_native
def test_a_cache_of_another_model_is_refused() -> None:
    one = decoder()
    (cache,) = decoder(layers=1).new_caches(1, 32)
    with pytest.raises(ValueError, match="a cache of 1 layers for 2"):
        one.run(torch.zeros(5, 40), np.arange(5), [cache], [5])
    (cache,) = one.new_caches(1, 32)
    cache.keys[1] = cache.keys[1][:2]
    with pytest.raises(ValueError, match=r"float32 \[2, .* where contiguous float32 \[3, "):
        one.run(torch.zeros(5, 40), np.arange(5), [cache], [5])


@needs_native
def test_tokens_are_of_the_models_width() -> None:
    one = decoder()
    for x in (torch.zeros(5, 39), torch.zeros(5, 40, dtype=torch.float64), torch.zeros(4, 40)):
        (cache,) = one.new_caches(1, 32)
        with pytest.raises(ValueError, match=r"float32 \[5, 40\] on|4 tokens, 5 positions"):
            one.run(x, np.arange(5), [cache], [5])
    with pytest.raises(ValueError, match=r"float32 \[2, 40\] on"):
        one.layers.head_scores(torch.zeros(2, 41))
