"""The compiled drawing against numpy's: every style and geometry, to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize import compiled
from autogaze_cli.visualize.panels import mask_panel
from autogaze_cli.visualize.settings import GEOMETRIES, MASK_VISUALIZATIONS, Visualization

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="draw.c is not built")


def cells(rng: np.random.Generator, n: int) -> Fixations:
    grid = rng.choice([2, 4, 7, 14, 30], n)
    return Fixations.from_columns(
        {
            "x": rng.random(n),
            "y": rng.random(n),
            "width": rng.random(n) / grid,
            "height": rng.random(n) / grid,
            "grid": grid,
        }
    )


@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 0.5, 0.55, 1.0])
def test_panels_are_the_same(
    style: str, geometry: str, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(int(alpha * 100))
    settings = Visualization(
        mask_visualization=style,
        mask_geometry=geometry,
        blend_alpha=alpha,
        mask_cell_scale=float(rng.uniform(0.5, 2)),
    )
    for height, width, channels in ((1, 1, 3), (33, 70, 3), (64, 47, 4)):
        frame = rng.integers(0, 256, (height, width, channels), np.uint8)
        for count in (0, 1, 40):
            fixations = cells(rng, count)
            found = mask_panel(frame, fixations, settings)
            with monkeypatch.context() as patch:
                patch.setattr(compiled, "library", lambda: None)
                wanted = mask_panel(frame, fixations, settings)
            np.testing.assert_array_equal(found, wanted)


def test_a_user_may_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGAZE_NATIVE", "0")
    assert compiled.library.__wrapped__() is None
    assert (Path(compiled.__file__).parent / "draw.c").is_file()
