"""Measure the live viewer in headless Chromium on one core, with a camera fed from a file.

    python scripts/bench_viewer.py                          # the table of docs/viewer.md
    python scripts/bench_viewer.py --frames 10000 --case patch-diff    # whether memory stays flat

Needs playwright and Chromium, as the tests do. The camera delivers 60 frames per second, so that it
never limits what is measured. Frames per second need a core that does nothing else; the processor
time of all of Chromium per gazed frame is nearly the same on a busy one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from autogaze_cli.jobs.viewer import read_checkpoint
from autogaze_cli.player.viewer import write_viewer

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = {"224x224": "inference_width=224&inference_height=224", "640x360": "inference_width=640"}
CASES = {
    "model, 2 frames": "mask_source=autogaze&horizon_frames=2",
    "model, 4 frames": "mask_source=autogaze&horizon_frames=4",
    "model, 8 frames": "mask_source=autogaze&horizon_frames=8",
    "model, 16 frames": "mask_source=autogaze&horizon_frames=16",
    "patch-diff": "mask_source=patch-diff",
}


def write_camera(video: Path, path: Path, fps: int) -> None:
    """A video, 640 x 360, as Chromium's fake camera reads it."""
    with av.open(video) as container, path.open("wb") as file:
        file.write(f"YUV4MPEG2 W640 H360 F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in container.decode(video=0):
            planes = frame.reformat(width=640, height=360, format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())


def cpu_ms(pid: int) -> float:
    """Processor time of a process's descendants so far, in milliseconds."""
    total = 0.0
    for child in _children(pid):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        total += 1000 * ticks / os.sysconf("SC_CLK_TCK") + cpu_ms(child)
    return total


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in lists for child in one.read_text().split()]


def resident_mb(pid: int) -> float:
    """Memory of a process and its descendants, in MB."""
    status = Path(f"/proc/{pid}/statm").read_text().split()
    own = int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return own + sum(resident_mb(child) for child in _children(pid))


def measure(page: Page, address: str, frames: int) -> dict[str, Any]:
    """Gaze at a number of frames; the page's summary, processor time, and memory on the way."""
    pid = os.getpid()
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => document.getElementById('model').textContent.includes('ms')")
    page.click("#start")
    gazed = "document.documentElement.dataset.gazed"
    page.wait_for_function(f"() => {gazed} >= 5")
    before, first = cpu_ms(pid), int(page.evaluate(gazed))
    memory = []
    for step in range(1, 11):
        page.wait_for_function(f"() => {gazed} >= {5 + frames * step // 10}", timeout=0)
        memory.append(round(resident_mb(pid)))
    cpu = (cpu_ms(pid) - before) / (int(page.evaluate(gazed)) - first)
    page.click("#performance summary")
    page.wait_for_function("() => document.getElementById('summary').textContent")
    found: dict[str, Any] = json.loads(page.inner_text("#summary"))
    page.click("#start")
    return {**found, "cpu_ms": cpu, "memory_mb": memory}


def main() -> int:
    """Measure all cases, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200, help="frames gazed at in each case")
    parser.add_argument("--fps", type=int, default=60, help="rate of the camera")
    parser.add_argument("--case", choices=CASES, action="append", help="repeatable; default: all")
    parser.add_argument("--video", type=Path, default=Path("fixtures/dog.mp4"))
    parser.add_argument("--json", action="store_true", help="print the summaries")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and what is started from here
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    found = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera, viewer = Path(folder) / "camera.y4m", Path(folder) / "gaze.html"
        write_camera(given.video, camera, given.fps)
        write_viewer(viewer, read_checkpoint(None))
        flags = ["--no-sandbox", "--use-fake-ui-for-media-stream"]
        flags += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for case in given.case or CASES:
            for size, address in SIZES.items():
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                url = f"{viewer.as_uri()}#{CASES[case]}&{address}&fps={given.fps}"
                found[f"{case}, {size}"] = one = measure(page, url, given.frames)
                page.close()
                gaze, draw = one["gaze_ms"], one["draw_ms"]
                print(
                    f"{case:18} {size}: {one['gazed']['fps']:5.1f} fps, gaze {gaze['p50']:.1f} ms "
                    f"(95 %: {gaze['p95']:.1f}), drawing {draw['p50']:.1f} ms, "
                    f"processor {one['cpu_ms']:.1f} ms, "
                    f"cells {one['cells']['mean']:.0f}, memory {one['memory_mb']} MB",
                    flush=True,
                )
        browser.close()
    if given.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
