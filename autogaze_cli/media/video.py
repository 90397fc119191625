"""Videos as streams of RGB frames, sampled by time and scaled by FFmpeg's own filters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.errors import InputError
from autogaze_cli.media.colour import Tags
from autogaze_cli.media.filters import NO_THREADS
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.motion import Motion, MotionLog
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.opening import open_source
from autogaze_cli.media.orientation import orientation
from autogaze_cli.media.picture import Painter, displayed_size, note_colours
from autogaze_cli.media.sampling import Sampling, paced
from autogaze_cli.media.source import Source, no_threads

_MAX_FPS = Fraction(10**6)
"""The most frames per second that are believed, and by its reciprocal the fewest."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One sampled frame.

    Attributes:
        index: Number in the sampled sequence, from 0.
        time: Seconds since the first frame of the video.
        rgb: uint8 ``[h, w, 3]``, RGB, C order.
        duration: Seconds that it is shown for, by itself: the next frame may come earlier or
            later. None = unknown.
        motion: The motion vectors of each decoded frame since the sampled frame before (at most
            the last 64), this one's last; none if it repeats that frame. None = the video gives
            out none, or they were not asked for.
    """

    index: int
    time: Fraction
    rgb: NDArray[np.uint8]
    duration: Fraction | None = None
    motion: tuple[Motion, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a video says of itself.

    Attributes:
        path: The file or image pattern.
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec.
        width: Pixels, as displayed: square, after rotation.
        height: Pixels, as displayed.
        fps: Average frames per second, or None.
        frames: Best estimate of the number of frames, or None.
        duration: Seconds, or None.
        rotation: Degrees clockwise that frames are turned for display: 0, 90, 180 or 270.
        stream: Index of the stream in the file.
        aspect: Width of a stored pixel by its height.
        colours: The colour tags by which it is read.
        missing_bytes: How much at least is missing at the end of a truncated file; 1 where only
            that is known.
        notes: What was assumed or corrected, a sentence each.
    """

    path: Path
    container: str
    codec: str
    width: int
    height: int
    fps: Fraction | None
    frames: int | None
    duration: Fraction | None
    rotation: int
    stream: int = 0
    aspect: Fraction = Fraction(1)
    colours: Tags | None = None
    missing_bytes: int = 0
    notes: tuple[str, ...] = ()


class Video(AbstractContextManager["Video"]):
    """An opened video: what it says of itself, and its frames, once.

    Use it as a context manager, or close it.

    Args:
        path: A video, an image, an image pattern such as ``frame_%04d.png`` (at 25 fps), or a
            synthetic clip such as ``synthetic:pan``.
        sampling: Which frames; None = all of them as they are.
        threads: Decoder and filter threads; None = FFmpeg's own choice. Never changes a result.
        quiet: Log no warnings; they are still among the notes.
        motion: Read the motion vectors of the video too.

    Raises:
        InputError: When there is no video at ``path``, or none of its frames can be decoded.
    """

    def __init__(
        self,
        path: Path,
        sampling: Sampling | None = None,
        *,
        threads: int | None = None,
        quiet: bool = False,
        motion: bool = False,
    ) -> None:
        self._path, self._sampling, self._threads = path, sampling or Sampling(), threads
        self._notes = Notes(path, say=not quiet)
        with input_errors(path):
            self._source, self._missing = open_source(
                path,
                self._notes,
                threads=threads,
                stream=self._sampling.stream,
                allow_truncated=self._sampling.allow_truncated,
                limits=self._sampling.limits,
                motion=motion,
            )
            try:
                self._decoded = self._decode()
                self._first = first_frame(self._decoded, path, self._sampling.limits)
                self._info = video_info(path, self._source, self._first, self._notes)
                size = self._info.width, self._info.height  # pixels may be far from square
                for width, height in (size, self._sampling.size(*size)):
                    self._sampling.limits.require_size(path, width, height)
            except BaseException:
                self._source.close()
                raise

    def _decode(self) -> Iterator[VideoFrame]:
        """The frames from where the source stands, within the limits."""
        source = self._source
        return self._sampling.limits.bounded(self._path, source.decode(), source.time_base)

    @property
    def info(self) -> VideoInfo:
        """What the video says of itself, with the notes so far: reading may add some."""
        return replace(self._info, missing_bytes=self._missing, notes=self._notes.all())

    def frames(self, *, require: bool = False) -> Iterator[Frame]:
        """Decode, sample and scale, one frame at a time; this can be done once.

        The pixels are those of FFmpeg's filter graph: rotation, then ``scale`` with
        ``flags=lanczos`` to ``rgba``, of which alpha is dropped. Corrupt packets are skipped.

        Args:
            require: Whether fewer frames than ``sampling.frames`` are an error.

        Yields:
            At least one frame.

        Raises:
            InputError: When none of the frames can be decoded or sampled, the file cannot be read
                or was changed meanwhile, or ``require`` is not met.

        Source: visualization spec 6.3.
        """
        sampling, count = self._sampling, 0
        with input_errors(self._path):
            for frame in self._sampled():
                yield frame
                count += 1
                sampling.limits.require(self._path, "frames", count, f"at least {count} frames")
                if count == sampling.frames:
                    self._source.check()
                    return
        if count == 0:
            raise InputError(
                f"{self._path}: no frame at or after {float(sampling.start):g} s"
                + (f" at {float(sampling.fps):g} fps" if sampling.fps else ""),
                hint="start earlier" if sampling.start else "raise fps; the video is too short",
            )
        if require and sampling.frames is not None:
            raise few_frames_error(self._path, count, sampling.frames)

    def _sampled(self) -> Iterator[Frame]:
        source, start = self._source, self._sampling.start
        jump = start > 0 and not source.still
        decoded = self._from(start) if jump else chain([self._first], self._decoded)
        yield from sampled(source, self._first, decoded, self._sampling, self._notes, self._threads)

    def _from(self, start: Fraction) -> Iterator[VideoFrame]:
        """Frames from a key frame at or before ``start``, or from the first one."""
        source, origin = self._source, _pts(self._first)
        target = origin + int(start / source.time_base)
        # A container may index by decoding time, and so land on a key frame that is shown too late.
        for back in (Fraction(0), Fraction(2)):
            if not source.seek(max(origin, target - int(back / source.time_base))):
                break
            decoded = self._decode()
            landed = next(decoded, None)
            if landed is not None and _pts(landed) <= target:
                return chain([landed], decoded)
        source.rewind()
        return self._decode()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def few_frames_error(path: Path, decoded: int, requested: int) -> InputError:
    """The error for a video with fewer sampled frames than were asked for.

    Source: visualization spec 6.3.
    """
    return InputError(
        f"{path}: {decoded} frames were decoded, {requested} were requested",
        hint=f"ask for at most {decoded} frames, or raise fps",
    )


def video_info(path: Path, source: Source, first: VideoFrame, notes: Notes) -> VideoInfo:
    """What a source and its first frame say of a video."""
    rotation, _ = orientation(first)
    width, height = displayed_size(first, source.aspect)
    fps = source.fps
    if fps is not None and not 1 / _MAX_FPS <= fps <= _MAX_FPS:
        notes.add(
            "fps", f"states a rate of {float(fps):g} frames per second, which is not believed"
        )
        fps = None
    return VideoInfo(
        path=path,
        container=source.container,
        codec=source.codec,
        width=width,
        height=height,
        fps=fps,
        frames=source.frames,
        duration=source.duration,
        rotation=rotation,
        stream=source.stream,
        aspect=source.aspect,
        colours=note_colours(first, notes),
    )


def first_frame(decoded: Iterator[VideoFrame], path: Path, limits: Limits) -> VideoFrame:
    """The first of the decoded frames, or the error that there is none within the limits."""
    first = next(decoded, None)
    if first is None:
        raise InputError(
            f"{path}: no frame could be decoded",
            hint="the file is damaged or encrypted, or its frames have more than "
            f"{limits.pixels} pixels (see --limit)",
        )
    return first


def sampled(
    source: Source,
    first: VideoFrame,
    decoded: Iterator[VideoFrame],
    sampling: Sampling,
    notes: Notes,
    threads: int | None = None,
) -> Iterator[Frame]:
    """Sample and scale decoded frames; ``sampling.frames`` is left to the caller.

    A picture is repeated for as many frames as are asked for.

    Args:
        source: Where they come from.
        first: The first frame of the video.
        decoded: Frames of the video from anywhere before ``sampling.start`` on.
        sampling: Which frames, and at which size.
        notes: Where corrections are noted.
        threads: Filter threads; None = FFmpeg's own choice.
    """
    base, origin, fps = source.time_base, _pts(first), sampling.fps
    start = Fraction(0) if source.still else sampling.start
    log = MotionLog() if source.motion else None

    def logged(frame: VideoFrame) -> VideoFrame:
        if log is not None:
            log.add(frame)
        return frame

    def taken(frame: VideoFrame) -> tuple[Motion, ...] | None:
        return None if log is None else log.take(_pts(frame))

    paint = Painter(
        sampling.size(*displayed_size(first, source.aspect)), sampling.tone_map, notes, threads
    )
    timed = (
        (time, time + frame.duration * base, logged(frame))
        for frame in decoded
        if (time := (_pts(frame) - origin) * base - start) >= 0
    )
    if source.still and sampling.frames is not None:
        rgb, rate = paint(first), fps or source.fps or Fraction(25)
        for index in range(sampling.frames):
            yield Frame(index, index / rate, rgb.copy(), 1 / rate)
        return
    if fps is None or source.still:
        for index, (time, end, frame) in enumerate(timed):
            moved = taken(frame)  # before painting, which changes the frame's pts
            yield Frame(index, start + time, paint(frame), end - time, moved)
        return
    last: tuple[VideoFrame, NDArray[np.uint8]] | None = None
    for index, (number, frame) in enumerate(paced(timed, fps)):
        if last and last[0] is frame:
            rgb, moved = last[1].copy(), None if log is None else ()
        else:
            moved, rgb = taken(frame), paint(frame)
        last = frame, rgb
        yield Frame(index, start + number / fps, rgb, 1 / fps, moved)


@contextmanager
def input_errors(path: Path) -> Iterator[None]:
    """Turn what the system or FFmpeg says about an input into an ``InputError``."""
    try:
        yield
    except NO_THREADS as error:
        raise no_threads(path) from error
    except (FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be decoded ({reason})", hint="convert it to H.264"
        ) from error


def _pts(frame: VideoFrame) -> int:
    assert frame.pts is not None
    return frame.pts
