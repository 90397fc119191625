"""Time the drawing of one 1080p frame on one core: interframe with metrics, and each panel.

With ``--device``, each is also timed on torch tensors: "on cuda" has its frames there and leaves
the result there; "by way of cuda" uploads the frame and downloads the result, as a command must.

Usage: python -m scripts.bench_visualize [--rounds N] [--device cpu|cuda|cuda:1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
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
    """The median and the minimum time of a call, after one that does not count."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return f"{statistics.median(times):7.2f} ms, least {min(times):7.2f} ms"


def numpy_calls(
    frames: list[Image], fixations: Fixations, geometry: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is timed and its name: the composition of the next frame, then each panel."""
    compositor = Compositor(interframe(geometry))
    compositor.step(frames[0], fixations)

    def compose() -> float:
        frames.reverse()
        view = compositor.step(frames[0], fixations)
        return view.mask_ratio + view.update_ratio + view.psnr_db

    yield "interframe", compose
    for style in MASK_VISUALIZATIONS:
        settings = Visualization(mask_geometry=geometry, mask_visualization=style)
        yield style, partial(mask_panel, frames[0], fixations, settings)


def tensor_calls(
    frames: list[Image], fixations: Fixations, geometry: str, device: str, *, by_way: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """As ``numpy_calls``; each call ends when the device has done its work.

    Args:
        frames: Two frames.
        fixations: Their cells.
        geometry: The mask geometry.
        device: A torch device.
        by_way: Whether frames come from the host and results go there.
    """
    import torch

    from autogaze_cli.visualize.tensor import TensorCompositor
    from autogaze_cli.visualize.tensor import mask_panel as tensor_panel

    sources = [torch.from_numpy(frame) for frame in frames]
    sources = sources if by_way else [source.to(device) for source in sources]
    end = torch.cuda.synchronize if device.startswith("cuda") else lambda _device: None
    compositor = TensorCompositor(interframe(geometry))
    compositor.step(sources[0].to(device), fixations)

    def compose() -> None:
        sources.reverse()
        view = compositor.step(sources[0].to(device), fixations)
        results = view.psnr_db, view.output
        if by_way:
            [result.cpu() for result in results]
        end(device)

    def panel(settings: Visualization) -> None:
        drawn = tensor_panel(sources[0].to(device), fixations, settings)
        if by_way:
            drawn.cpu()
        end(device)

    yield "interframe", compose
    for style in MASK_VISUALIZATIONS:
        settings = Visualization(mask_geometry=geometry, mask_visualization=style)
        yield style, partial(panel, settings)


def interframe(geometry: str) -> Visualization:
    """Settings whose first frame alone is a keyframe."""
    return Visualization(
        visualization_mode="interframe", keyframe_duration=0, mask_geometry=geometry
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", help="also time torch tensors on this device")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    for name, fixations in {
        "25 cells": cells(rng, 25, 1, 1),
        "4000 tiled cells": cells(rng, 4000, -(-WIDTH // TILE), -(-HEIGHT // TILE)),
        "8910 tiled cells": cells(rng, 8910, -(-WIDTH // TILE), -(-HEIGHT // TILE)),
        "4000 free cells": free_cells(rng, 4000),
    }.items():
        for geometry in GEOMETRIES:
            ways = {"numpy": numpy_calls(frames, fixations, geometry)}
            if options.device:
                for way, by_way in (("on", False), ("by way of", True)):
                    ways[f"{way} {options.device}"] = tensor_calls(
                        frames, fixations, geometry, options.device, by_way=by_way
                    )
            for way, calls in ways.items():
                for what, call in calls:
                    times = milliseconds(call, options.rounds)
                    print(f"{name:17} {geometry:13} {what:15} {way:17} {times}")


if __name__ == "__main__":
    main()
