"""The canvas, its measures, and what is said of many clips."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.compare.check import differences
from autogaze_cli.compare.clip import LAYOUT, SIDE, Clip, canvas_ids
from autogaze_cli.compare.measures import Ssim, psnr_db, to_pixels
from autogaze_cli.compare.promise import promise, upper_bound
from autogaze_cli.compare.settings import CompareSettings, Row
from autogaze_cli.compare.statistics import mean_interval, t_quantile
from autogaze_cli.compare.table import csv_text, table_rows
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.sources.cells import cell_fixations

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    """Four frames of 120 x 160 in which noise moves over a slope."""
    slope = np.broadcast_to(np.arange(160)[None, :, None], (120, 160, 3)).astype(np.uint8)
    made = [slope.copy() for _ in range(4)]
    for n, frame in enumerate(made):
        frame[30:70, 20 * n : 20 * n + 40] = RNG.integers(0, 256, (40, 40, 3))
    return made


@pytest.fixture(scope="module")
def clip(frames: list[NDArray[np.uint8]]) -> Clip:
    return Clip(frames)


def ids(*chosen: int) -> Fixations:
    return LAYOUT.fixations(np.array(chosen), 1.0)


def test_all_finest_cells_show_the_frame_itself(clip: Clip) -> None:
    whole = LAYOUT.fixations(np.arange(69, 265), 1.0)
    played = clip.play([whole] * 4)
    assert torch.equal(played.pictures, clip.frames)
    assert clip.measures(played) == {
        "psnr_db": 100, "ssim": pytest.approx(1), "loss": 0, "update_ratio": 1,
    }  # fmt: skip


def test_what_is_not_gazed_at_stays(clip: Clip) -> None:
    played = clip.play([ids(69), ids(), ids(264), ids(69)])
    shown = played.pictures
    assert torch.equal(shown[1], shown[0])
    assert torch.equal(shown[2][:, :16, :16], clip.frames[0][:, :16, :16])
    assert torch.equal(shown[3][:, :16, :16], clip.frames[3][:, :16, :16])
    assert not shown[1][:, 16:].any()
    assert not shown[1][:, :, 16:].any()
    np.testing.assert_allclose(played.updated, [1 / 196, 0, 1 / 196, 1 / 196])


def test_a_coarse_cell_never_covers_a_finer_one_of_its_frame(clip: Clip) -> None:
    fine_first, coarse_first = (clip.play([ids(*order)] * 4) for order in ((69, 0), (0, 69)))
    assert torch.equal(fine_first.pictures, coarse_first.pictures)
    corner = fine_first.pictures[1][:, :16, :16]
    assert torch.equal(corner, clip.frames[1][:, :16, :16])
    covered = clip.play([ids(69), ids(0), ids(), ids()]).pictures  # a later frame may
    assert not torch.equal(covered[1][:, :16, :16], clip.frames[0][:, :16, :16])


def test_a_free_first_frame_is_shown_whole(clip: Clip) -> None:
    played = clip.play([ids()] * 4, first_frame_free=True)
    assert torch.equal(played.pictures, clip.frames[:1].expand(4, -1, -1, -1))
    expected = (clip.frames - clip.frames[:1]).abs().mean((1, 2, 3))
    np.testing.assert_allclose(played.loss, expected, rtol=1e-6)


def test_a_replayed_clip_is_one_that_was_painted_frame_by_frame(clip: Clip) -> None:
    geometry = Geometry(LAYOUT, SIDE)
    shown = geometry.shown(clip.frames)
    chosen = [RNG.choice(265, n, replace=False) for n in (40, 3, 0, 25)]
    levels = torch.stack([geometry.levels(torch.from_numpy(c)) for c in chosen])
    picture, painted = torch.zeros_like(clip.frames[:1]), []
    for one, level in zip(shown, levels, strict=True):
        picture = geometry.paint(picture, one[None], level[None])
        painted.append(picture[0])
    assert torch.equal(geometry.replay(geometry.cut(shown), levels), torch.stack(painted))


def test_cells_of_a_source_are_ids_of_the_canvas() -> None:
    cells = cell_fixations(14, np.array([0, 195, 20]), np.ones(3))
    assert canvas_ids(cells).tolist() == [69, 264, 89]
    everything = LAYOUT.fixations(np.arange(265), 1.0)
    assert canvas_ids(everything).tolist() == list(range(265))
    with pytest.raises(ConfigError, match="cells that the canvas does not have"):
        canvas_ids(cell_fixations(10, np.array([3]), np.ones(1)))
    with pytest.raises(ConfigError, match="cells that the canvas does not have"):
        canvas_ids(cells.of_whole(0.1, 0, 0.8, 1))


def test_ssim_is_that_of_its_definition_window_by_window() -> None:
    first = RNG.integers(0, 256, (1, 3, 30, 27)).astype(np.float32)
    second = np.clip(first + RNG.normal(0, 40, first.shape), 0, 255).astype(np.float32)
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    x, y = (
        0.299 * p[0, 0].astype(float) + 0.587 * p[0, 1] + 0.114 * p[0, 2] for p in (first, second)
    )
    found = []
    for row in range(20):
        for col in range(17):
            a, b = (z[row : row + 11, col : col + 11] for z in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            found.append(
                (2 * mean_a * mean_b + 2.55**2) * (2 * both + 7.65**2)
                / ((mean_a**2 + mean_b**2 + 2.55**2) * (var_a + var_b + 7.65**2))
            )  # fmt: skip
    ours = Ssim(torch.from_numpy(first)).of(torch.from_numpy(second))
    assert float(ours) == pytest.approx(np.mean(found), abs=1e-5)


def test_pixels_come_back_from_normalised_values(frames: list[NDArray[np.uint8]]) -> None:
    square = np.ascontiguousarray(frames[1][:100, :100])
    clip = Clip([np.asarray(square).repeat(3, 0).repeat(3, 1)[:224, :224]] * 2)
    exact = torch.from_numpy(square.repeat(3, 0).repeat(3, 1)[:224, :224]).permute(2, 0, 1)
    assert torch.allclose(to_pixels(clip.frames[0]), exact.float(), atol=0.01)
    assert psnr_db(1) == pytest.approx(48.1308, abs=1e-4)


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.975, 1, 12.706), (0.975, 8, 2.306), (0.95, 18, 1.734), (0.975, 120, 1.980)],
)
def test_quantiles_of_students_distribution(
    probability: float, degrees: int, quantile: float
) -> None:  # from printed tables
    assert t_quantile(probability, degrees) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize("clips", [5, 12])
def test_intervals_cover_the_mean_of_the_population(clips: int) -> None:
    rng, hits, runs = np.random.default_rng(1), 0, 300
    for _ in range(runs):
        low, high = mean_interval(rng.gamma(4, 0.25, clips).tolist())  # skewed, of mean 1
        assert low is not None
        assert high is not None
        hits += low <= 1 <= high
    assert 0.9 <= hits / runs <= 0.99


def test_one_clip_has_no_interval() -> None:
    assert mean_interval([3.0]) == (None, None)


def losses_of(rng: np.random.Generator, clips: int) -> NDArray[np.float64]:
    """Losses of clips that differ in difficulty: ``[clips, requirements, frames]``."""
    asked = np.linspace(0.05, 0.5, 10)[None, :, None]
    hard = rng.lognormal(0, 0.3, (clips, 1, 1))
    return np.asarray(asked * hard * rng.lognormal(0, 0.15, (clips, 10, 16)))


@pytest.mark.parametrize(("clips", "confidence"), [(25, 0.9), (60, 0.95)])
def test_a_promise_holds_on_clips_that_it_has_not_seen(clips: int, confidence: float) -> None:
    rng, shares, target = np.random.default_rng(2), [], 0.3
    unseen = losses_of(rng, 2000)
    for _ in range(60):
        found = promise(losses_of(rng, clips), target, confidence)
        assert found.index is not None
        assert found.bound <= 1 - confidence + 1e-9
        shares.append((unseen[:, found.index] <= target).mean())
    assert np.mean(shares) >= confidence
    assert np.mean(np.array(shares) >= confidence) >= 0.85  # not only on average
    assert found.index is not None
    assert found.index > 0  # it is no promise to always stop last


def test_no_promise_from_too_few_clips_or_for_an_impossible_loss() -> None:
    rng = np.random.default_rng(3)
    few = promise(losses_of(rng, 18), 10.0, 0.95)
    assert (few.index, few.enough) == (None, False)
    assert promise(losses_of(rng, 19), 10.0, 0.95).index == 9
    impossible = promise(losses_of(rng, 30), 0.01, 0.95)
    assert (impossible.index, impossible.enough) == (None, True)
    assert upper_bound([0.0] * 9) == pytest.approx(0.1)


def test_a_risk_that_falls_again_is_not_trusted() -> None:
    losses = np.full((30, 3, 4), 0.1)
    losses[:, 1] = 0.9  # the second requirement misses with every frame, the third with none
    assert promise(losses, 0.5, 0.95).index == 0


def test_rows_are_all_budgets_defaults_and_draws() -> None:
    settings = CompareSettings(sources=("rlt", "random"), tokens=(5, 10), seeds=2)
    assert list(settings.rows()) == [
        *(Row("rlt", 5), Row("rlt", 10), Row("rlt", None)),
        *(Row("random", 5, 0), Row("random", 5, 1), Row("random", 10, 0), Row("random", 10, 1)),
        *(Row("random", None, 0), Row("random", None, 1)),
    ]
    exact = settings.gaze(Row("rlt", 5))
    assert (exact.exact, exact.max_gaze_tokens_each_frame) == (True, 5)
    default = settings.gaze(Row("rlt", None))
    assert (default.exact, default.max_gaze_tokens_each_frame) == (False, None)
    with pytest.raises(ConfigError, match="twice"):
        CompareSettings(sources=("rlt", "rlt"))


def figures(loss: float) -> dict[str, float]:
    return {"psnr_db": 30 - loss, "ssim": 1 - loss / 10, "loss": loss, "choose_ms": 1.0}


def clips(*losses: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {
            "input": f"{n}.mp4",
            "frames": 2, "width": 4, "height": 4, "pictures": {},
            "rows": [
                {"source": s, "setting": "tokens", "tokens": 5, "first_frame_free": False,
                 "figures": figures(loss)}
                for s, loss in zip(("a", "b"), pair, strict=True)
            ],
        }
        for n, pair in enumerate(losses)
    ]  # fmt: skip


def test_a_table_row_sums_clips_up() -> None:
    a, b = table_rows(clips((0.1, 0.5), (0.3, 0.6), (0.2, 1.3)))
    assert a["figures"]["loss"] | {"low": 0, "high": 0} == {
        "mean": 0.2, "median": 0.2, "worst": 0.3, "low": 0, "high": 0,
    }  # fmt: skip
    assert b["figures"]["psnr_db"]["worst"] == 28.7
    assert a["figures"]["loss"]["low"] >= 0
    assert b["against_first"]["loss"]["mean"] == pytest.approx(0.6)
    assert b["against_first"]["loss"]["better"] == 0
    assert a["against_first"]["loss"] == {"mean": 0, "low": 0, "high": 0, "better": 0}
    rows = list(csv.DictReader(io.StringIO(csv_text({"rows": [a, b]}))))
    assert [row["source"] for row in rows] == ["a", "b"]
    assert float(rows[1]["loss_median"]) == 0.6


def test_a_check_names_what_changed_and_ignores_times(tmp_path: Path) -> None:
    old, new = (
        {"settings": {"tokens": [5]}, "models": {}, "clips": clips((0.1, 0.5))} for _ in range(2)
    )
    changed: dict[str, Any] = new["clips"][0]["rows"][1]["figures"]  # type: ignore[index]
    changed["choose_ms"] = 9.0
    assert list(differences(new, old)) == []
    changed["loss"] = 0.4
    (line,) = differences(new, old)
    assert line == "0.mp4, b, 5 tokens: loss is 0.4, was 0.5"
    with pytest.raises(ConfigError, match="other settings: tokens"):
        list(differences(new | {"settings": {"tokens": [6]}}, old))


def test_a_plot_takes_nothing_from_the_current_folder(tmp_path: Path) -> None:
    """A ``matplotlibrc`` there could make matplotlib start LaTeX."""
    pytest.importorskip("matplotlib")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    figures = {"psnr_db": 30, "ssim": 0.9, "loss": 0.1}
    row = {
        "source": "patch-diff",
        "setting": "tokens",
        "tokens": 4,
        "first_frame_free": False,
        "figures": {
            name: {"mean": mean, "low": None, "high": None} for name, mean in figures.items()
        },
    }
    rows = [row, row | {"first_frame_free": True}]
    code = f"""
from io import BytesIO
from autogaze_cli.compare.plot import draw
draw({{"rows": {rows!r}, "clips": [0]}}).savefig(BytesIO(), format="png")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
