"""The drawing vectors of the specification beside this file, and how they write fixations.

``visualize_*`` hold visualization spec 8.1 to 8.7 and 8.9, as they stand there.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from autogaze_cli.gaze.fixations import Fixations

HERE = Path(__file__).parent


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def document(name: str) -> Any:
    return json.loads((HERE / name).read_text())


def panels() -> list[tuple[dict[str, Any], list[str]]]:
    """Pairs of a panel's settings and its rows of characters."""
    blocks = (HERE / "visualize_panels.txt").read_text().strip().split("\n\n")
    return [(json.loads(block.split("\n")[0]), block.split("\n")[1:]) for block in blocks]


def fixations(points: list[dict[str, Any]]) -> Fixations:
    """Fixations of points as the vectors write them, clamped as visualization spec 0.3 has it."""
    one, half = np.float32(1), np.float32(0.5)
    rows: list[tuple[Any, ...]] = []
    for point in points:
        if "cell" in point:
            column, row, columns, n_rows = map(np.float32, point["cell"])
            place: tuple[Any, ...] = (
                (column + half) / columns,
                (row + half) / n_rows,
                one / columns,
                one / n_rows,
            )
        else:
            place = tuple(map(np.float32, point["xywh"]))
        rows.append((*place, point.get("conf", 1), point.get("grid", 0)))
    table = np.array(rows, np.float64).reshape(-1, 6)
    x, y, width, height, confidence, grid = table.T
    return Fixations.from_columns(
        {
            "x": np.clip(x, 0, 1),
            "y": np.clip(y, 0, 1),
            "width": np.clip(width, 1e-6, 1),
            "height": np.clip(height, 1e-6, 1),
            "confidence": confidence,
            "grid": grid,
        }
    )


def full_size() -> Fixations:
    """The 22 cells of visualization spec 8.9."""
    return fixations(
        [
            {"cell": [column, row, grid, grid], "grid": grid}
            for grid, column, row in document("visualize_full_size.json")["cells"]
        ]
    )
