"""The frames of one video with their gaze, from a gaze source or from a saved trace."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from autogaze_cli.errors import ConfigError, FormatError, InputError
from autogaze_cli.inference import header_of
from autogaze_cli.jobs.pipeline import ahead
from autogaze_cli.jobs.timing import Timing
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame, VideoInfo
from autogaze_cli.media.videos import open_video, probe
from autogaze_cli.sources.cells import CellSource
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader
from autogaze_cli.trace.header import expect

OnFrame = Callable[[float, int | None, str | None], None]
"""Progress callback: frames done, total frames if known, and a line about the frame.

Called after each frame, and without a line while a clip is gazed at. May be called from another
thread, but never from two at once.
"""

_RATIO = re.compile(r"\d{1,400}(\.\d{1,400}|/0*[1-9]\d{,399})?", re.ASCII)
"""What ``Fraction`` reads without an error, and soon."""

_PLAIN = Sampling()
_READING = ("stream", "tone_map", "allow_truncated")
"""Settings of ``Sampling`` that a trace records only where they are not at their defaults."""

QUEUE_SIZE = 3
"""Maximum number of frames between two stages; a clip for a model that takes clips."""

_QUEUE_BYTES = 512 << 20
"""Above which a clip of frames is not queued beside the one that the model has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video, the frames to read, and the source of their gaze; see ``open_job``.

    Attributes:
        video: The file, or an image pattern.
        info: The video's metadata.
        sampling: The frames to read; fewer than ``sampling.frames`` are an error.
        gaze: A source, or a saved trace of the same frames.
        name: The video's name in outputs and messages.
        notes: What was assumed or corrected; complete when all frames have been read.
        timing: Where the time of each frame is noted, if it is.
    """

    video: Path
    info: VideoInfo
    sampling: Sampling
    gaze: GazeSource | Trace
    name: str
    notes: list[str] = field(default_factory=list)
    timing: Timing | None = None

    @property
    def total(self) -> int | None:
        """The number of frames to expect, if known."""
        if isinstance(self.gaze, Trace):
            return len(self.gaze)
        return frame_count(self.sampling, self.info)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, in pixels."""
        return self.sampling.size(self.info.width, self.info.height)

    @property
    def fps(self) -> Fraction:
        """Frames per second of drawn files; 25 if the video does not state a rate."""
        if isinstance(self.gaze, Trace):
            return self.gaze.header.fps
        return self.sampling.fps or self.info.fps or Fraction(25)

    @property
    def remarks(self) -> dict[str, Any]:
        """Document entries about how the video was read; empty if there is nothing to say."""
        remarks = {"notes": list(self.notes), "missing_bytes": self.info.missing_bytes}
        return {name: value for name, value in remarks.items() if value}

    @property
    def queue_size(self) -> int:
        """Maximum number of frames queued before or after the gaze source: one clip, if it fits."""
        if not isinstance(self.gaze, GazeSource) or self.gaze.mask_source != "autogaze":
            return QUEUE_SIZE
        settings = self.gaze.settings
        width, height = self.size
        fit = _QUEUE_BYTES // (3 * width * height)
        return max(QUEUE_SIZE, 0 if settings.horizon_frames else min(settings.clip_len, fit))


def open_job(
    video: Path,
    gaze: GazeSource | Trace,
    sampling: Sampling | None = None,
    *,
    name: str | None = None,
    info: VideoInfo | None = None,
) -> Job:
    """Open a job on a video.

    Args:
        video: The file, or an image pattern.
        gaze: A source, or a saved trace of the same frames.
        sampling: The frames to read; None = all, or those of the trace.
        name: The video's name in outputs and messages; None = its path.
        info: The result of ``probe`` for the video, if already known.

    Raises:
        InputError: The video does not exist, or the trace has no frames.
        FormatError: The settings of the trace are not what a video can be sampled by.
    """
    name = name or str(video)
    if sampling is None:
        sampling = sampling_of(gaze.header, name) if isinstance(gaze, Trace) else Sampling()
    if isinstance(gaze, Trace) and len(gaze) == 0:
        raise InputError(f"{name}: its trace has no frames", hint="trace the video again")
    return Job(
        video=video, info=info or probe(video, sampling), sampling=sampling, gaze=gaze, name=name
    )


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent waiting for the items of an iterator."""

    seconds: float = 0.0

    def waits(self, items: Iterator[Frame]) -> Iterator[Frame]:
        """The items, the time that each takes to come being counted."""
        while True:
            start = time.perf_counter()
            item = next(items, None)
            self.seconds += time.perf_counter() - start
            if item is None:
                return
            yield item


def gazed_frames(
    job: Job, on_frame: OnFrame | None = None, decoding: Stopwatch | None = None
) -> Iterator[tuple[Frame, FrameTrace]]:
    """The frames of a job with their gaze, one at a time; decoding runs ahead.

    Args:
        job: The video and its gaze.
        on_frame: Progress callback.
        decoding: Counts the time that the gaze source waits for frames.

    Raises:
        InputError: The video cannot be read, has too few frames, does not match the trace, or was
            changed while it was read.
    """
    total = job.total
    decoding = decoding or Stopwatch()
    frames = decoding.waits(ahead(_frames(job), job.queue_size))
    if on_frame:
        on_frame(0, total, None)
    if isinstance(job.gaze, GazeSource):
        on_gazed = (lambda done: on_frame(done, total, None)) if on_frame else None
        if isinstance(job.gaze, CellSource) and job.gaze.whole_clip:
            gazed = _read_twice(job, job.gaze, frames, decoding, on_gazed)
        else:
            gazed = job.gaze.trace(frames, on_gazed)
        if job.timing is not None:
            gazed = job.timing.waits("gaze", gazed, less=lambda: decoding.seconds)
        yield from gazed
        return
    trace, done = job.gaze, 0
    for frame in frames:
        if done == len(trace) or trace.index[done] != frame.index:
            raise _not_the_trace(job, f"frame {frame.index} is not in the trace")
        yield frame, trace.frame(done)
        done += 1
    if done < len(trace):
        raise _not_the_trace(job, f"it has {done} frames, the trace {len(trace)}")


def _read_twice(
    job: Job,
    source: CellSource,
    frames: Iterator[Frame],
    decoding: Stopwatch,
    on_gazed: OnGazed | None,
) -> Iterator[tuple[Frame, FrameTrace]]:
    """The gaze of a source that sees all frames first: their scores are kept, they are not."""

    def first_reading() -> Iterator[Frame]:
        for n, frame in enumerate(decoding.waits(_frames(job)), 1):
            if on_gazed:
                on_gazed(n / 2)
            yield frame

    scores = source.clip_scores(first_reading())
    yield from source.gaze_again(frames, scores)


def _frames(job: Job) -> Iterator[Frame]:
    motion = isinstance(job.gaze, GazeSource) and job.gaze.reads_motion
    with open_video(job.video, job.sampling, motion=motion) as video:
        frames = video.frames(require=True)
        yield from frames if job.timing is None else job.timing.waits("decode", frames)
        job.notes[:] = video.info.notes


def sampling_of(header: TraceHeader, name: str) -> Sampling:
    """The sampling that a trace was made with.

    Args:
        header: The trace's header, whose settings may be anything that JSON holds.
        name: How messages name it.

    Raises:
        FormatError: They are not what a video can be sampled by.
    """
    settings = header.settings
    kinds: dict[str, type] = {"frames": int, "stream": int, "allow_truncated": bool}
    given = {n: settings[n] for n in ("tone_map", *kinds) if settings.get(n) is not None}
    try:
        for n, value in given.items():
            expect(type(value) is kinds.get(n, str), n, value, "what a video is read by")
        return Sampling(
            start=_ratio(settings, "start") or Fraction(0),
            fps=_ratio(settings, "fps"),
            width=header.width or None,
            height=header.height or None,
            **given,
        )
    except (FormatError, ConfigError) as error:
        raise FormatError(f"{name}: in its settings, {error}") from error


def _ratio(settings: Mapping[str, object], name: str) -> Fraction | None:
    """A number of a trace's settings, such as ``"1/8"`` or 0.5, or None."""
    value = settings.get(name)
    if value is None:
        return None
    fits = _RATIO.fullmatch(str(value)) is not None
    expect(fits, name, value, "a number of at least 0, such as '1/8'")
    return Fraction(str(value))


def trace_header(job: Job) -> TraceHeader:
    """The header of the job's trace; for a saved trace, that trace's header.

    Raises:
        InputError: The job's trace has frames of another size.
    """
    width, height = job.size
    if isinstance(job.gaze, Trace):
        header = job.gaze.header
        if (header.width or width, header.height or height) != (width, height):
            sizes = f"frames are {width}x{height}, in the trace {header.width}x{header.height}"
            raise _not_the_trace(job, sizes)
        return replace(header, source=job.name)
    sampling = job.sampling
    settings: dict[str, Any] = {
        "start": str(sampling.start),
        "frames": sampling.frames,
        "fps": None if sampling.fps is None else str(sampling.fps),
    }
    settings |= {
        n: getattr(sampling, n) for n in _READING if getattr(sampling, n) != getattr(_PLAIN, n)
    }
    if job.info.notes:
        settings["notes"] = list(job.info.notes)
    if job.info.missing_bytes:
        settings["missing_bytes"] = job.info.missing_bytes
    return header_of(
        job.gaze,
        name=job.name,
        size=(width, height),
        source_size=(job.info.width, job.info.height),
        fps=job.fps,
        settings=settings,
    )


def frame_count(sampling: Sampling, info: VideoInfo) -> int | None:
    """The number of frames to expect, if the container tells."""
    if sampling.frames is not None:
        return sampling.frames
    if sampling.fps is not None and info.duration is not None:
        return max(1, round((info.duration - sampling.start) * sampling.fps))
    if info.frames is None or info.fps is None:
        return info.frames
    return max(1, info.frames - round(sampling.start * info.fps))


def _not_the_trace(job: Job, what: str) -> InputError:
    return InputError(
        f"{job.name}: does not match the trace: {what}",
        hint="give the trace's own video, without other sampling options",
    )
