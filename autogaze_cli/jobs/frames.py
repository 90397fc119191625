"""The frames of one video with their gaze, from a gaze source or from a saved trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from autogaze_cli.batch.inputs import file_state
from autogaze_cli.errors import InputError
from autogaze_cli.jobs.pipeline import ahead
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame, VideoInfo, probe, read_frames
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader
from autogaze_cli.version import __version__

OnFrame = Callable[[float, int | None, str | None], None]
"""Called after each frame: frames done, frames in all if known, a line about the frame.

Also called while a clip is gazed at, before any of its frames is done, without a line. Not always
from the caller's thread, but never from two at a time.
"""

WAITING = 3
"""Frames between two stages at most, except that those of a model's clip come all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video, which of its frames, and where their gaze comes from; see ``open_job``.

    Attributes:
        video: The file, or an image pattern.
        info: What the video says of itself.
        sampling: Its frames. Fewer than ``sampling.frames`` are an error.
        gaze: A source, or a trace made earlier of the same frames.
        name: How outputs and messages name the video.
    """

    video: Path
    info: VideoInfo
    sampling: Sampling
    gaze: GazeSource | Trace
    name: str

    @property
    def total(self) -> int | None:
        """How many frames will come, if known."""
        if isinstance(self.gaze, Trace):
            return len(self.gaze)
        return frame_count(self.sampling, self.info)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, in pixels."""
        return self.sampling.size(self.info.width, self.info.height)

    @property
    def fps(self) -> Fraction:
        """Frames per second of what is drawn; a video that does not tell counts as 25."""
        if isinstance(self.gaze, Trace):
            return self.gaze.header.fps
        return self.sampling.fps or self.info.fps or Fraction(25)

    @property
    def waiting(self) -> int:
        """How many frames may wait for or after the gaze source: all that it looks at together."""
        if not isinstance(self.gaze, GazeSource) or self.gaze.mask_source == "patch-diff":
            return WAITING
        settings = self.gaze.settings
        return max(WAITING, 0 if settings.horizon_frames else settings.clip_len)


def open_job(
    video: Path,
    gaze: GazeSource | Trace,
    sampling: Sampling | None = None,
    *,
    name: str | None = None,
    info: VideoInfo | None = None,
) -> Job:
    """A job on a video.

    Args:
        video: The file, or an image pattern.
        gaze: A source, or a trace made earlier of the same frames.
        sampling: Which frames; None = all, or those of the trace.
        name: How outputs and messages name the video; None = its path.
        info: What ``probe`` says of the video, if that is known already.

    Raises:
        InputError: There is no video, or the trace has no frames.
    """
    if sampling is None:
        sampling = sampling_of(gaze.header) if isinstance(gaze, Trace) else Sampling()
    name = name or str(video)
    if isinstance(gaze, Trace) and len(gaze) == 0:
        raise InputError(f"{name}: its trace has no frames", hint="trace the video again")
    return Job(video=video, info=info or probe(video), sampling=sampling, gaze=gaze, name=name)


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
    """The frames of a job with their gaze, one at a time; they are decoded ahead.

    Args:
        job: The video and its gaze.
        on_frame: Progress callback.
        decoding: Counts the time that the gaze source waits for frames.

    Raises:
        InputError: The video cannot be read, has too few frames, is not the trace's, or was
            changed while it was read.
    """
    state = file_state(str(job.video))
    yield from _gazed_frames(job, on_frame, decoding)
    if file_state(str(job.video)) != state:
        raise InputError(
            f"{job.name}: was changed or moved while it was read", hint="run again when it is whole"
        )


def _gazed_frames(
    job: Job, on_frame: OnFrame | None, decoding: Stopwatch | None
) -> Iterator[tuple[Frame, FrameTrace]]:
    total = job.total
    frames = ahead(read_frames(job.video, job.sampling, require=True), job.waiting)
    if decoding is not None:
        frames = decoding.waits(frames)
    if on_frame:
        on_frame(0, total, None)
    if isinstance(job.gaze, GazeSource):
        on_gazed = (lambda done: on_frame(done, total, None)) if on_frame else None
        yield from job.gaze.trace(frames, on_gazed)
        return
    trace, done = job.gaze, 0
    for frame in frames:
        if done == len(trace) or trace.index[done] != frame.index:
            raise _not_the_trace(job, f"frame {frame.index} is not in the trace")
        yield frame, trace.frame(done)
        done += 1
    if done < len(trace):
        raise _not_the_trace(job, f"it has {done} frames, the trace {len(trace)}")


def sampling_of(header: TraceHeader) -> Sampling:
    """The frames that a trace was made of."""
    settings = header.settings
    fps = settings.get("fps")
    return Sampling(
        start=Fraction(settings.get("start", 0)),
        frames=settings.get("frames"),
        fps=None if fps is None else Fraction(fps),
        width=header.width or None,
        height=header.height or None,
    )


def trace_header(job: Job) -> TraceHeader:
    """The header of the job's trace; with a trace made earlier, that trace's header.

    Raises:
        InputError: The job's trace is of frames of another size.
    """
    width, height = job.size
    if isinstance(job.gaze, Trace):
        header = job.gaze.header
        if (header.width or width, header.height or height) != (width, height):
            sizes = f"frames of {width}x{height}, the trace is of {header.width}x{header.height}"
            raise _not_the_trace(job, sizes)
        return replace(header, source=job.name)
    source, sampling = job.gaze, job.sampling
    settings = asdict(source.settings) | {
        "max_gaze_tokens_each_frame": source.max_gaze_tokens_each_frame,
        "task_loss_requirement": source.task_loss_requirement,
        "device": source.device.partition(":")[0],  # which of several GPUs says nothing
        "start": str(sampling.start),
        "frames": sampling.frames,
        "fps": None if sampling.fps is None else str(sampling.fps),
    }
    del settings["threads"]  # results do not depend on them
    return TraceHeader(
        source=job.name,
        source_width=job.info.width,
        source_height=job.info.height,
        width=width,
        height=height,
        fps=job.fps,
        mask_source=source.mask_source,
        model=source.model,
        model_sha256=source.model_sha256,
        scales=source.scales,
        num_vision_tokens_each_frame=source.num_vision_tokens_each_frame,
        mode=source.settings.mode,
        tile_size=source.settings.tile_size,
        stride=source.settings.stride or source.settings.tile_size,
        tile_count=source.tile_count(width, height),
        settings=settings,
        tool_version=__version__,
    )


def frame_count(sampling: Sampling, info: VideoInfo) -> int | None:
    """How many frames will come, as far as the container tells."""
    if sampling.frames is not None:
        return sampling.frames
    if sampling.fps is not None and info.duration is not None:
        return max(1, round((info.duration - sampling.start) * sampling.fps))
    if info.frames is None or info.fps is None:
        return info.frames
    return max(1, info.frames - round(sampling.start * info.fps))


def _not_the_trace(job: Job, what: str) -> InputError:
    return InputError(
        f"{job.name}: not the video of the trace: {what}",
        hint="give the trace's own video, without other sampling options",
    )
