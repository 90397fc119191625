"""How long each frame took in each stage of a command: ``--timing``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar, get_args

from autogaze_cli.version import __version__

Stage = Literal["decode", "gaze", "draw", "write"]

FORMAT = "autogaze-timing"
VERSION = 1

T = TypeVar("T")


class Timing:
    """The seconds that each frame of a video took in each stage; stages run side by side."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: dict[Stage, list[float]] = {stage: [] for stage in get_args(Stage)}

    def add(self, stage: Stage, n: int, seconds: float) -> None:
        """Add to what frame ``n`` took in a stage, from any thread."""
        with self._lock:
            spent = self._seconds[stage]
            spent.extend([0.0] * (n + 1 - len(spent)))
            spent[n] += seconds

    def waits(
        self, stage: Stage, items: Iterator[T], less: Callable[[], float] = lambda: 0.0
    ) -> Iterator[T]:
        """The items, with the time that each takes to come.

        Args:
            stage: The stage that makes them.
            items: One for each frame.
            less: Seconds so far that were spent elsewhere meanwhile.
        """
        n = 0
        while True:
            start, elsewhere = time.perf_counter(), less()
            try:
                item = next(items)
            except StopIteration:
                return
            self.add(stage, n, time.perf_counter() - start - (less() - elsewhere))
            yield item
            n += 1

    def document(self) -> list[dict[str, Any]]:
        """An object for each frame; null is a stage that the command does not have."""
        frames = max(map(len, self._seconds.values()))
        columns = {
            f"{stage}_ms": [round(s * 1000, 3) for s in spent] if spent else [None] * frames
            for stage, spent in self._seconds.items()
        }
        rows = zip(*columns.values(), strict=False)  # a stage may be a frame ahead at the end
        return [{"frame": n, **dict(zip(columns, row, strict=True))} for n, row in enumerate(rows)]


@contextmanager
def timed(timing: Timing | None, stage: Stage, n: int) -> Iterator[None]:
    """Add the time that the block takes to what frame ``n`` took in a stage."""
    if timing is None:
        yield
        return
    start = time.perf_counter()
    yield
    timing.add(stage, n, time.perf_counter() - start)


def is_timing(path: Path) -> bool:
    """Whether a file is a timing, by how it begins."""
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(64)


def timing_document(command: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The document of a run.

    Args:
        command: The command.
        inputs: ``input`` and ``frames`` of each input that was processed.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "command": command,
        "tool_version": __version__,
        "inputs": inputs,
    }
