"""The page in use: stepping, keys, plots, the pointer, the address, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from autogaze_cli.trace import Trace
from tests.browser.shown import FRAMES, MEAN_NAME, canvas, open_report, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("browser")


def where(page: Page) -> int:
    """The number of the frame shown, as the page says it."""
    settle(page)
    return int(page.inner_text("#where").split()[1])


def test_stepping_changes_the_frame_and_what_is_said(page: Page, report: Path) -> None:
    open_report(page, report)
    first = canvas(page, "input")
    said = page.inner_text("#numbers")
    page.click("#forward")
    assert where(page) == 2
    assert page.input_value("#scrub") == "1"
    assert page.inner_text("#where") == "frame 2 of 7, 0.200 s"
    assert (canvas(page, "input") != first).any()
    assert page.inner_text("#numbers") != said
    page.click("#back")
    assert where(page) == 1
    np.testing.assert_array_equal(canvas(page, "input"), first)
    page.click("#last")
    assert where(page) == FRAMES
    page.click("#forward")  # there is none
    assert where(page) == FRAMES


def test_everything_is_done_with_the_keyboard(page: Page, report: Path) -> None:
    open_report(page, report)
    for key, number in [
        ("ArrowRight", 2),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("End", 7),
        ("Home", 1),
        ("PageDown", 7),
    ]:
        page.keyboard.press(key)
        assert where(page) == number, key
    for key, name, after in [
        ("m", "mask_visualization", "overlay"),
        ("g", "mask_geometry", "deduplicated"),
        ("o", "visualization_mode", "full-blend"),
        ("r", "visualization_mode", "interframe"),
    ]:
        page.keyboard.press(key)
        assert page.input_value(f"#{name}") == after, key
    page.focus("#mask_geometry")  # here the arrows are the list's
    page.keyboard.press("ArrowDown")
    assert where(page) == 7
    assert page.input_value("#mask_geometry") == "deduplicated"
    page.focus("#shortcuts")
    page.keyboard.press("Space")  # switches the keys off, and does not play
    page.keyboard.press("Home")
    assert where(page) == 7
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(45):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    ids = {"first", "back", "play", "forward", "last", "scrub", "speed", "loop", "reset"}
    ids |= {"mask_visualization", "mask_geometry", "visualization_mode", "keyframe_duration"}
    assert ids | {"Dark", "Enlarge"} <= reached


def test_it_plays_and_stops(page: Page, report: Path) -> None:
    open_report(page, report)
    page.select_option("#speed", "4")
    page.uncheck("#loop")
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.wait_for_function("() => document.getElementById('scrub').value === '6'")
    page.wait_for_selector("#play[aria-label=Play]")
    assert where(page) == FRAMES


def test_plots_seek_and_speak(page: Page, report: Path) -> None:
    open_report(page, report)
    plots = page.locator("#plots svg")
    assert plots.count() == 2
    box = plots.nth(1).bounding_box()
    assert box is not None
    plots.nth(1).click(position={"x": 46 + (box["width"] - 56) * 3 / 6, "y": 80})
    assert where(page) == 4
    said = plots.nth(0).get_attribute("aria-label")
    assert said is not None
    assert said.startswith("Gaze ratio: ")
    page.click("summary")
    rows = page.locator("#table tbody tr")
    rows.first.wait_for()
    assert rows.count() == FRAMES
    assert rows.nth(3).get_attribute("aria-current") is not None
    assert rows.nth(4).inner_text().split("\t")[2] == "yes"  # the keyframe


def test_the_pointer_names_a_cell(page: Page, report: Path, trace: Trace) -> None:
    open_report(page, report, "#frame=2&mask_visualization=overlay&mask_geometry=effective")
    cells = trace.frame(1).fixations.active()
    box = page.locator("#panel-mask canvas").bounding_box()
    assert box is not None
    coloured = np.argwhere(canvas(page, "mask")[..., :3].any(axis=2))
    y, x = coloured[len(coloured) // 2]
    scale = box["width"] / canvas(page, "mask").shape[1]
    page.mouse.move(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)
    text = page.inner_text("#pointed")
    assert " cell: token " in text
    assert int(text.split("token ")[1].split(",")[0]) in cells.token
    assert page.locator(".outline:visible").count() == 3
    page.mouse.move(5, 5)
    assert page.locator(".outline:visible").count() == 0


def test_filters_leave_cells_out(page: Page, report: Path) -> None:
    open_report(page, report, "#frame=2&mask_visualization=overlay")
    full = np.count_nonzero(canvas(page, "mask")[..., :3].any(axis=2))
    page.fill("#min_confidence", "0.7")
    settle(page)
    sure = np.count_nonzero(canvas(page, "mask")[..., :3].any(axis=2))
    for box in page.locator("#scales input").all():
        box.uncheck()
    settle(page)
    assert full > sure > 0
    assert not canvas(page, "mask")[..., :3].any()


def test_the_address_keeps_the_view(page: Page, report: Path) -> None:
    open_report(page, report)
    page.select_option("#mask_visualization", "image-overlay")
    page.fill("#scrub", "4")
    page.wait_for_function("() => location.hash === '#frame=5&mask_visualization=image-overlay'")
    before = canvas(page, "mask")
    page.reload()
    assert where(page) == 5
    np.testing.assert_array_equal(canvas(page, "mask"), before)
    # Whatever an address holds, it is a view or nothing.
    page.goto(report.as_uri() + "#frame=1e9&mask_geometry=<b>&blend_alpha=x&keyframe_duration=-3")
    page.wait_for_function("() => document.getElementById('scrub').value === '6'")
    assert page.input_value("#mask_geometry") == "native"
    assert page.input_value("#keyframe_duration") == "0"


def test_a_mean_name_is_a_name(page: Page, report: Path) -> None:
    open_report(page, report)
    assert page.inner_text("h1") == MEAN_NAME
    assert page.title() == f"{MEAN_NAME} - autogaze"
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(
    page: Page, report: Path, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    open_report(page, report)
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(245, 246, 248)", "rgb(15, 18, 22)"
    assert page.evaluate(colour) == (dark if scheme == "dark" else light)
    page.click("#theme button:text('Light')")
    assert page.evaluate(colour) == light
    page.click("#theme button:text('Dark')")
    assert page.evaluate(colour) == dark


def test_nothing_overflows_a_narrow_window(page: Page, report: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    open_report(page, report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
