"""What the browser tests share: the run that is shown, and how to read a page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.visualize.settings import Visualization

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTH, HEIGHT, FRAMES = 98, 62, 7
MEAN_NAME = "</script><img src=x onerror=\"document.title='owned'\">&amp;.mp4"
RUN = Visualization(
    mask_geometry="native",
    mask_visualization="scale-rows",
    blend_alpha=0.55,
    visualization_mode="interframe",
    keyframe_duration=4,
)


def open_report(page: Page, path: Path, view: str = "") -> None:
    page.goto(path.as_uri() + view)
    settle(page)


def settle(page: Page) -> None:
    """Wait until everything asked for is drawn."""
    done = "() => (({asked, drawn}) => asked && asked === drawn)(document.documentElement.dataset)"
    page.wait_for_function(done)


def canvas(page: Page, role: str) -> NDArray[np.uint8]:
    """The pixels of a panel, uint8 [h, w, 4]."""
    found: dict[str, Any] = page.evaluate(
        """(role) => {
          const canvas = document.querySelector(`#panel-${role} canvas`);
          const { width, height } = canvas;
          const copy = new OffscreenCanvas(width, height);
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const { data } = context.getImageData(0, 0, width, height);
          let text = "";
          for (const byte of data) text += String.fromCharCode(byte);
          return { width, height, text: btoa(text) };
        }""",
        role,
    )
    pixels = np.frombuffer(base64.b64decode(found["text"]), np.uint8)
    return pixels.reshape(found["height"], found["width"], 4)
