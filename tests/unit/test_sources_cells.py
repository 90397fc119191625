"""The sources that score cells, against their definitions written out anew; and their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.frames import gazed_frames, open_job, trace_header
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.sources import cell_sums
from autogaze_cli.sources.cells import CellSource
from autogaze_cli.sources.registry import check_source_name, source_class, source_names
from autogaze_cli.sources.rlt import run_lengths
from autogaze_cli.trace import FrameTrace, Trace

DOG = Path(__file__).parents[2] / "fixtures" / "dog.mp4"
CELL_SOURCES = ("patch-diff", "rlt", "evs", "codec", "random", "uniform")
Clip = NDArray[np.uint8]
"""``[t, h, w, 3]``"""


def frames_of(clip: Clip) -> list[Frame]:
    return [Frame(n, Fraction(n, 8), rgb) for n, rgb in enumerate(clip)]


def gaze(name: str, clip: Clip, **options: Any) -> list[FrameTrace]:
    source = open_source(GazeSettings(mask_source=name, **options))
    return [gaze for _, gaze in source.trace(frames_of(clip))]


def tokens(traces: Sequence[FrameTrace]) -> list[list[int]]:
    return [trace.fixations.token.tolist() for trace in traces]


def some_clip(frames: int = 7, side: int = 56, seed: int = 0) -> Clip:
    """Noise of which each frame changes a part: the rest stays exactly as it was."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(rng.integers(0, 256, (1, side, side, 3), np.uint8), frames, 0)
    for t in range(1, frames):
        y, x = rng.integers(0, side - 12, 2)
        clip[t:, y : y + 12, x : x + 12] = rng.integers(0, 256, (12, 12, 3))
        clip[t:, :8] += np.uint8(1)
    return clip


def patches(frame: NDArray[Any], grid: int) -> NDArray[Any]:
    """Every patch's values, ``[grid * grid, values]``."""
    height, width, channels = frame.shape
    cut = frame.reshape(grid, height // grid, grid, width // grid, channels)
    return cut.swapaxes(1, 2).reshape(grid * grid, -1)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_sums_equal_a_plain_loop_in_c_and_in_numpy(
    height: int, width: int, grid: int, channels: int, seed: int
) -> None:
    a, b = np.random.default_rng(seed).integers(0, 256, (2, height, width, channels), np.uint8)
    wide_a, wide_b = a.astype(int), b.astype(int)
    with pytest.MonkeyPatch.context() as patch:
        for native in (cell_sums.library(), None):
            patch.setattr(cell_sums, "library", lambda native=native: native)
            difference = cell_sums.difference_sums(a, b, grid)
            products, squares = cell_sums.product_sums(a, b, grid)
            for i, j in np.ndindex(grid, grid):
                top, bottom = i * height // grid, -(-(i + 1) * height // grid)
                left, right = j * width // grid, -(-(j + 1) * width // grid)
                cell_a, cell_b = (x[top:bottom, left:right] for x in (wide_a, wide_b))
                assert (difference[i, j] == abs(cell_a - cell_b).sum((0, 1))).all()
                assert (products[i, j] == (cell_a * cell_b).sum((0, 1))).all()
                assert (squares[i, j] == (cell_b**2).sum((0, 1))).all()


@pytest.mark.parametrize("tubelet", [1, 2, 3])
def test_rlt_keeps_what_its_definition_keeps(tubelet: int) -> None:
    clip = some_clip()
    found = gaze("rlt", clip, patch_diff_grid=7, rlt_tubelet=tubelet, rlt_threshold=0.1)
    normalised = (clip / 255 - 0.5) / 0.5
    kept_some = False
    for t in range(len(clip)):
        k = t // tubelet
        if k == 0:
            expected = list(range(49))
        else:
            last = min((k + 1) * tubelet, len(clip)) - 1
            change = abs(normalised[last] - normalised[(k - 1) * tubelet])
            score = patches(change, 7).mean(1)
            expected = np.flatnonzero(score > 0.1).tolist()
            assert np.abs(score[found[t].fixations.token] - found[t].fixations.confidence).max() < (
                1e-6
            )
            kept_some |= 0 < len(expected) < 49
        assert sorted(found[t].fixations.token.tolist()) == expected
    assert kept_some


@pytest.mark.parametrize("side", [2, 4, 6, 16, 34, 64])
def test_rlt_drops_a_patch_exactly_at_the_threshold(side: int) -> None:
    """A mean of 12.75 grey levels is 0.1 of -1 to 1, and not above it; a level more is."""
    clip = np.zeros((2, side, side, 3), np.uint8)
    values = clip[1].ravel()
    values[:] = 13
    values[::4] = 12
    options = {"patch_diff_grid": 1, "rlt_tubelet": 1, "rlt_threshold": 0.1}
    assert tokens(gaze("rlt", clip, **options)) == [[0], []]
    values[5] += 1
    assert tokens(gaze("rlt", clip, **options)) == [[0], [0]]


def test_run_lengths_count_the_tubelets_until_a_patch_is_kept_again() -> None:
    clip = np.zeros((8, 8, 8, 3), np.uint8)
    clip[4:, :4, :4] = 200  # patch 0 is kept again in tubelet 2
    job = open_job(DOG, open_source(GazeSettings()), Sampling(frames=8))
    traces = gaze("rlt", clip, patch_diff_grid=2, rlt_tubelet=2)
    lengths = run_lengths(Trace.from_frames(trace_header(job), traces), 2)
    assert tokens(traces) == [[0, 1, 2, 3]] * 2 + [[]] * 2 + [[0]] * 2 + [[]] * 2
    assert lengths.tolist() == [2, 4, 4, 4] * 2 + [2] * 2


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.7, 0.75, 1.0])
def test_evs_keeps_what_its_definition_keeps(rate: float) -> None:
    clip = some_clip(frames=9)
    vectors = torch.tensor(np.stack([patches(frame, 7) for frame in clip]), dtype=torch.float64)
    similarity = torch.nn.functional.cosine_similarity(vectors[1:], vectors[:-1], dim=2)
    # Equal vectors are equal, whatever the last bits of float64 say.
    scores = np.round(np.concatenate([np.full((1, 49), 255), 1 - similarity.numpy()]), 12)
    assert len(np.unique(scores)) < scores.size / 2  # there are many ties
    count = max(49, int(49 * 9 * (1 - rate)))
    kept = np.zeros(scores.size, bool)
    kept[sorted(range(scores.size), key=lambda i: (-scores.flat[i], i))[:count]] = True
    found = gaze("evs", clip, patch_diff_grid=7, pruning_rate=rate)
    assert [sorted(one) for one in tokens(found)] == [
        np.flatnonzero(row).tolist() for row in kept.reshape(9, 49)
    ]
    assert all((one.fixations.confidence > 0).all() for one in found)


def test_evs_takes_black_for_no_direction_as_pytorch_does() -> None:
    clip = np.zeros((2, 4, 4, 3), np.uint8)
    clip[:, :, 2:] = 9
    zeros = torch.zeros(1, 4)
    assert torch.nn.functional.cosine_similarity(zeros, zeros).item() == 0
    found = gaze("evs", clip, patch_diff_grid=2, exact=True, max_gaze_tokens_each_frame=2)
    assert (tokens(found)[1], found[1].fixations.confidence.tolist()) == ([0, 2], [1, 1])
    clip[:, 0, 0, 0] = 1  # the darkest patch there is has one
    found = gaze("evs", clip, patch_diff_grid=2, exact=True, max_gaze_tokens_each_frame=2)
    assert tokens(found)[1] == [2, 0]
    assert found[1].fixations.confidence[0] == 1
    assert found[1].fixations.confidence[1] < 1e-6


def test_a_pruned_video_is_read_twice_and_comes_out_as_if_held() -> None:
    for name in ("evs", "rlt", "codec"):
        source = open_source(GazeSettings(mask_source=name, pruning_rate=0.9))
        job = open_job(DOG, source, Sampling(frames=10, width=160))
        streamed = list(gazed_frames(job))
        assert [frame.index for frame, _ in streamed] == list(range(10))
        held = [one for _, one in source.trace([frame for frame, _ in streamed])]
        assert tokens([one for _, one in streamed]) == tokens(held)
        assert sum(map(len, tokens(held))) == max(196, int(196 * 10 * (1 - 0.9)))


@pytest.mark.parametrize("name", CELL_SOURCES)
def test_budgets_mean_the_same_for_every_source(name: str) -> None:
    clip = some_clip(frames=5)
    exact = gaze(name, clip, exact=True, max_gaze_tokens_each_frame=11)
    assert (
        [len(set(one)) for one in tokens(exact)] == [11] * 5 == [len(one) for one in tokens(exact)]
    )
    assert [one.stop_probability for one in exact] == [0] * 5
    assert all(one.num_gazing.tolist() == [11] for one in exact)
    assert all((one.fixations.confidence > 0).all() for one in exact)
    by_ratio = gaze(name, clip, exact=True, gazing_ratio=0.05)
    assert [len(one) for one in tokens(by_ratio)] == [9] * 5
    assert [len(one) for one in tokens(gaze(name, clip, exact=True, gazing_ratio=1))] == [196] * 5
    at_most = tokens(gaze(name, clip, max_gaze_tokens_each_frame=3))
    assert all(len(one) <= 3 for one in at_most)
    assert any(at_most)
    if name not in ("uniform", "evs"):  # whose choice depends on how many there are
        free = tokens(gaze(name, clip, gazing_ratio=1) if name == "random" else gaze(name, clip))
        assert at_most == [one[:3] for one in free]
    at_least = gaze(name, clip, exact=True, max_gaze_tokens_each_frame=3, top_k=7)
    assert [len(one) for one in tokens(at_least)] == [7] * 5
    pruned = gaze(name, clip, pruning_rate=0.6, max_gaze_tokens_each_frame=196)
    assert sum(map(len, tokens(pruned))) == int(196 * 5 * 0.4)


def test_random_depends_on_its_seed_and_the_number_of_the_frame_alone() -> None:
    clip = some_clip(frames=4)
    first = tokens(gaze("random", clip))
    assert first == tokens(gaze("random", 255 - clip))
    assert [len(one) for one in first] == [19] * 4
    assert len({tuple(one) for one in first}) == 4
    assert first != tokens(gaze("random", clip, seed=1))
    source = open_source(GazeSettings(mask_source="random"))
    assert tokens([one for _, one in source.trace(frames_of(clip)[2:])]) == first[2:]
    counts = np.bincount(np.concatenate(tokens(gaze("random", np.repeat(clip, 250, 0)))))
    assert (abs(counts - 1000 * 19 / 196) < 5 * 9.4).all()  # 5 standard deviations


def test_uniform_takes_every_nth_cell_and_shifts_by_frame() -> None:
    found = gaze("uniform", some_clip(frames=3), max_gaze_tokens_each_frame=28)
    assert tokens(found) == [list(range(t, 196, 7)) for t in range(3)]
    uneven = tokens(gaze("uniform", some_clip(frames=1), max_gaze_tokens_each_frame=5))[0]
    assert uneven == [0, 39, 78, 117, 156]


@pytest.mark.parametrize("name", ["random", "uniform"])
def test_a_tenth_of_the_cells_unless_said_otherwise_and_at_least_one(name: str) -> None:
    clip = some_clip(frames=2, side=42)
    for grid, count in ((14, 19), (7, 4), (3, 1), (1, 1)):
        assert [len(one) for one in tokens(gaze(name, clip, patch_diff_grid=grid))] == [count] * 2


def test_a_quarter_is_left_of_evs_unless_said_otherwise() -> None:
    found = gaze("evs", some_clip(frames=8), patch_diff_grid=7)
    assert sum(map(len, tokens(found))) == 8 * 49 // 4
    assert tokens(found)[0] == list(range(49))  # nothing scores as high as a first frame
    assert found[0].fixations.confidence.tolist() == [1.0] * 49


def test_a_frame_that_may_have_all_cells_never_stops_for_want_of_room() -> None:
    clip = np.repeat(np.array([0, 255], np.uint8), 3 * 56 * 56).reshape(2, 56, 56, 3)
    full = gaze("patch-diff", clip)[1]
    assert (len(full.fixations), full.stop_probability) == (196, 1)
    capped = gaze("patch-diff", clip, max_gaze_tokens_each_frame=195)[1]
    assert (len(capped.fixations), capped.stop_probability) == (195, 0)
    roomy = gaze("patch-diff", clip[:1].repeat(2, 0), max_gaze_tokens_each_frame=195)[1]
    assert (len(roomy.fixations), roomy.stop_probability) == (0, 1)


def test_run_lengths_of_a_clip_without_any_patch() -> None:
    clip = np.zeros((4, 8, 8, 3), np.uint8)
    header = trace_header(open_job(DOG, open_source(GazeSettings()), Sampling(frames=4)))
    traces = gaze("patch-diff", clip, patch_diff_grid=2)
    assert run_lengths(Trace.from_frames(header, traces), 2).tolist() == []
    # Five frames are two tubelets and a half, and nothing but the first is kept.
    clip = np.zeros((5, 8, 8, 3), np.uint8)
    traces = gaze("rlt", clip, patch_diff_grid=1, rlt_tubelet=2)
    assert run_lengths(Trace.from_frames(header, traces), 2).tolist() == [3, 3]


def test_compiled_sums_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    built = cell_sums.library.__wrapped__
    monkeypatch.setenv("AUTOGAZE_NATIVE", "0")
    assert built() is None
    monkeypatch.setenv("AUTOGAZE_NATIVE", "1")
    compiled = list(Path(cell_sums.__file__).parent.glob("_cells.*"))
    assert (built() is not None) == bool(compiled)


def test_a_tensor_beside_an_array_is_summed_as_two_tensors_are() -> None:
    a, b = np.random.default_rng(5).integers(0, 256, (2, 9, 7, 3), np.uint8)
    expected = cell_sums.difference_sums(a, b, 2)
    tensors = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_array_equal(cell_sums.difference_sums(*tensors, 2), expected)


def test_names_of_sources() -> None:
    names = ["autogaze", "patch-diff", "rlt", "evs", "codec", "random", "uniform"]
    assert source_names()[:7] == names
    for name in names:
        check_source_name(name)
        assert source_class(name).mask_source == name
    with pytest.raises(ConfigError, match="not 'path-diff'") as caught:
        check_source_name("path-diff")
    assert "patch-diff" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="mask_source must be one of autogaze, patch-diff, rlt"):
        source_class("none")


def test_only_the_codec_source_reads_motion_and_only_pruning_needs_a_whole_clip() -> None:
    for name in CELL_SOURCES:
        source = open_source(GazeSettings(mask_source=name))
        pruned = open_source(GazeSettings(mask_source=name, pruning_rate=0.5))
        assert isinstance(source, CellSource)
        assert isinstance(pruned, CellSource)
        assert source.reads_motion == (name == "codec")
        assert source.whole_clip == (name == "evs")
        assert pruned.whole_clip
        assert source.tile_count(4000, 3000) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exact": True}, "exact needs the number of tokens"),
        ({"exact": True, "max_gaze_tokens_each_frame": 3, "pruning_rate": 0.5}, "both say"),
        ({"pruning_rate": 1.5}, "within 0 to 1"),
        ({"pruning_rate": float("nan")}, "within 0 to 1"),
        ({"pruning_rate": 0.5, "mask_source": "autogaze", "model": "m"}, "cannot be used with"),
        ({"rlt_threshold": float("inf")}, "rlt_threshold must be a finite number"),
        ({"rlt_tubelet": 0}, "rlt_tubelet must be within 1"),
        ({"seed": -1}, "seed must be within 0"),
    ],
)
def test_settings_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GazeSettings(**options)
