"""Timing: the best of several runs, after a warm-up run that does not count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Timer:
    """Times calls.

    Attributes:
        repeats: Timed runs of each call.
        enough_s: Seconds after which a call is not repeated again.
        device: The GPU that the calls use, if any; its queue is emptied before and after each.
    """

    repeats: int
    enough_s: float
    device: torch.device | None = None

    def best(self, call: Callable[[], object]) -> float:
        """The shortest time of a call, in seconds."""
        return self.best_parts(lambda: (self.seconds(call),))[0]

    def best_parts(self, parts: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
        """The shortest of each of the times that a call measures of its own parts."""
        parts()
        found: list[tuple[float, ...]] = []
        while len(found) < self.repeats and sum(map(sum, found)) < self.enough_s:
            found.append(parts())
        return tuple(map(min, zip(*found, strict=True)))

    def seconds(self, call: Callable[[], object]) -> float:
        """The time of one call."""
        self._wait()
        start = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
