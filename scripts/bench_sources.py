"""Time how long the sources without a model take to choose, after decoding, on one core.

    taskset -c 0 python -m scripts.bench_sources [VIDEO]

Without a video, one of 1920 x 1080 is made with x264 from moving noise. For each source: the best
CPU time of several runs over the clip, per frame, in milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.media.writers import open_writer
from autogaze_cli.sources.registry import BUILT_IN

FRAMES, REPEATS = 16, 7


def make_video(path: Path) -> None:
    """Write a video in which noise of several sizes moves over a still background."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (68, 120, 3), np.uint8).repeat(16, 0).repeat(16, 1)[:1080]
    with open_writer(path, format="mp4", fps=Fraction(30), width=1920, height=1080) as writer:
        for number in range(FRAMES):
            frame = coarse.copy()
            for side in (60, 200, 500):
                top, left = 10 * number, 100 + 7 * number + 2 * side
                patch = rng.integers(0, 256, (side // 10, side // 10, 3), np.uint8)
                frame[top : top + side, left : left + side] = patch.repeat(10, 0).repeat(10, 1)
            writer.write(frame)


def milliseconds(name: str, frames: Sequence[Frame]) -> float:
    """The best time of a source per frame."""
    times = []
    for _ in range(REPEATS):
        source = open_source(GazeSettings(mask_source=name))
        start = time.process_time()
        for _ in source.trace(frames):
            pass
        times.append((time.process_time() - start) * 1000 / len(frames))
    return min(times)


def main() -> None:
    """Print one line per source."""
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            path = Path(sys.argv[1])
        else:
            path = Path(folder) / "made.mp4"
            make_video(path)
        frames = list(read_frames(path, Sampling(frames=FRAMES), motion=True))
    height, width = frames[0].rgb.shape[:2]
    print(f"{len(frames)} frames of {width}x{height}, ms per frame")
    for name in BUILT_IN:
        if name != "autogaze":
            print(f"{name:<20} {milliseconds(name, frames):6.2f}")
    without = [replace(frame, motion=None) for frame in frames]
    print(f"{'codec, encoding':<20} {milliseconds('codec', without):6.2f}")


if __name__ == "__main__":
    main()
