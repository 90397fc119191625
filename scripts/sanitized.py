"""The executions of ``sanitize.py``, in a process that runs the C code under sanitizers.

As a plugin of pytest it makes tests use the libraries in the folder ``SANITIZED``.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.model import native
from autogaze_cli.sources import cell_sums
from autogaze_cli.visualize import compiled, panels, rects
from autogaze_cli.visualize.settings import GEOMETRIES, MASK_VISUALIZATIONS, Visualization
from scripts import build_wasm
from scripts.sanitize import CLONES, OPTIONS, SANITIZERS, SETS

Random = np.random.Generator
ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e-38, -3e38, 3e38, 1e9)


class RefusedError(Exception):
    """Python refused what it was given, as it must."""


@cache
def library(name: str) -> ctypes.CDLL | None:
    """A library that was built, or None where this processor lacks its instruction set."""
    code = ctypes.CDLL(str(Path(os.environ["SANITIZED"], f"{name.replace(' ', '_')}.so")))
    return code if not name.startswith("native") or code.supported() else None


def use(cells: str = "as built", draw: str = "as built") -> None:
    """Let the package call the libraries, of these builds."""
    vars(native)["load"] = cache(lambda name: library(f"native_{name}") if name in SETS else None)
    vars(cell_sums)["library"] = lambda: library(f"cells_{cells}")
    vars(compiled)["library"] = lambda: library(f"draw_{draw}")


def pytest_configure() -> None:
    """Let the tests use the libraries."""
    use()
    build_wasm.FLAGS += [*OPTIONS, *SANITIZERS]


@contextmanager
def plain(module: Any) -> Iterator[None]:
    """Within it a module computes in numpy."""
    found = module.library
    module.library = lambda: None
    try:
        yield
    finally:
        module.library = found


def refuse(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Give a function what it must refuse."""
    try:
        function(*arguments, **options)
    except (ValueError, IndexError) as error:
        raise RefusedError from error
    raise AssertionError("it was not refused")


def pick(rng: Random, *choices: Any) -> Any:
    """One of them."""
    return choices[rng.integers(len(choices))]


def image(rng: Random, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """A picture, in one piece of memory or not."""
    size = (height + 3, width + 2, channels)
    values = rng.integers(0, 256, size, np.uint8)
    values[rng.random(size[:2]) < rng.random()] = pick(rng, 0, 255)
    cut = values[1 : height + 1, 2:]
    layout = rng.integers(4)
    if layout == 0:
        return cut
    if layout == 1:
        return np.asfortranarray(cut)
    return cut.copy()[::-1, ::-1] if layout == 2 else cut.copy()


def sums(build: str, rng: Random) -> None:
    """An execution of ``cells.c``."""
    use(cells=build)
    height, width, channels = rng.integers(0, 70, 3) // (1, 1, 14)
    grid = int(rng.integers(1, 20))
    if rng.random() < 0.02:
        height, width, grid = int(rng.integers(66_000, 130_000)), 1, int(rng.integers(2, 5))
    a, b = image(rng, height, width, channels), image(rng, height, width, channels)
    function: Any = pick(rng, cell_sums.difference_sums, cell_sums.product_sums)
    if rng.random() < 0.2:
        wrong = pick(
            rng,
            (a, np.concatenate([b, b[:1], b[:1]]) if len(b) else b[None], grid),
            (np.zeros((height, width + 1, channels), np.uint8), b, grid),
            (a, b.astype(pick(rng, np.float32, np.int8, bool)), grid),
            (a[..., :1, None], b[..., :1, None], grid),
            (a, b, pick(rng, 0, -1)),
            (np.empty((66_060, 0, 1), np.uint8), np.empty((66_060, 0, 1), np.uint8), 1),
        )
        refuse(function, *wrong)
    found = function(a, b, grid)
    with plain(cell_sums):
        wanted = function(a, b, grid)
    np.testing.assert_array_equal(found, wanted)


def rectangles(rng: Random, n: int, height: int, width: int) -> NDArray[Any]:
    """Rectangles within an image, ``[n, 4]``."""
    spans = []
    for size in (width, height):
        low = rng.integers(0, size, n)
        spans += [low, rng.integers(low + 1, size + 1)]
    return np.stack(spans, axis=1).astype(pick(rng, np.int32, np.int64))


def no_rectangle(rng: Random, height: int, width: int) -> NDArray[np.int64]:
    """One that is empty, or not within the image."""
    wrong = rectangles(rng, 1, height, width).astype(np.int64)
    column = int(rng.integers(4))
    size = (width, width, height, height)[column]
    beyond = (-1, -(2**31), -(2**63), size + 1, 2**31, 2**63 - 1)
    wrong[0, column] = pick(rng, *beyond) if rng.random() < 0.7 else wrong[0, column ^ 1]
    return wrong


def drawn_cells(rng: Random) -> None:
    """``draw_cells`` on a canvas that may be a part of one."""
    height, width, n = (int(size) for size in rng.integers(1, 80, 3))
    ground = rng.integers(0, 9, (height + 1, width + 2), np.uint32)[:height]
    canvas = pick(rng, ground[:, 1 : width + 1], ground[:, :width].copy())
    corners, colours = rectangles(rng, n, height, width), rng.integers(0, 5, n)
    borders, fills = rng.integers(0, 2**32, (2, 5), np.uint32)
    given = {"canvas": canvas, "rects": corners, "colours": colours}
    given |= {"borders": borders, "fills": fills}
    if rng.random() < 0.3:
        colours[rng.integers(n)] = pick(rng, 5, -1, 2**62) if rng.random() < 0.5 else 0
        wrong = pick(
            rng,
            {"rects": np.concatenate([corners, no_rectangle(rng, height, width)])[1:]},
            {"colours": np.append(colours[1:], pick(rng, 5, -1, 2**62, -(2**63)))},
            {"colours": colours[1:]},
            {"canvas": canvas.astype(pick(rng, np.uint8, np.uint64))},
            {"canvas": ground.view(np.uint8)[:, 3:-5].view(np.uint8)},
            {"borders": borders[1:]},
            {"fills": fills[::2]},
        )
        refuse(compiled.draw_cells, **(given | wrong))
    wanted = canvas.copy()
    rects.draw_cells(**given)
    with plain(compiled):
        rects.draw_cells(**(given | {"canvas": wanted}))
    np.testing.assert_array_equal(canvas, wanted)


def painted(rng: Random) -> None:
    """``paint``, in sizes from none on."""
    height, width = (int(size) for size in rng.integers(0, 80, 2))
    n = int(rng.integers(0, 30)) if height and width else 0
    corners = rectangles(rng, n, max(height, 1), max(width, 1))
    if rng.random() < 0.3:
        mask, wrong = np.zeros((height + 1, width + 1), bool), corners
        change = rng.integers(3)
        if change == 0:
            wrong = no_rectangle(rng, height + 1, width + 1)
        elif change == 1:
            mask = pick(rng, mask.astype(np.uint32), np.zeros((height + 2, width + 2), bool).T[1:])
        else:
            wrong = np.zeros((2, 5), np.int64)
        refuse(compiled.paint, mask, wrong)
    found = rects.paint(corners, width, height)
    with plain(compiled):
        wanted = rects.paint(corners, width, height)
    np.testing.assert_array_equal(found, wanted)


def blended(rng: Random) -> None:
    """``blend_cells``, with more pixels than one block now and then."""
    height, width = (int(size) for size in rng.integers(0, 70, 2))
    frame = image(rng, height, width, int(rng.integers(3, 5)))
    cells = rng.integers(0, 256, (height, width, 4), np.uint8)
    cells[..., 3] = 255
    cells[rng.random((height, width)) < 0.5] = 0
    alpha = float(pick(rng, rng.uniform(-0.5, 1.5), 0, 1, *ODD[1:]))
    if rng.random() < 0.3:
        wrong: Any = pick(
            rng,
            (frame[..., :2], cells, alpha),
            (frame.astype(np.float32), cells, alpha),
            (frame, np.zeros((height + 1, width, 4), np.uint8), alpha),
            (frame, cells.astype(np.uint32), alpha),
            (frame, cells, np.nan),
        )
        refuse(compiled.blend_cells, *wrong, keep_image=True)
    keep = bool(rng.integers(2))
    found = compiled.blend_cells(frame, cells, alpha, keep_image=keep)
    wanted = panels.blend_cells(frame, cells, alpha, keep_image=keep)
    np.testing.assert_array_equal(found, wanted)


def panel(rng: Random) -> None:
    """A mask panel of any fixations, some of which are none."""
    n = int(rng.integers(0, 40))
    columns: dict[str, Any] = {name: rng.uniform(-0.2, 1.2, n) for name in ("x", "y")}
    columns |= {name: rng.uniform(0, 0.3, n) for name in ("width", "height", "confidence")}
    columns["grid"] = rng.choice([0, 2, 4, 7, 14, -5, 2**31 - 1], n)
    if n and rng.random() < 0.3:
        columns[pick(rng, *list(columns)[:5])][rng.integers(n)] = pick(rng, *ODD)
    settings = Visualization(
        mask_visualization=pick(rng, *MASK_VISUALIZATIONS),
        mask_geometry=pick(rng, *GEOMETRIES),
        mask_cell_scale=float(pick(rng, rng.uniform(0, 3), 1e9, -1)),
        blend_alpha=float(rng.random()),
    )
    height, width = (int(size) for size in rng.integers(1, 90, 2))
    draw = partial(
        panels.mask_panel, image(rng, height, width, 3), Fixations.from_columns(columns), settings
    )
    try:
        found = draw()
    except (ValueError, IndexError) as error:
        if all(np.isfinite(columns[name]).all() for name in ("x", "y", "width", "height")):
            raise
        raise RefusedError from error
    with plain(compiled):
        np.testing.assert_array_equal(found, draw())


def drawn(build: str, rng: Random) -> None:
    """An execution of ``draw.c``."""
    use(draw=build)
    pick(rng, drawn_cells, painted, blended, panel)(rng)


def executions() -> dict[str, Callable[[Random], None]]:
    """Of each build that runs here an execution."""
    from scripts import sanitized_model

    found: dict[str, Callable[[Random], None]] = {}
    for name in SETS:
        if library(f"native_{name}"):
            found[f"native.c, {name}"] = partial(sanitized_model.layers, name)
    for name in CLONES:
        found[f"cells.c, {name}"] = partial(sums, name)
        found[f"draw.c, {name}"] = partial(drawn, name)
    found["browser.c"] = sanitized_model.page
    return found


def main(first: int, last: int, seconds: float) -> None:
    """Executions one after another; each is announced before it begins."""
    logging.disable()
    warnings.simplefilter("ignore")
    use()
    known = list(executions().items())
    end = time.monotonic() + seconds
    for number in range(first, last):
        if time.monotonic() > end:
            return
        name, execute = known[number % len(known)]
        print(number, name, "begun", sep="\t", flush=True)
        try:
            execute(np.random.default_rng(number))
            outcome = "equal"
        except RefusedError:
            outcome = "refused"
        except Exception:  # noqa: BLE001 - this is what is counted
            outcome = "different"
            print(traceback.format_exc(), file=sys.stderr, flush=True)
        print(number, name, outcome, sep="\t", flush=True)


if __name__ == "__main__":
    from scripts.sanitized import main as started  # one module, whoever imports it

    started(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
