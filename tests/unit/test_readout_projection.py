"""Rectangles, tokens and coordinates against plain loops, and against exact integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.readout import cover

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
F = np.float32
EPS = F(1e-6)
Rect = tuple[float, float, float, float]


def loop_span(low: float, high: float, n: int, dilation: int) -> range:
    """Readout spec 7.1, one number at a time."""
    first = math.floor(F(F(low) * F(n)) + EPS) - dilation
    last = math.ceil(F(F(high) * F(n)) - EPS) + dilation
    return range(min(max(first, 0), n), min(max(last, 0), n))


def loop_cells(rects: list[Rect], height: int, width: int, dilation: int) -> list[int]:
    """Readout spec 7.2: a dict keeps the first occurrence."""
    found: dict[int, None] = {}
    for x0, y0, x1, y1 in rects:
        if x1 <= x0 or y1 <= y0:
            continue
        for row in loop_span(y0, y1, height, dilation):
            for col in loop_span(x0, x1, width, dilation):
                found[row * width + col] = None
    return list(found)


def loop_video(
    frame_rects: list[list[Rect]],
    grid: ro.SparseVideoReadoutGrid,
    options: ro.SparseVideoReadoutOptions,
) -> list[int]:
    """Readout spec 8."""
    total = grid.token_count
    cap = total if options.max_tokens is None else min(options.max_tokens, total)
    found: list[int] = []
    for t in range(grid.temporal_bins):
        frames = frame_rects[t * options.tubelet_size : (t + 1) * options.tubelet_size]
        rects = [rect for frame in frames for rect in frame]
        for cell in loop_cells(rects, grid.height, grid.width, options.dilation):
            if len(found) == cap:
                return found
            found.append(t * grid.tokens_per_temporal_bin + cell)
    target = min(options.min_tokens, cap, total)
    spread = [(i * (total - 1) + target // 2) // target for i in range(target)]
    for token in [*(spread if target < total else []), *range(total)]:
        if len(found) >= target:
            break
        if token not in found:
            found.append(token)
    return found


# Corners on and beside the borders of cells, and anywhere.
corners = st.one_of(
    st.builds(lambda a, b: float(F(a) / F(b)), st.integers(0, 14), st.sampled_from([2, 4, 7, 14])),
    st.floats(0, 1, width=32),
).map(lambda value: min(value, 1.0))
rectangles = st.tuples(corners, corners, corners, corners)
frames_of_rects = st.lists(st.lists(rectangles, max_size=4), max_size=7)
sides = st.integers(1, 20)
caps = st.none() | st.integers(0, 30)


@settings(deadline=None)
@given(frames_of_rects, sides, sides, st.integers(0, 3), caps)
def test_image_tokens_are_those_of_plain_loops(
    frames: list[list[Rect]], height: int, width: int, dilation: int, cap: int | None
) -> None:
    options = ro.SparseReadoutOptions(dilation=dilation, max_tokens_per_frame=cap)
    grid = ro.SparseReadoutGrid(height, width)
    for rects in frames:
        found = ro.readout_rects_to_tokens(rects, grid, options)
        assert found.dtype == np.int64
        assert found.tolist() == loop_cells(rects, height, width, dilation)[:cap]


video_options = st.builds(
    ro.SparseVideoReadoutOptions,
    tubelet_size=st.integers(1, 3),
    dilation=st.integers(0, 2),
    min_tokens=st.integers(0, 40),
    max_tokens=caps,
)
video_grids = st.builds(ro.SparseVideoReadoutGrid, st.integers(1, 4), st.integers(1, 9), sides)


@settings(deadline=None)
@given(frames_of_rects, video_grids, video_options)
def test_video_tokens_are_those_of_plain_loops(
    frames: list[list[Rect]],
    grid: ro.SparseVideoReadoutGrid,
    options: ro.SparseVideoReadoutOptions,
) -> None:
    found = ro.frame_readout_rects_to_video_tokens(frames, grid, options).tolist()
    assert found == loop_video(frames, grid, options)
    assert len(set(found)) == len(found)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=7),
    st.builds(ro.SparseReadoutGrid, st.integers(1, 5), st.integers(1, 5)),
    video_grids,
    video_options,
)
def test_the_token_route_is_the_rectangle_route_of_the_tokens_rectangles(
    frames: list[list[int]],
    image_grid: ro.SparseReadoutGrid,
    grid: ro.SparseVideoReadoutGrid,
    options: ro.SparseVideoReadoutOptions,
) -> None:
    rects = [[r for r in map(image_grid.token_rect, frame) if r is not None] for frame in frames]
    by_tokens = ro.frame_readout_tokens_to_video_tokens(frames, image_grid, grid, options)
    by_rects = ro.frame_readout_rects_to_video_tokens(rects, grid, options)
    assert by_tokens.tolist() == by_rects.tolist()


def exact_cells(cell: int, of: int, n: int) -> range:
    """Readout spec 12: the tokens that cell ``cell`` of ``of`` covers of ``n``, in integers."""
    return range(cell * n // of, -(-(cell + 1) * n // of))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_decoded_cells_are_exact_up_to_the_side_stated(data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, 3))
    grid = LAYOUT.grids[scale]
    side = data.draw(st.integers(1, {2: 256, 4: 256, 7: 41, 14: 65}[grid]))
    points = LAYOUT.fixations(np.arange(grid**2) + LAYOUT.offsets[scale], 1.0)
    rects = ro.fixation_points_to_readout_rects(points)
    for token in range(grid**2):
        row, col = divmod(token, grid)
        found = ro.readout_rects_to_tokens(rects[token : token + 1], ro.SparseReadoutGrid(1, side))
        assert found.tolist() == list(exact_cells(col, grid, side))
        found = ro.readout_rects_to_tokens(rects[token : token + 1], ro.SparseReadoutGrid(side, 1))
        assert found.tolist() == list(exact_cells(row, grid, side))


@pytest.mark.parametrize(("of", "exact_to", "first"), [(14, 76, 77), (7, 76, 77), (16, 256, None)])
def test_image_tokens_project_exactly_up_to_the_side_stated(
    of: int, exact_to: int, first: int | None
) -> None:
    def projected(n: int) -> list[list[int]]:
        image, video = ro.SparseReadoutGrid(1, of), ro.SparseVideoReadoutGrid(1, 1, n)
        return [
            ro.frame_readout_tokens_to_video_tokens([[cell]], image, video).tolist()
            for cell in range(of)
        ]

    for n in range(1, exact_to + 1):
        assert projected(n) == [list(exact_cells(cell, of, n)) for cell in range(of)]
    if first is not None:
        assert projected(first) != [list(exact_cells(cell, of, first)) for cell in range(of)]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 264), max_size=5), min_size=1, max_size=4),
    st.sampled_from([(14, 14), (16, 16), (7, 9)]),
)
def test_both_routes_cover_what_was_gazed_at(
    frames: list[list[int]], sides: tuple[int, int]
) -> None:
    trace = [LAYOUT.fixations(frame, 1.0) for frame in frames]
    image, video = ro.SparseReadoutGrid(14, 14), ro.SparseVideoReadoutGrid(len(frames), *sides)
    narrow = ro.frame_readout_rects_to_video_tokens(ro.trace_to_frame_readout_rects(trace), video)
    wide = ro.trace_to_video_readout_tokens(trace, image, video)
    assert set(narrow.tolist()) <= set(wide.tolist())  # the token route rounds outward twice
    exact = {
        t * sides[0] * sides[1] + y * sides[1] + x
        for t, frame in enumerate(frames)
        for grid, row, col in zip(*LAYOUT.cells(frame), strict=True)
        for y in exact_cells(int(row), int(grid), sides[0])
        for x in exact_cells(int(col), int(grid), sides[1])
    }
    assert set(narrow.tolist()) == exact


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_evenly_spaced_is_the_formula(length: int, keep: int) -> None:
    k = min(keep, length)
    spread = [(i * (length - 1) + k // 2) // k for i in range(k)]
    wanted = list(range(length)) if k == length else spread
    assert ro.evenly_spaced(length, keep).tolist() == wanted


def test_evenly_spaced_beyond_what_products_fit_in() -> None:
    length, keep = 2**55 + 1, 2**20
    found = ro.evenly_spaced(length, keep)
    for i in (0, 1, 777_777, keep - 1):
        assert found[i] == (i * (length - 1) + keep // 2) // keep


@settings(deadline=None)
@given(st.lists(st.integers(0, 24), unique=True), st.integers(0, 30))
def test_filler_is_what_is_missing(tokens: list[int], least: int) -> None:
    options = ro.SparseVideoReadoutOptions(min_tokens=least)
    image, video = ro.SparseReadoutGrid(5, 5), ro.SparseVideoReadoutGrid(1, 5, 5)
    found = ro.frame_readout_tokens_to_video_tokens([tokens], image, video, options).tolist()
    target = min(least, 25)
    spread = [n for n in ro.evenly_spaced(25, target).tolist() if n not in tokens]
    rest = [n for n in range(25) if n not in tokens + spread]
    assert found == tokens + (spread + rest)[: max(0, target - len(tokens))]


def test_filler_of_a_grid_that_no_memory_holds() -> None:
    image, video = ro.SparseReadoutGrid(1, 1), ro.SparseVideoReadoutGrid(2**10, 4096, 4096)
    options = ro.SparseVideoReadoutOptions(min_tokens=3)
    found = ro.frame_readout_tokens_to_video_tokens([[]], image, video, options)
    assert found.tolist() == [(i * (2**34 - 1) + 1) // 3 for i in range(3)]


def test_points_of_the_trace_are_cut_and_scaled_in_order() -> None:
    nan = math.nan
    points = Fixations.from_columns(
        {
            "x": [0.5, nan, 0.25, 0.75, 0.5],
            "y": [0.5, 0.5, 0.25, 0.75, 0.5],
            "width": [0.5, 0.5, 0.5, 0.5, 0.5],
            "height": [0.5, 0.5, 0.5, 0.5, 0.5],
            "confidence": [nan, 1, 1, 1, 0],
        }
    )
    two = ro.fixation_points_to_readout_rects(
        points, ro.SparseReadoutOptions(max_fixations_per_frame=2)
    )
    assert two.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    for threshold, count in ((-1, 2), (0.999, 2), (1, 0), (7, 0), (nan, 0)):
        options = ro.SparseReadoutOptions(confidence_threshold=threshold)
        assert len(ro.fixation_points_to_readout_rects(points, options)) == count
    tiny = ro.SparseReadoutOptions(fixation_scale=0)
    x0, _, x1, _ = ro.fixation_points_to_readout_rects(points, tiny)[0]
    assert x1 - x0 == pytest.approx(5e-7, rel=0.2)


def test_a_point_that_gives_nothing_does_not_use_up_the_cap() -> None:
    # Half of a width of 1e-6, scaled by 1e-6, vanishes beside 1.
    points = Fixations.from_columns(
        {"x": [1, 0.5], "y": [0.5, 0.5], "width": [0, 0.5], "height": [0.5, 0.5]}
    )
    rects = ro.fixation_points_to_readout_rects(
        points, ro.SparseReadoutOptions(max_fixations_per_frame=1, fixation_scale=0)
    )
    assert len(rects) == 1


@pytest.mark.parametrize("painted", [0, 3, 10**9])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_result_does_not_depend_on_how_the_work_is_cut(
    monkeypatch: pytest.MonkeyPatch, batch: int, painted: int
) -> None:
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 265, rng.integers(0, 40)) for _ in range(23)]
    trace = [LAYOUT.fixations(frame, 1.0) for frame in ids]
    image, video = ro.SparseReadoutGrid(9, 11), ro.SparseVideoReadoutGrid(4, 13, 10)
    options = ro.SparseVideoReadoutOptions(tubelet_size=5)
    whole = ro.trace_to_video_readout_tokens(trace, image, video, video_options=options)
    monkeypatch.setattr(cover, "_BATCH", batch)
    monkeypatch.setattr(cover, "_PAINTED", painted)
    cut = ro.trace_to_video_readout_tokens(trace, image, video, video_options=options)
    assert whole.tolist() == cut.tolist()


def test_a_huge_dilation_selects_the_whole_grid() -> None:
    options = ro.SparseReadoutOptions(dilation=2**62)
    found = ro.readout_rects_to_tokens([(0, 0, 0.1, 0.1)], ro.SparseReadoutGrid(3, 4), options)
    assert found.tolist() == list(range(12))
    for odd in ((0.5, 0.5, math.nan, 1), (0.5, 0.5, 0.5, 1), (0.9, 0, 0.1, 1)):
        assert not len(ro.readout_rects_to_tokens([odd], ro.SparseReadoutGrid(3, 4), options))
    beyond = ro.readout_rects_to_tokens([(-9, -9, math.inf, 9)], ro.SparseReadoutGrid(3, 4))
    assert beyond.tolist() == list(range(12))


def test_the_worked_example() -> None:
    # Readout spec 13.
    config = ro.ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)
    generated = {
        "gazing_pos": [[0, 4, 20, 273, 334, 385]],
        "if_padded_gazing": [[False] * 6],
        "num_gazing_each_frame": [3, 3],
        "confidences": [[0.98, 0.94, 0.91, 0.97, 0.93, 0.9]],
    }
    geometry = ro.SparseVideoPatchGeometry.square_patch(2, 224, 224, 2, 16)
    image = ro.SparseReadoutGrid(14, 14)
    projection = ro.SparseVideoReadoutProjection.from_patch_geometry(image, geometry)
    assert projection.video_grid == ro.SparseVideoReadoutGrid(1, 14, 14)
    assert projection.video_options.tubelet_size == 1  # never taken from the geometry
    readout = ro.SparseReadoutOptions().with_max_fixations_per_frame(8).with_dilation(1)
    video = ro.SparseVideoReadoutOptions().with_tubelet_size(2).with_exact_tokens(16)
    projection = projection.with_readout_options(readout.with_max_tokens_per_frame(16))
    tensor = ro.generated_to_video_readout_coord_tensor(
        generated, config, 0, projection.with_video_options(video)
    )
    assert tensor.tolist() == [[0, 0, row, col] for row in range(2) for col in range(8)]


@pytest.mark.parametrize("frames", [0, 1, 2, 5, 9])
def test_every_form_of_the_same_gaze_gives_the_same_coordinates(frames: int) -> None:
    rng = np.random.default_rng(frames)
    counts = rng.integers(0, 6, frames)
    local = [rng.integers(0, 265, n) for n in counts]
    config = ro.ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)
    ids = np.concatenate([np.empty(0, int), *(t * 265 + row for t, row in enumerate(local))])
    generated = {
        "gazing_pos": ids[None],
        "if_padded_gazing": np.zeros((1, len(ids)), bool),
        "num_gazing_each_frame": counts,
    }
    trace = [LAYOUT.fixations(row, 1.0) for row in local]
    image, video = ro.SparseReadoutGrid(14, 14), ro.SparseVideoReadoutGrid(3, 14, 14)
    how = (ro.SparseReadoutOptions(dilation=1), ro.SparseVideoReadoutOptions(tubelet_size=2))
    by_trace = ro.trace_to_video_readout_coords(trace, image, video, *how)
    by_ids = ro.generated_to_video_readout_coords(generated, config, 0, image, video, *how)
    assert by_trace.tolist() == by_ids.tolist()
    tokens = ro.trace_to_frame_readout_tokens(trace, image, how[0])
    by_frames = ro.frame_readout_tokens_to_video_coords(tokens, image, video, how[1])
    assert by_trace.tolist() == by_frames.tolist()
    one_by_one = [
        ro.trace_frame_readout_tokens(trace, t, image, how[0]).tolist() for t in range(frames)
    ]
    assert [part.tolist() for part in tokens] == one_by_one
    assert ro.trace_frame_readout_tokens(trace, frames, image).tolist() == []
    padded = ro.traces(generated, config, 8)[0]
    assert all(len(frame.fixations) == 8 for frame in padded)
    by_padded = ro.trace_to_video_readout_coords(padded, image, video, *how)
    assert by_trace.tolist() == by_padded.tolist()  # placeholders are never read out


def test_ragged_is_a_sequence() -> None:
    ragged = ro.Ragged.of([[1, 2], [], [3]], np.int64)
    assert [part.tolist() for part in ragged] == [[1, 2], [], [3]]
    assert ragged[-1].tolist() == [3]
    assert [part.tolist() for part in ragged[1:]] == [[], [3]]
    assert [part.tolist() for part in ragged.first(1)] == [[1], [], [3]]
    assert len(ro.Ragged.of([], np.int64)) == 0
    with pytest.raises(IndexError):
        ragged[3]
    with pytest.raises(ConfigError, match="whole numbers"):
        ro.Ragged.of([[0.5]], np.int64)
    with pytest.raises(ConfigError, match=r"\[n, 4\]"):
        ro.Ragged.of([[[1, 2, 3]]], np.float32, columns=4)
