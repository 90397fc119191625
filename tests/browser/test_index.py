"""The index of a folder: sorting, filter, links; pages of pictures alone; accessibility of all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.draw import draw
from autogaze_cli.jobs.frames import OnFrame, open_job
from autogaze_cli.jobs.pages import draw_page, write_pages
from autogaze_cli.jobs.settings import Drawing
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.trace import Trace
from tests.browser.shown import MEAN_NAME, RUN, canvas, open_report, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("browser")


@contextmanager
def unheard(page: Path) -> Iterator[OnFrame]:
    yield lambda done, total, line: None


@pytest.fixture(scope="session")
def folder(video: Path, trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page, GIFs without a trace, and a manifest with a failure; and the index of all."""
    out = tmp_path_factory.mktemp("results")
    named = out / "a:b #1%.report.html"
    draw_page(open_job(video, trace, Sampling(), name=MEAN_NAME), named, RUN)
    gaze = open_source(GazeSettings(mask_source="patch-diff"))
    short = open_job(video, gaze, Sampling(frames=3), name="plain.mp4")
    draw("render-assets", short, out / "sub" / "plain", Drawing(visualization=RUN))
    lines = [
        {"event": "failed", "input": MEAN_NAME, "error": "later done"},
        {
            "event": "finished",
            "input": MEAN_NAME,
            "seconds": 8,
            "outputs": [{"path": named.name}],
        },
        {"event": "failed", "input": "<b>gone</b>.mp4", "error": "<i>gone</i>: is not a video"},
    ]
    text = "\n".join(map(json.dumps, lines))
    (out / "autogaze-manifest.jsonl").write_text(f"{text}\nno JSON\n")
    write_pages(out, unheard)
    return out


def names(page: Page) -> list[str]:
    """The videos shown, from top to bottom."""
    cells = page.locator("tbody th:visible").all()
    return [cell.inner_text().split("\n")[0] for cell in cells]


def test_the_index_sorts_filters_and_leads_to_pages(page: Page, folder: Path) -> None:
    page.goto((folder / "index.html").as_uri())
    mean, plain, gone = MEAN_NAME, "plain.mp4", "<b>gone</b>.mp4"
    assert names(page) == [mean, plain, gone]
    assert "3 videos, 1 failed" in page.inner_text("header")
    for heading, ascending in [
        ("Frames", [plain, mean, gone]),  # what has none stays last
        ("Video", [mean, gone, plain]),
        ("Seconds", [mean, plain, gone]),
    ]:
        head = page.locator("thead th", has_text=heading)
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert names(page)[:1] == ascending[:1], heading
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert page.locator("th[aria-sort]").count() == 1
    page.fill("#filter", "not a VIDEO")
    assert names(page) == [gone]
    assert page.inner_text("#found") == "1 of 3 shown"
    row = page.locator("tbody tr:visible")
    assert "failed <i>gone</i>: is not a video" in row.inner_text()
    page.fill("#filter", "")
    page.locator("a", has_text=MEAN_NAME).click()
    settle(page)
    assert page.inner_text("h1") == MEAN_NAME


def test_a_page_of_pictures_alone_plays_them(page: Page, folder: Path) -> None:
    open_report(page, folder / "sub" / "autogaze_plain_report.html")
    before = canvas(page, "input")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.inner_text("#where").startswith("frame 2 of 3")
    assert (canvas(page, "input") != before).any()
    assert canvas(page, "mask")[..., :3].any()
    assert canvas(page, "output")[..., :3].any()
    assert page.is_disabled("#mask_geometry")
    assert "run the command again with --report" in page.inner_text("#changed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(page: Page, folder: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = []
    pages = ["index.html", "a:b #1%.report.html", "sub/autogaze_plain_report.html"]
    for name in pages:
        page.goto((folder / name).as_uri())
        if "report" in name:
            settle(page)
        if page.locator("summary:visible").count():
            page.click("summary")
        result = axe.run(page)
        assert result.response["passes"]
        found += [
            f"{name}: {v['id']}: {v['nodes'][0]['html']}" for v in result.response["violations"]
        ]
    assert found == []
