"""Time the drawing of one 1080p frame on one core: interframe with metrics, and each panel.

Usage: python -m scripts.bench_visualize [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.panels import mask_panel
from autogaze_cli.visualize.rects import Image
from autogaze_cli.visualize.settings import GEOMETRIES, MASK_VISUALIZATIONS, Visualization

WIDTH, HEIGHT, TILE = 1920, 1080, 224
GRIDS = np.array([2, 4, 7, 14])


def cells(rng: np.random.Generator, n: int, columns: int, rows: int) -> Fixations:
    """``n`` different cells of the four scales in a frame of ``columns`` x ``rows`` tiles."""
    in_tile = np.repeat(GRIDS, GRIDS**2)
    token = rng.permutation(len(in_tile) * columns * rows)[:n]
    tile, token = np.divmod(token, len(in_tile))
    grid = in_tile[token]
    cell = token - np.searchsorted(in_tile, grid)
    across, down = grid * columns, grid * rows
    column = tile % columns * grid + cell % grid
    row = tile // columns * grid + cell // grid
    return Fixations.from_columns(
        {
            "x": (column + 0.5) / across,
            "y": (row + 0.5) / down,
            "width": 1 / across,
            "height": 1 / down,
            "grid": grid,
        }
    )


def free_cells(rng: np.random.Generator, n: int) -> Fixations:
    """``n`` small cells at random positions: the worst case for a mask."""
    return Fixations.from_columns(
        {
            "x": rng.random(n),
            "y": rng.random(n),
            "width": np.full(n, 1 / 126),
            "height": np.full(n, 1 / 70),
            "grid": rng.choice(GRIDS, n),
        }
    )


def milliseconds(call: Callable[[], object], rounds: int) -> str:
    """The median and the minimum time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return f"{statistics.median(times):7.2f} ms, least {min(times):7.2f} ms"


def interframe(frames: list[Image], fixations: Fixations, geometry: str) -> Callable[[], object]:
    """A call that composes the next frame and computes its ratios and PSNR."""
    compositor = Compositor(
        Visualization(visualization_mode="interframe", keyframe_duration=0, mask_geometry=geometry)
    )
    compositor.step(frames[0], fixations)

    def call() -> float:
        frames.reverse()
        view = compositor.step(frames[0], fixations)
        return view.mask_ratio + view.update_ratio + view.psnr_db

    return call


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    for name, fixations in {
        "25 cells": cells(rng, 25, 1, 1),
        "4000 tiled cells": cells(rng, 4000, -(-WIDTH // TILE), -(-HEIGHT // TILE)),
        "8910 tiled cells": cells(rng, 8910, -(-WIDTH // TILE), -(-HEIGHT // TILE)),
        "4000 free cells": free_cells(rng, 4000),
    }.items():
        for geometry in GEOMETRIES:
            call: Callable[[], object] = interframe(frames, fixations, geometry)
            print(f"{name:17} {geometry:13} interframe      {milliseconds(call, rounds)}")
            for style in MASK_VISUALIZATIONS:
                settings = Visualization(mask_geometry=geometry, mask_visualization=style)
                call = partial(mask_panel, frames[0], fixations, settings)
                print(f"{name:17} {geometry:13} {style:15} {milliseconds(call, rounds)}")


if __name__ == "__main__":
    main()
