"""Videos as streams of RGB frames, sampled and scaled by FFmpeg's own filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.errors import InputError
from autogaze_cli.media.filters import FilterChain, Filters, pixels
from autogaze_cli.media.opening import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.sources import Source

# The signs of a display matrix (a, b, c, d), which sends (x, y) to (ax + cy, bx + dy) with y
# downwards: the degrees it turns clockwise, and FFmpeg's filters that do it.
_ORIENTATIONS: dict[tuple[int, ...], tuple[int, Filters]] = {
    (0, 1, -1, 0): (90, [("transpose", "clock")]),
    (-1, 0, 0, -1): (180, [("hflip", ""), ("vflip", "")]),
    (0, -1, 1, 0): (270, [("transpose", "cclock")]),
    (-1, 0, 0, 1): (0, [("hflip", "")]),
    (1, 0, 0, -1): (0, [("vflip", "")]),
    (0, 1, 1, 0): (90, [("transpose", "cclock_flip")]),
    (0, -1, -1, 0): (270, [("transpose", "clock_flip")]),
}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One sampled frame.

    Attributes:
        index: Number in the sampled sequence, from 0.
        time: Seconds since the first frame of the video.
        rgb: uint8 ``[h, w, 3]``, RGB, C order.
    """

    index: int
    time: Fraction
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a video says of itself.

    Attributes:
        path: The file or image pattern.
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec.
        width: Pixels, as displayed (after rotation).
        height: Pixels, as displayed (after rotation).
        fps: Average frames a second, or None.
        frames: Best estimate of the number of frames, or None.
        duration: Seconds, or None.
        rotation: Degrees clockwise that frames are turned for display: 0, 90, 180 or 270.
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


def probe(path: Path) -> VideoInfo:
    """What a video says of itself; decodes one frame, which alone tells the rotation.

    Raises:
        InputError: When there is no video at ``path``.
    """
    with open_source(path, threads=1) as source:
        return video_info(path, source, first_frame(source.decode(), path))


def video_info(path: Path, source: Source, first: VideoFrame) -> VideoInfo:
    """What a source and its first frame say of a video."""
    rotation, width, height, _ = _orientation(first)
    return VideoInfo(
        path=path,
        container=source.container,
        codec=source.codec,
        width=width,
        height=height,
        fps=source.fps,
        frames=source.frames,
        duration=source.duration,
        rotation=rotation,
    )


def read_frames(
    path: Path,
    sampling: Sampling | None = None,
    *,
    threads: int | None = None,
    require: bool = False,
) -> Iterator[Frame]:
    """Decode, sample and scale a video, one frame at a time.

    The pixels are those of FFmpeg's filter graph: ``fps``, then rotation, then ``scale`` with
    ``flags=lanczos`` to ``rgba``, of which alpha is dropped. Corrupt packets are skipped. The file
    is closed when the iteration ends, fails or is abandoned.

    Args:
        path: A video, an image, or an image pattern such as ``frame_%04d.png`` (at 25 fps).
        sampling: Which frames; None = all of them as they are.
        threads: Decoder and filter threads; None = FFmpeg's own choice. Never changes a result.
        require: Whether fewer frames than ``sampling.frames`` are an error.

    Yields:
        At least one frame.

    Raises:
        InputError: When there is no video at ``path``, none of its frames can be decoded or
            sampled, or ``require`` is not met.

    Source: visualization spec 6.3.
    """
    sampling = sampling or Sampling()
    count = 0
    for frame in _sampled(path, sampling, threads):
        yield frame
        count += 1
        if count == sampling.frames:
            return
    if count == 0:
        raise InputError(
            f"{path}: no frame at or after {float(sampling.start):g} s"
            + (f" at {float(sampling.fps):g} fps" if sampling.fps else ""),
            hint="start earlier" if sampling.start else "raise fps; the video is too short",
        )
    if require and sampling.frames is not None:
        raise few_frames_error(path, count, sampling.frames)


def few_frames_error(path: Path, decoded: int, requested: int) -> InputError:
    """The error for a video with fewer sampled frames than were asked for.

    Source: visualization spec 6.3.
    """
    return InputError(
        f"{path}: {decoded} frames were decoded, {requested} were requested",
        hint=f"ask for at most {decoded} frames, or raise fps",
    )


def _sampled(path: Path, sampling: Sampling, threads: int | None) -> Iterator[Frame]:
    with ExitStack() as stack:
        source = stack.enter_context(open_source(path, threads=threads))
        decoded = source.decode()
        first = first_frame(decoded, path)
        decoded = chain([first], decoded)
        if sampling.start > 0 and not source.still:
            jumped = stack.enter_context(open_source(path, threads=threads))
            decoded = _jump(jumped, _pts(first), sampling.start) or decoded
        yield from sampled(source, first, decoded, sampling, threads)


def sampled(
    source: Source,
    first: VideoFrame,
    decoded: Iterable[VideoFrame],
    sampling: Sampling,
    threads: int | None = None,
) -> Iterator[Frame]:
    """Sample and scale decoded frames; ``sampling.frames`` is left to the caller.

    Args:
        source: Where they come from.
        first: The first frame of the video.
        decoded: Frames of the video from anywhere before ``sampling.start`` on.
        sampling: Which frames, and at which size.
        threads: Filter threads; None = FFmpeg's own choice.
    """
    # No output of the fps filter is ever needed for a still: it has no duration to divide.
    fps = None if source.still else sampling.fps
    base, origin = source.time_base, _pts(first)
    shift = origin + round(sampling.start / base)
    if sampling.start > 0 and not source.still:
        decoded = (f for f in decoded if (_pts(f) - origin) * base >= sampling.start)
    graph = FilterChain(first, _filters(first, sampling, fps, threads), time_base=base)
    offset, unit = (sampling.start, 1 / fps) if fps else ((shift - origin) * base, base)
    index = 0
    for frame in chain(decoded, [None]):
        for output in graph.push(frame and _aligned(frame, first, shift)):
            yield Frame(index, offset + _pts(output) * unit, pixels(output))
            index += 1


def _jump(source: Source, origin: int, start: Fraction) -> Iterator[VideoFrame] | None:
    """Frames from a key frame at or before ``start``, or None when seeking does not find one."""
    target = origin + int(start / source.time_base)
    # A container may index by decoding time, and so land on a key frame that is shown too late.
    for back in (Fraction(0), Fraction(2)):
        if not source.seek(max(origin, target - int(back / source.time_base))):
            return None
        decoded = source.decode()
        landed = next(decoded, None)
        if landed is not None and _pts(landed) <= target:
            return chain([landed], decoded)
    return None


def first_frame(decoded: Iterator[VideoFrame], path: Path) -> VideoFrame:
    """The first of the decoded frames, or the error that there is none."""
    first = next(decoded, None)
    if first is None:
        raise InputError(
            f"{path}: no frame could be decoded", hint="the file is damaged or encrypted"
        )
    return first


def _filters(
    first: VideoFrame, sampling: Sampling, fps: Fraction | None, threads: int | None
) -> Filters:
    """The filters from the decoded to the sampled frames."""
    _, width, height, turns = _orientation(first)
    width, height = sampling.size(width, height)
    spread = f":threads={threads}" if threads else ""
    return [
        *([("fps", f"fps={fps}")] if fps else []),
        *turns,
        ("scale", f"w={width}:h={height}:flags=lanczos{spread}"),
        # Straight to rgb24 the scaler rounds differently. The second step only moves bytes.
        ("format", "rgba"),
        ("scale", "flags=lanczos"),
        ("format", "rgb24"),
    ]


def _orientation(frame: VideoFrame) -> tuple[int, int, int, Filters]:
    """Degrees, displayed width and height, and the filters that turn ``frame`` for display."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    signs: tuple[int, ...] = ()
    if data is not None:
        matrix = np.sign(np.frombuffer(bytes(data), np.int32))
        signs = tuple(matrix[[0, 1, 3, 4]].tolist())
    degrees, turns = _ORIENTATIONS.get(signs, (0, []))
    width, height = frame.width, frame.height
    return (degrees, height, width, turns) if degrees % 180 else (degrees, width, height, turns)


def _aligned(frame: VideoFrame, first: VideoFrame, shift: int) -> VideoFrame:
    """``frame`` with its clock moved by ``shift``, in the form that the graph was built for."""
    pts, duration = _pts(frame), frame.duration
    same = (frame.width, frame.height, frame.format.name)
    if same != (first.width, first.height, first.format.name):
        frame = frame.reformat(
            first.width, first.height, first.format.name, interpolation="LANCZOS"
        )
        frame.duration = duration
    frame.pts = pts - shift
    return frame


def _pts(frame: VideoFrame) -> int:
    assert frame.pts is not None
    return frame.pts
