"""Generated ids to points, sets of points, and masks a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.readout.decode import decode_row

CONFIG = ro.ReadoutConfig(scales="32+64", num_vision_tokens_each_frame=20)


def loop_decode(generated: dict[str, Any], batch: int) -> tuple[list[list[int]], list[float]]:
    """Readout spec 5.2, a slot at a time: the tokens of each frame, and its stop probability."""
    ids, flags = generated["gazing_pos"][batch], generated["if_padded_gazing"][batch]
    tokens, stops, start = [], [], 0
    for frame, n in enumerate(generated["num_gazing_each_frame"]):
        found: list[int] = []
        stop = 0.0
        for i in range(start, start + n):
            if i >= len(ids):
                continue
            if i >= len(flags) or flags[i]:
                stop = 1.0
                continue
            local = ids[i] - frame * 20
            if 0 <= local < 20:
                found.append(local)
        tokens.append(found)
        stops.append(stop)
        start += n
    return tokens, stops


@st.composite
def outputs(draw: st.DrawFn) -> dict[str, Any]:
    counts = draw(st.lists(st.integers(0, 4), max_size=4))
    slots = sum(counts)
    rows = draw(st.integers(1, 3))
    # Rows may be shorter or longer than the slots are, and ids belong to any frame.
    length = st.integers(max(0, slots - 2), slots + 2)
    ids = st.integers(-5, 20 * len(counts) + 5)
    return {
        "gazing_pos": [
            draw(st.lists(ids, min_size=(n := draw(length)), max_size=n)) for _ in range(rows)
        ],
        "if_padded_gazing": [
            draw(st.lists(st.booleans(), min_size=(n := draw(length)), max_size=n))
            for _ in range(rows)
        ],
        "num_gazing_each_frame": counts,
    }


@settings(deadline=None)
@given(outputs())
def test_decoding_is_that_of_plain_loops(generated: dict[str, Any]) -> None:
    frames = len(generated["num_gazing_each_frame"])
    masks = ro.scale_token_masks(generated, CONFIG)
    assert [mask.shape[1:] for mask in masks] == [(frames, 4), (frames, 16)]
    points = ro.generated_to_readout_points(generated, CONFIG)
    for batch, traced in enumerate(ro.traces(generated, CONFIG, 2)):
        tokens, stops = loop_decode(generated, batch)
        decoded, offsets, stop = decode_row(generated, CONFIG, batch)
        parts = [part.tolist() for part in ro.Ragged(decoded.token, offsets)]
        assert (parts, stop.tolist()) == (tokens, stops)
        assert [frame.token.tolist() for frame in points[batch]] == tokens
        for frame, wanted, probability in zip(traced, tokens, stops, strict=True):
            assert frame.stop_probability == probability
            assert frame.fixations.token[: len(wanted)].tolist() == wanted
            assert len(frame.fixations) == max(2, len(wanted))
            assert not frame.fixations.confidence[len(wanted) :].any()
        for t, wanted in enumerate(tokens):
            seen = np.concatenate([mask[batch, t] for mask in masks])
            assert np.flatnonzero(seen).tolist() == sorted(set(wanted))


def test_a_point_is_the_middle_of_its_cell() -> None:
    generated = {
        "gazing_pos": [[7, 2]],
        "if_padded_gazing": [[False, False]],
        "num_gazing_each_frame": [2],
        "confidences": [[0.25, 2]],
    }
    points, _, _ = decode_row(generated, CONFIG, 0)
    assert (points.x.tolist(), points.y.tolist()) == ([0.875, 0.25], [0.125, 0.75])
    assert (points.width.tolist(), points.grid.tolist()) == ([0.25, 0.5], [4, 2])
    assert points.confidence.tolist() == [0.25, 1]


@pytest.mark.parametrize(
    ("count", "k", "exactly", "at_least"), [(3, 2, 2, 3), (1, 4, 4, 4), (0, 0, 1, 1)]
)
def test_sets_are_cut_and_padded(count: int, k: int, exactly: int, at_least: int) -> None:
    points = Fixations.from_columns(
        {name: np.full(count, 0.5) for name in ("x", "y", "width", "height")}
    )
    cut, grown = ro.FixationSet.new(points, 7, k), ro.FixationSet.with_min_len(points, -1, k)
    assert (len(cut.fixations), len(grown.fixations)) == (exactly, at_least)
    assert (cut.stop_probability, grown.stop_probability) == (1, 0)
    for points in (cut.fixations, grown.fixations):
        placeholder = points.select(points.confidence == 0)
        assert set(placeholder.x.tolist()) <= {0.5}
        assert set(placeholder.width.tolist()) <= {0.25}


def test_the_layout_follows_the_config_as_written() -> None:
    def grids(scales: str, tokens: int, kernel: int = 16) -> list[tuple[int, int]]:
        layout = ro.ReadoutConfig(
            scales=scales, num_vision_tokens_each_frame=tokens, kernel_size=kernel
        ).layout
        return list(zip(layout.counts, layout.grids, strict=True))

    assert grids(" 112 + 32 ", 53) == [(49, 7), (4, 2)]
    assert grids("-32+1.5", 0) == [(1, 1)]
    assert grids("32+64", 1024 + 4096, 0) == [(1024, 32), (4096, 64)]


class Published:
    """The published configuration object, as far as decoding needs it."""

    scales = "32+64"
    num_vision_tokens_each_frame = 20


@pytest.mark.parametrize(
    "config",
    [
        Published(),
        {"scales": "32+64", "num_vision_tokens_each_frame": 20},
        {"scales": [32, 64], "num_vision_tokens_each_frame": 20, "model_type": "autogaze"},
    ],
)
def test_the_published_configuration_is_taken_as_it_is(config: Any) -> None:
    gaze = {
        "gazing_pos": [[3, 5, 24, 20]],
        "if_padded_gazing": [[False, False, False, True]],
        "num_gazing_each_frame": [2, 2],
    }
    points = ro.generated_to_readout_points(gaze, config)
    expected = ro.generated_to_readout_points(gaze, CONFIG)
    assert [[f.token.tolist() for f in row] for row in points] == [[[3, 5], [4]]]
    for frame, other in zip(points[0], expected[0], strict=True):
        assert frame.grid.tolist() == other.grid.tolist()
    with pytest.raises(ConfigError, match="does not say how ids are shared out"):
        ro.generated_to_readout_points(gaze, {"scales": "32+64"})


def test_what_an_output_leaves_out() -> None:
    generated: dict[str, Any] = {"gazing_pos": [[7, 2, 20]], "num_gazing_each_frame": [2, 2]}
    flags = {"if_padded_gazing": [[False, False, False]]}
    points, offsets, stops = decode_row(generated | flags, CONFIG, 0)
    assert points.confidence.tolist() == [1, 1, 1]
    assert (points.token.tolist(), points.slot.tolist()) == ([7, 2, 0], [0, 1, 0])
    assert (offsets.tolist(), stops.tolist()) == ([0, 2, 3], [0, 0])
    points, offsets, _ = decode_row(generated | flags | {"confidences": [[0.5]]}, CONFIG, 0)
    assert points.confidence.tolist() == [0.5, 1, 1]
