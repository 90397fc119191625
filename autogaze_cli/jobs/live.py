"""Gazes at a live stream frame by frame until it ends, and measures the latency of each frame."""

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
from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.jobs.frames import open_job, trace_header
from autogaze_cli.jobs.pipeline import Behind, Feed, ahead
from autogaze_cli.media.live import STDIN, read_live
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.synthetic import is_synthetic, synthetic_stem
from autogaze_cli.media.video import Frame, VideoInfo
from autogaze_cli.sources.cells import CellSource
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, TraceWriter, open_trace_writer

OnGaze = Callable[[FrameTrace, float], None]
"""Called with each frame's gaze and latency in seconds, from a separate thread."""

WAITING = 2
"""Frames queued between decoder, gaze and file: few, because queueing adds latency."""

_PATIENCE_S = 1.0

_STEP, _SHORTEST_S = 1.01, 1e-6


@dataclass(slots=True)
class Latencies:
    """Latencies of any number of frames in constant memory; quantiles are accurate to 1 %.

    Attributes:
        count: Number of latencies added.
    """

    count: int = 0
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2500, np.int64))

    def add(self, seconds: float) -> None:
        """Add one latency."""
        index = math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / math.log(_STEP)
        self._counts[min(round(index), len(self._counts) - 1)] += 1
        self.count += 1

    def quantile(self, fraction: float) -> float:
        """The quantile in seconds at a fraction from 0 to 1; NaN if there are no latencies.

        >>> times = Latencies()
        >>> for ms in range(1, 101):
        ...     times.add(ms / 1000)
        >>> round(times.quantile(0.5), 3), round(times.quantile(0.95), 3)
        (0.05, 0.095)
        """
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(fraction * self.count))
        return _SHORTEST_S * float(_STEP ** np.searchsorted(np.cumsum(self._counts), rank))


@dataclass(slots=True)
class Run:
    """The counts of a running stream."""

    frames: int = 0
    fixations: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    start: float = 0.0
    end: float = 0.0
    interrupt: BaseException | None = None

    def add(self, gaze: FrameTrace, latency_s: float) -> None:
        """Count a frame that is done."""
        self.frames += 1
        self.fixations += len(gaze.fixations.active())
        self.latencies.add(latency_s)
        self.end = time.perf_counter()

    def summary(self) -> dict[str, Any]:
        """Frames, rate and latency as entries of a JSON document."""
        rate = self.frames / (self.end - self.start) if self.frames else 0.0
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
    """The stem of a stream's trace: ``clip`` for ``clip.mp4``, ``stdin`` for ``-``.

    >>> live_stem("rtsp://camera.example/door/main?profile=2")
    'main'
    """
    if name == STDIN:
        return "stdin"
    if is_synthetic(name):
        return synthetic_stem(name)
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
    """Save the gaze of a stream as ``<base>.trace.<format>``, until the stream ends.

    Memory does not grow with the stream. A model source should have ``horizon_frames``; otherwise
    frames wait until their clip is complete. The latency of a frame is the time from its pixels to
    its gaze. Ctrl-C ends the stream; the frames gazed at so far are saved.

    Args:
        name: The stream, as for ``media.live.read_live``.
        source: The gaze source.
        base: Folder and stem of the trace.
        sampling: The frames to read.
        format: ``json``, ``npz``, ``safetensors`` or ``csv``.
        overwrite: Whether an existing file is replaced.
        on_gaze: Called after each frame.

    Returns:
        The result, and the interrupt that ended the stream, if any.

    Raises:
        AutogazeError: The stream or the file fails, or the source needs all frames to choose.
    """
    sampling = sampling or Sampling()
    files = output_files("trace", base, format)
    run = Run()
    info, gazed = gaze_live(name, source, sampling)
    with Outputs(overwrite=overwrite) as outputs:
        header = trace_header(open_job(Path(name), source, sampling, name=name, info=info))
        writer = open_trace_writer(outputs.add(files["trace"]), header, format)
        run.start = run.end = time.perf_counter()
        # The file is written in a separate thread, where no interrupt can split a frame.
        with Behind(partial(_write, writer, run, on_gaze), WAITING) as behind:
            try:
                for _, gaze, latency_s in gazed:
                    behind.put((gaze, latency_s))
            except KeyboardInterrupt as interrupt:
                run.interrupt = interrupt
    document = header.to_mapping() | run.summary()
    document["output_files"] = {role: str(path) for role, path in files.items()}
    return Result(files=files, document=document), run.interrupt


def gaze_live(
    name: str, source: GazeSource, sampling: Sampling
) -> tuple[VideoInfo, Iterator[tuple[Frame, FrameTrace, float]]]:
    """A stream's metadata, and its frames with their gaze and its latency in seconds.

    Raises:
        ConfigError: The source needs all frames to choose.
        InputError: The stream cannot be read.
    """
    _check_streams(source)
    arrived: deque[float] = deque()
    # Its thread may block on a frame that never arrives, and must not be joined then.
    live = read_live(name, sampling, motion=source.reads_motion)
    stream = ahead(live, WAITING, patience_s=_PATIENCE_S)
    info, first = _first(stream, name, sampling)

    def frames() -> Iterator[Frame]:
        for frame in chain([first], (frame for _, frame in stream)):
            arrived.append(time.perf_counter())
            yield frame

    return info, (
        (frame, gaze, time.perf_counter() - arrived.popleft())
        for frame, gaze in source.trace(frames())
    )


def _check_streams(source: GazeSource) -> None:
    """Refuse a source that has to see all frames before it chooses."""
    if isinstance(source, CellSource) and source.whole_clip:
        raise ConfigError(
            f"{source.mask_source} chooses among all frames by pruning_rate, and a live stream "
            "has no last frame",
            hint="give --exact and --max-gaze-tokens-each-frame instead",
        )


def _first(
    stream: Iterator[tuple[VideoInfo, Frame]], name: str, sampling: Sampling
) -> tuple[VideoInfo, Frame]:
    """The metadata and the first frame of a stream."""
    first = next(stream, None)
    if first is None:
        raise InputError(
            f"{name}: no frame at or after {float(sampling.start):g} s", hint="start earlier"
        )
    return first


def _write(
    writer: TraceWriter, run: Run, on_gaze: OnGaze | None, gazed: Feed[tuple[FrameTrace, float]]
) -> None:
    """Write the trace and update the counts."""
    with writer:
        for gaze, latency_s in gazed:
            writer.write(gaze)
            run.add(gaze, latency_s)
            if on_gaze:
                on_gaze(gaze, latency_s)
