"""A stream that is gazed at as it comes, for as long as it comes, and how long each frame takes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.errors import InputError
from autogaze_cli.jobs.frames import open_job, trace_header
from autogaze_cli.jobs.pipeline import Behind, Feed, ahead
from autogaze_cli.media.live import STDIN, read_live
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame, VideoInfo
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, TraceWriter, open_trace_writer

OnGaze = Callable[[FrameTrace, float], None]
"""Called with each frame's gaze and its latency in seconds, from a thread of its own."""

_WAITING = 2
"""Frames between decoder, gaze and file: few, for what waits is late."""

_PATIENCE_S = 1.0

_STEP, _SHORTEST_S = 1.01, 1e-6


@dataclass(slots=True)
class Latencies:
    """Times of any number of frames in constant memory; quantiles are good to 1 %.

    Attributes:
        count: How many there were.
    """

    count: int = 0
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2500, np.int64))

    def add(self, seconds: float) -> None:
        """Take in one time."""
        place = math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / math.log(_STEP)
        self._counts[min(round(place), len(self._counts) - 1)] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """The time in seconds that this share of all is at most; NaN when there is none.

        >>> times = Latencies()
        >>> for ms in range(1, 101):
        ...     times.add(ms / 1000)
        >>> round(times.quantile(0.5), 3), round(times.quantile(0.95), 3)
        (0.05, 0.095)
        """
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(share * self.count))
        return _SHORTEST_S * float(_STEP ** np.searchsorted(np.cumsum(self._counts), rank))


@dataclass(slots=True)
class _Run:
    """What is counted while a stream lasts."""

    frames: int = 0
    fixations: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    begin: float = 0.0
    end: float = 0.0
    interrupt: BaseException | None = None

    def summary(self) -> dict[str, Any]:
        """Frames, rate and latency, as a document has them."""
        rate = self.frames / (self.end - self.begin) if self.frames else 0.0
        quantiles = {f"p{q}": self.latencies.quantile(q / 100) * 1000 for q in (50, 95)}
        return {
            "frames": self.frames,
            "positive_fixations": self.fixations,
            "frames_per_second": round(rate, 3),
            "latency_ms": {
                name: round(ms, 3) if self.frames else None for name, ms in quantiles.items()
            },
        }


def live_stem(name: str) -> str:
    """What the trace of a stream is called: ``clip`` for ``clip.mp4``, ``stdin`` for ``-``.

    >>> live_stem("rtsp://camera.example/door/main?profile=2")
    'main'
    """
    if name == STDIN:
        return "stdin"
    try:
        return Path(urlsplit(name).path if "://" in name else name).stem or "live"
    except ValueError:  # no address: whoever opens it will say so
        return "live"


def trace_live(
    name: str,
    source: GazeSource,
    base: Path,
    *,
    sampling: Sampling | None = None,
    format: str = "json",
    overwrite: bool = False,
    on_gaze: OnGaze | None = None,
) -> tuple[Result, BaseException | None]:
    """Save where the gaze goes in a stream, ``<base>.trace.<format>``, until it ends.

    Memory does not grow with the stream. With a model give a source with ``horizon_frames``, or
    frames wait for the clip to be full. The latency of a frame is the time from its pixels to its
    gaze. Ctrl-C ends the stream and not the work: what was gazed at is saved.

    Args:
        name: As ``media.live.read_live`` takes it.
        source: Where the gaze comes from.
        base: Folder and stem of the trace.
        sampling: Which frames.
        format: ``json``, ``npz``, ``safetensors`` or ``csv``.
        overwrite: Whether a file that exists is replaced.
        on_gaze: Called after each frame.

    Returns:
        The result, and the interrupt that ended the stream, if one did.

    Raises:
        AutogazeError: The stream cannot be read or the file not written.
    """
    sampling = sampling or Sampling()
    files = output_files("trace", base, format)
    run = _Run()
    arrived: deque[float] = deque()
    # Its thread may wait for a frame that never comes, and must not be waited for then.
    stream = ahead(read_live(name, sampling), _WAITING, patience_s=_PATIENCE_S)
    info, first = _begun(stream, name, sampling)

    def frames() -> Iterator[Frame]:
        for frame in chain([first], (frame for _, frame in stream)):
            arrived.append(time.perf_counter())
            yield frame

    with Outputs(overwrite=overwrite) as outputs:
        header = trace_header(open_job(Path(name), source, sampling, name=name, info=info))
        writer = open_trace_writer(outputs.add(files["trace"]), header, format)
        run.begin = run.end = time.perf_counter()
        # The file has a thread of its own, where no interrupt can break a frame in two.
        with Behind(partial(_write, writer, run, on_gaze), _WAITING) as behind:
            try:
                for _, gaze in source.trace(frames()):
                    behind.put((gaze, time.perf_counter() - arrived.popleft()))
            except KeyboardInterrupt as interrupt:
                run.interrupt = interrupt
    document = header.to_mapping() | run.summary()
    document["output_files"] = {role: str(path) for role, path in files.items()}
    return Result(files=files, document=document), run.interrupt


def _begun(
    stream: Iterator[tuple[VideoInfo, Frame]], name: str, sampling: Sampling
) -> tuple[VideoInfo, Frame]:
    """The first frame of a stream, and what the stream says of itself."""
    begun = next(stream, None)
    if begun is None:
        raise InputError(
            f"{name}: no frame at or after {float(sampling.start):g} s", hint="start earlier"
        )
    return begun


def _write(
    writer: TraceWriter, run: _Run, on_gaze: OnGaze | None, gazed: Feed[tuple[FrameTrace, float]]
) -> None:
    """Write the trace and keep count."""
    with writer:
        for gaze, latency_s in gazed:
            writer.write(gaze)
            run.frames += 1
            run.fixations += len(gaze.fixations.active())
            run.latencies.add(latency_s)
            run.end = time.perf_counter()
            if on_gaze:
                on_gaze(gaze, latency_s)
