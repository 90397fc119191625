"""What the tests of the live viewer share: its page, a browser with a camera, and a look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTH, HEIGHT = 320, 240


def picture(number: int) -> NDArray[np.uint8]:
    """A frame of the camera: a pattern that flickers a little, and a square that goes across it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 6 * (number % 5)
    rgb = np.stack([x // 2 + light, y // 2, ((x // 20 + y // 20) % 2) * 200 + light], axis=2)
    left = number * 9 % (WIDTH - 60)
    rgb[90:150, left : left + 60] = [250, 250, 240]
    return rgb.astype(np.uint8)


def write_camera(path: Path) -> None:
    """Frames as Chromium's fake camera reads them, again and again: uncompressed, in one file."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            planes = frame.reformat(format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())


def write_webm(path: Path, frames: int = 12) -> None:
    """The same as a file that every browser plays."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx", rate=10, options={"deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def open_viewer(page: Page, path: Path, address: str = "") -> None:
    """The page, with its model ready."""
    page.goto("about:blank")
    page.goto(path.as_uri() + address)
    page.wait_for_function(
        "() => document.getElementById('model').textContent.includes('32+64+112+224')"
    )


def summary(page: Page) -> dict[str, Any]:
    """The performance summary, as the page has it now."""
    for _ in range(2 if page.get_attribute("#performance", "open") is not None else 1):
        page.click("#performance summary")  # opening it writes it
    page.wait_for_function("() => document.getElementById('summary').textContent.startsWith('{')")
    found: dict[str, Any] = json.loads(page.inner_text("#summary"))
    return found


def gaze_until(page: Page, frames: int) -> dict[str, Any]:
    """Start, wait for a number of gazed frames, stop; the summary."""
    page.click("#start")
    data = "document.documentElement.dataset"
    page.wait_for_function(f"() => {data}.gazed >= {frames}")
    page.click("#start")
    page.wait_for_function(f"() => {data}.busy === undefined")
    return summary(page)
