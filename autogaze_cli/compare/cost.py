"""What choosing costs: milliseconds per frame, and memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autogaze_cli.media.video import Frame
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace

ENOUGH_S = 2.0
"""Seconds after which a run is not timed again."""

_PROCESS = Path("/proc/self")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The gaze of a source at a clip, and what it cost.

    Attributes:
        gaze: At each frame.
        ms: Milliseconds per frame of the fastest run, frames being decoded already.
        cpu_ms: CPU time of all threads, in the run that took least of it; other programs disturb it
            less.
        memory_mb: How far the process's memory rose above what it held before, at most, in the
            first run; None where the system does not tell.
    """

    gaze: list[FrameTrace]
    ms: float
    cpu_ms: float
    memory_mb: float | None


def choose(source: GazeSource, frames: Sequence[Frame], repeats: int) -> Chosen:
    """Gaze at a clip: once for the gaze and its memory, then ``repeats`` times for the time."""
    gc.collect()
    before = _forget_peak()
    gaze = _gaze(source, frames)
    peak = _kilobytes("VmHWM")
    memory = None if before is None or peak is None else max(0, peak - before) / 1024
    times: list[float] = []
    cpu_times: list[float] = []
    while len(times) < repeats and sum(times) < ENOUGH_S:
        start, cpu_start = time.perf_counter(), time.process_time()
        _gaze(source, frames)
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu_start)
    ms, cpu_ms = (1000 * min(each) / len(frames) for each in (times, cpu_times))
    return Chosen(gaze, ms, cpu_ms, memory)


def _gaze(source: GazeSource, frames: Sequence[Frame]) -> list[FrameTrace]:
    gaze = [found for _, found in source.trace(iter(frames))]
    if source.device.startswith("cuda"):
        torch.cuda.synchronize(source.device)
    return gaze


def _forget_peak() -> int | None:
    """Let the peak of the process's memory begin at what it holds now, in kilobytes."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return None
    return _kilobytes("VmRSS")


def _kilobytes(name: str) -> int | None:
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) if found else None
