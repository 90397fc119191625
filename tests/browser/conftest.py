"""One headless Chromium for all tests, and pages that must stay silent and ask for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.jobs.frames import open_job
from autogaze_cli.jobs.pages import draw_page
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader
from tests.browser.shown import FRAMES, HEIGHT, MEAN_NAME, RUN, WIDTH

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install '.[dev]'"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium, as Debian's package chromium has it")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which any error, warning or request to elsewhere fails the test."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        shown = context.new_page()
        problems: list[str] = []

        def console(message: ConsoleMessage) -> None:
            problems.append(f"console {message.type}: {message.text}")

        def request(asked: Request) -> None:
            if not asked.url.startswith(("file:", "data:")):
                problems.append(f"request: {asked.url}")

        shown.on("console", console)
        shown.on("pageerror", lambda error: problems.append(f"error: {error}"))
        shown.on("request", request)
        yield shown
        assert problems == []


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames of moving colours."""
    path = tmp_path_factory.mktemp("video") / "colours.mp4"
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "10", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for n in range(FRAMES):
            rgb = np.stack([x * 2 + 9 * n, y * 4, (x + y + 30 * n) % 256], axis=2)
            frame = av.VideoFrame.from_ndarray(rgb.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def trace() -> Trace:
    """Cells of every scale, some twice, some of no grid, some hardly sure, none in one frame."""
    rng = np.random.default_rng(7)
    frames = []
    for n in range(FRAMES):
        count = 0 if n == 5 else 40
        grid = rng.choice([2, 4, 7, 14], count, p=[0.1, 0.3, 0.3, 0.3])
        column, row = rng.integers(0, grid), rng.integers(0, grid)
        cells = Fixations.from_columns(
            {
                "x": (column + np.float32(0.5)).astype(np.float32) / grid.astype(np.float32),
                "y": (row + np.float32(0.5)).astype(np.float32) / grid.astype(np.float32),
                "width": np.float32(1) / grid.astype(np.float32),
                "height": np.float32(1) / grid.astype(np.float32),
                "confidence": rng.choice([0, 0.2, 0.6, 1], count),
                "grid": np.where(rng.random(count) < 0.2, 0, grid),
                "token": row * grid + column,
            }
        )
        gaze = FrameTrace(n, Fraction(n, 5), cells, 0.5, np.array([count], np.int32))
        frames.append(gaze)
    header = TraceHeader(
        source=MEAN_NAME,
        source_width=WIDTH,
        source_height=HEIGHT,
        width=WIDTH,
        height=HEIGHT,
        fps=Fraction(5),
        mask_source="autogaze",
        model="tiny",
        model_sha256=None,
        scales="32+64+112+224",
        num_vision_tokens_each_frame=265,
        mode="resize",
        tile_size=224,
        stride=224,
        tile_count=1,
        settings={"note": MEAN_NAME},
        tool_version="0",
    )
    return Trace.from_frames(header, frames)


@pytest.fixture(scope="session")
def report(video: Path, trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that trace."""
    path = tmp_path_factory.mktemp("report") / "colours.report.html"
    draw_page(open_job(video, trace, Sampling(), name=MEAN_NAME), path, RUN)
    return path
