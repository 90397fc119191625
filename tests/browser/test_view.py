"""The page of ``autogaze view`` in headless Chromium, served by a real process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

from autogaze_cli.trace import read_trace
from tests.browser.live import gaze_until, write_webm
from tests.browser.shown import canvas
from tests.cli.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")


@contextmanager
def page_of(browser: Browser, address: str) -> Iterator[Page]:
    """The page with its connection open; a message, or a request to elsewhere, fails the test."""
    own = urlsplit(address).netloc
    with browser.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True
    ) as context:
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: (
                None
                if urlsplit(asked.url).netloc in (own, "")
                else problems.append(f"request: {asked.url}")
            ),
        )
        page.goto(address)
        yield page
        assert problems == []


def test_the_model_of_the_command_gazes_at_frames_of_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    write_webm(tmp_path / "video.webm")
    with serving(tmp_path) as (address, _), page_of(browser, address) as page:
        page.wait_for_function(
            "() => document.getElementById('model').textContent.includes('32+64+112+224')"
        )
        assert page.locator("#source option[value=served]").count() == 0
        page.fill("#inference_width", "160")
        page.set_input_files("#file", tmp_path / "video.webm")  # starts
        page.wait_for_function("() => document.documentElement.dataset.gazed >= 2")
        page.click("#record-trace")
        page.wait_for_function("() => document.documentElement.dataset.gazed >= 5")
        with page.expect_download() as download:
            page.click("#record-trace")
        download.value.save_as(tmp_path / "seen.trace.json")
        page.click("#start")
        assert page.inner_text("#problems") == ""
        assert canvas(page, "input").shape == (120, 160, 4)
    trace = read_trace(tmp_path / "seen.trace.json")
    assert (trace.header.model, trace.header.mode) == ("kestrel", "resize")
    assert trace.header.source == "video.webm"
    assert len(trace) >= 2
    assert all(len(frame.fixations.active()) > 0 for frame in trace)


def test_the_input_of_the_command_plays_and_ends(browser: Browser, tmp_path: Path) -> None:
    write_webm(tmp_path / "clip.webm", frames=20)
    arguments = ["clip.webm", "--mask-source", "patch-diff", "--inference-width", "160"]
    with serving(tmp_path, *arguments) as (address, _):
        assert address.endswith("#inference_width=160&start=true")
        with page_of(browser, address) as page:
            page.wait_for_function(
                "() => document.getElementById('state').textContent === 'The input has ended.'"
            )
            assert page.inner_text("#source option:checked") == "clip.webm"
            assert page.locator("#mask_source option").all_inner_texts() == [
                "patch-diff: what changed"
            ]
            shown = canvas(page, "input")
            assert shown.shape == (120, 160, 4)
            assert len(np.unique(shown)) > 50
            gazed = int(page.evaluate("document.documentElement.dataset.gazed"))
            assert 2 <= gazed <= 20
            done = gaze_until(page, 3)  # from its start once more
            assert 0 < done["mask_ratio"]["mean"] < 1


def test_a_page_tells_that_the_command_has_ended(browser: Browser, tmp_path: Path) -> None:
    arguments = ["synthetic:pan", "--frames", "5000", "--mask-source", "patch-diff"]
    with (
        serving(tmp_path, *arguments) as (address, process),
        page_of(browser, address) as page,
    ):
        page.wait_for_function("() => document.documentElement.dataset.gazed >= 3")
        process.terminate()  # while the input plays
        page.wait_for_function(
            "() => document.getElementById('problems').textContent.includes('has ended')"
        )
        assert page.is_disabled("#start")
