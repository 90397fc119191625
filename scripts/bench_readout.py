"""Time the readout of a long trace on one core, from fixations to coordinates of the clip.

Exit code 1 if 10,000 frames of 200 fixations take 2 s or more on a 14 x 14 grid.

Usage: python -m scripts.bench_readout [--frames N] [--fixations N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from autogaze_cli import readout as ro
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.trace import Trace, TraceHeader

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
LIMIT_S = 2.0


def trace(frames: int, fixations: int) -> Trace:
    """A trace with the given number of different cells per frame, in random order."""
    rng = np.random.default_rng(0)
    order = np.argsort(rng.random((frames, LAYOUT.num_tokens)), axis=1)[:, :fixations]
    header = TraceHeader(
        source="random",
        source_width=224,
        source_height=224,
        width=224,
        height=224,
        fps=Fraction(30),
        mask_source="autogaze",
        model=None,
        model_sha256=None,
        scales="32+64+112+224",
        num_vision_tokens_each_frame=LAYOUT.num_tokens,
        mode="resize",
        tile_size=224,
        stride=224,
        tile_count=1,
        settings={},
        tool_version="0",
    )
    slot = np.tile(np.arange(fixations), frames)
    return Trace(
        header=header,
        index=np.arange(frames, dtype=np.int64),
        times=tuple(Fraction(t, 30) for t in range(frames)),
        stop_probability=np.zeros(frames, np.float32),
        num_gazing=np.full((frames, 1), fixations, np.int32),
        offsets=np.arange(frames + 1, dtype=np.int64) * fixations,
        fixations=LAYOUT.fixations(order.reshape(-1), rng.random(order.size), slot=slot),
    )


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The minimum time of a call, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--fixations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever the machine
    made = trace(given.frames, given.fixations)
    print(f"{given.frames} frames of {given.fixations} fixations, one core, best of {given.rounds}")
    print(f"{'grid':>9} {'tubelet':>8} {'coordinates':>12} {'by tokens':>10} {'by rects':>10}")
    slowest = 0.0
    for side, tubelet in ((14, 1), (14, 2), (16, 2), (24, 2)):
        image = ro.SparseReadoutGrid(side, side)
        video = ro.SparseVideoReadoutGrid(given.frames // tubelet, side, side)
        options = ro.SparseVideoReadoutOptions(tubelet_size=tubelet)

        def by_tokens(
            image: ro.SparseReadoutGrid = image,
            video: ro.SparseVideoReadoutGrid = video,
            options: ro.SparseVideoReadoutOptions = options,
        ) -> ro.Coords:
            return ro.trace_to_video_readout_coords(made, image, video, video_options=options)

        def by_rects(
            video: ro.SparseVideoReadoutGrid = video,
            options: ro.SparseVideoReadoutOptions = options,
        ) -> ro.Coords:
            rects = ro.trace_to_frame_readout_rects(made)
            return ro.frame_readout_rects_to_video_coords(rects, video, options)

        times = [seconds(call, given.rounds) for call in (by_tokens, by_rects)]
        if side == 14:
            slowest = max(slowest, *times)
        columns = " ".join(f"{s:8.2f} s" for s in times)
        print(f"{side:>4} x {side:<2} {tubelet:>8} {len(by_tokens()):>12} {columns}")
    return int(slowest >= LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
