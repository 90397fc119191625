"""The page draws what the program draws: the same pixels, the same numbers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from autogaze_cli.trace import Trace
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.panels import mask_panel
from autogaze_cli.visualize.settings import GEOMETRIES, MASK_VISUALIZATIONS, Visualization
from tests.browser.shown import FRAMES, RUN, canvas, open_report, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("browser")


def choose(page: Page, settings: Visualization) -> None:
    """Set the controls that stand otherwise, as a user would."""
    for name in ("mask_visualization", "mask_geometry", "visualization_mode"):
        if page.input_value(f"#{name}") != getattr(settings, name):
            page.select_option(f"#{name}", getattr(settings, name))
    for name in ("keyframe_duration", "blend_alpha", "mask_cell_scale"):
        value = f"{getattr(settings, name):g}"
        if page.input_value(f"#{name}") != value and page.is_enabled(f"#{name}"):
            page.fill(f"#{name}", value)
    settle(page)


def test_masks_have_the_pixels_of_the_program(page: Page, report: Path, trace: Trace) -> None:
    open_report(page, report, "#frame=2")
    frame = canvas(page, "input")
    cells = trace.frame(1).fixations
    seen = {}
    wanted = [(*pair, 1.0) for pair in itertools.product(MASK_VISUALIZATIONS, GEOMETRIES)]
    wanted += [("overlay", geometry, 1.35) for geometry in GEOMETRIES]
    for style, geometry, scale in [*wanted, ("scale-rows", "deduplicated", 1.35)]:
        settings = Visualization(
            mask_visualization=style,
            mask_geometry=geometry,
            mask_cell_scale=scale,
            blend_alpha=0.35,
            visualization_mode="interframe",
        )
        choose(page, settings)
        shown = canvas(page, "mask")
        np.testing.assert_array_equal(shown, mask_panel(frame, cells, settings), str(settings))
        seen[style, geometry, scale] = shown.tobytes()
    # Each switch changes pixels, but for the one combination that the rules make equal.
    assert len(set(seen.values())) == len(seen) - 1
    assert seen["scale-rows", "effective", 1] == seen["overlay", "effective", 1]


@pytest.mark.parametrize(
    "settings",
    [
        RUN,
        Visualization(visualization_mode="interframe", keyframe_duration=0, mask_cell_scale=0.5),
        Visualization(visualization_mode="interframe", mask_geometry="effective"),
        Visualization(visualization_mode="full-blend", blend_alpha=0.25),
    ],
)
def test_outputs_have_the_pixels_of_the_program(
    page: Page, report: Path, trace: Trace, settings: Visualization
) -> None:
    open_report(page, report)
    choose(page, settings)
    compositor = Compositor(settings)
    seen = []
    for number in range(FRAMES):
        view = compositor.step(canvas(page, "input"), trace.frame(number).fixations)
        seen.append(canvas(page, "output"))
        np.testing.assert_array_equal(seen[-1], view.output)
        if settings != RUN:
            assert page.inner_text("#ratio-now") == f"{view.update_ratio * 100:.1f} %"
        page.click("#forward")
        settle(page)
    page.click("#first")  # and the same when composed anew from somewhere in between
    page.fill("#scrub", "5")
    settle(page)
    np.testing.assert_array_equal(canvas(page, "output"), seen[5])


def test_numbers_are_the_runs_own(page: Page, report: Path, video: Path, trace: Trace) -> None:
    from autogaze_cli.media.videos import read_frames

    open_report(page, report, "#frame=3")
    compositor = Compositor(RUN)
    for number, frame in zip(range(3), read_frames(video), strict=False):
        view = compositor.step(frame.rgb, trace.frame(number).fixations)
    assert page.inner_text("#frame-ratio").startswith(f"{view.update_ratio * 100:.1f} %")
    assert page.inner_text("#frame-psnr").startswith(f"{view.psnr_db:.2f} dB")
    assert page.inner_text("#frame-cells") == f"{len(view.fixations)} of 40 positions"
    counts = [int(page.inner_text(f"#cells-{scale}")) for scale in range(4)]
    assert sum(counts) == len(view.fixations)
    page.select_option("#mask_geometry", "effective")  # the plots keep the run's, and say so
    settle(page)
    assert "keep the run" in page.inner_text("#changed")
    assert page.inner_text("#frame-ratio").startswith(f"{view.update_ratio * 100:.1f} %")
    page.wait_for_selector("path.now-line", state="attached")
    page.click("#reset")
    assert page.inner_text("#changed") == "Drawn with the run's settings."
