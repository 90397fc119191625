"""Decoded frames of whatever FFmpeg opens, or of an animated WebP, through one interface."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from autogaze_cli.errors import InputError

logger = logging.getLogger(__name__)

MAX_BAD_PACKETS = 8
"""Corrupt packets in a row after which the rest of a file is given up."""

_MICROSECOND = Fraction(1, 1_000_000)
_MILLISECOND = Fraction(1, 1000)


class Source(AbstractContextManager["Source"], ABC):
    """An opened video. Close it, or use it as a context manager.

    Attributes:
        container: Name of the container format.
        codec: Name of the codec.
        fps: Average frame rate, or None.
        frames: Best estimate of the number of frames, or None.
        duration: Seconds, or None.
        still: Whether this is a single picture, which has no duration.
        time_base: Seconds in one unit of the frames' ``pts``.
    """

    container: str
    codec: str
    fps: Fraction | None
    frames: int | None
    duration: Fraction | None
    still: bool = False
    time_base: Fraction

    @abstractmethod
    def decode(self) -> Iterator[VideoFrame]:
        """The frames from where the source stands, in order of time; every one has a ``pts``."""

    def seek(self, pts: int) -> bool:
        """Move to a key frame at or before ``pts``; False when this cannot be done."""
        return False

    def close(self) -> None:
        """Close the file."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ContainerSource(Source):
    """The first video stream of anything FFmpeg can open."""

    def __init__(
        self,
        path: Path,
        options: dict[str, str],
        *,
        threads: int | None = None,
        count: int | None = None,
        format: str | None = None,
    ) -> None:
        self._path, self._options, self._format = path, options, format
        self._sought: int | None = None
        self._open("AUTO", threads or 0)
        self._describe(count)

    def _address(self) -> str:
        # An absolute path, for FFmpeg takes "a:b.mp4" for a protocol named "a".
        return os.path.abspath(self._path)  # noqa: PTH100

    def _open(self, thread_type: str, threads: int) -> None:
        try:
            self._input: InputContainer = av.open(
                self._address(), "r", format=self._format, options=self._options
            )
        except (FFmpegError, OSError) as error:
            raise _unreadable(self._path, error) from error
        try:
            self._stream = _video_stream(self._input, self._path)
            self._stream.thread_type = thread_type
            self._stream.codec_context.thread_count = threads
        except BaseException:
            self._input.close()
            raise

    def _describe(self, count: int | None) -> None:
        """Fill in the attributes; what a container leaves out is worked out from the rest."""
        stream = self._stream
        self.container = self._input.format.name
        self.codec = stream.codec_context.name
        self.time_base = _fraction(stream.time_base) or _MICROSECOND
        self.fps = _fraction(stream.average_rate) or _fraction(stream.guessed_rate)
        image = self.container == "image2" or self.container.endswith("_pipe")
        self.still = image and count is None
        self.frames = 1 if self.still else count or stream.frames or None
        if stream.duration:
            self.duration = stream.duration * self.time_base
        elif self._input.duration:
            self.duration = self._input.duration * _MICROSECOND
        else:
            self.duration = self.frames / self.fps if self.frames and self.fps else None
        if self.frames is None and self.duration and self.fps:
            self.frames = max(1, round(self.duration * self.fps))

    def close(self) -> None:
        """Close the container."""
        self._input.close()

    def seek(self, pts: int) -> bool:
        """Move to a key frame at or before ``pts``; False when the container cannot."""
        try:
            self._input.seek(pts, stream=self._stream, backward=True)
        except (FFmpegError, OSError):
            return False
        self._sought = pts
        return True

    def decode(self) -> Iterator[VideoFrame]:
        """The frames from where the container stands; missing times are filled in."""
        step = round(1 / (self.fps * self.time_base)) if self.fps else 1
        following = 0
        for frame in self._decode_any():
            if frame.pts is None:
                frame.pts = following if frame.dts is None else frame.dts
            if not frame.duration:
                frame.duration = step
            following = frame.pts + frame.duration
            yield frame

    def _decode_any(self) -> Iterator[VideoFrame]:
        """Decode; after the first error once more, with care, from the same place."""
        done = 0
        try:
            for packet in self._input.demux(self._stream):
                for frame in packet.decode():
                    yield frame
                    done += 1
            return
        except EOFError:
            return
        except (FFmpegError, OSError):
            # Threads that decode ahead report an error late and lose good frames with it, so what
            # a damaged file gives would depend on their number.
            self._input.close()
            self._open("SLICE", 0)
            if self._sought is not None:
                self.seek(self._sought)
        yield from islice(self._decode_damaged(), done, None)

    def _decode_damaged(self) -> Iterator[VideoFrame]:
        """Decode, passing over corrupt packets until too many follow each other."""
        packets = self._input.demux(self._stream)
        bad = in_a_row = 0
        try:
            while in_a_row < MAX_BAD_PACKETS:
                try:
                    packet: Packet[VideoStream] | None = next(packets, None)
                    if packet is None:
                        return
                    frames = packet.decode()
                except EOFError:
                    return
                except (FFmpegError, OSError):
                    bad, in_a_row = bad + 1, in_a_row + 1
                    # An error ends PyAV's generator, though the container can be read on.
                    packets = self._input.demux(self._stream)
                    continue
                in_a_row = 0
                yield from frames
            with suppress(FFmpegError, OSError):
                yield from self._stream.codec_context.decode(None)
        finally:
            end = " and gave up there" if in_a_row == MAX_BAD_PACKETS else ""
            if bad:
                logger.warning("%s: skipped %d corrupt packets%s", self._path, bad, end)


class WebPSource(Source):
    """An animated WebP, decoded by Pillow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.container = self.codec = "webp"
        self.time_base = _MILLISECOND
        try:
            self._durations = _webp_durations(path)
            self._image = Image.open(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        self.frames = len(self._durations)
        self.duration = sum(self._durations) * _MILLISECOND
        self.fps = self.frames / self.duration if self.frames else None

    def close(self) -> None:
        """Close the image."""
        self._image.close()

    def decode(self) -> Iterator[VideoFrame]:
        """All frames, composited, as RGBA."""
        pts = 0
        try:
            for number, duration in enumerate(self._durations):
                self._image.seek(number)
                rgba = np.asarray(self._image.convert("RGBA"), np.uint8)
                frame = VideoFrame.from_ndarray(rgba, format="rgba")
                frame.pts, frame.duration = pts, duration
                pts += duration
                yield frame
        except (OSError, EOFError) as error:
            logger.warning("%s: stops early (%s)", self._path, error)


def _webp_durations(path: Path) -> list[int]:
    """Milliseconds of each animation frame; 0 is shown for 100, as browsers do."""
    durations = []
    with path.open("rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            end = file.tell() + size + size % 2
            if chunk[:4] == b"ANMF":
                durations.append(int.from_bytes(file.read(15)[12:], "little") or 100)
            file.seek(end)
    return durations


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kind = "only sound" if container.streams.audio else "no video stream"
        raise InputError(f"{path}: has {kind}", hint="give a file with a video stream")
    # PyAV leaves the context out when this build of FFmpeg has no decoder.
    if getattr(streams[0], "codec_context", None) is None:
        raise InputError(f"{path}: its codec is not supported", hint="convert it to H.264")
    return streams[0]


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    hint = "is it a video?"
    with suppress(OSError), path.open("rb") as file:
        if file.read(12)[4:8] == b"ftyp":
            hint = "an MP4 whose recording broke off has no index (moov); record it again"
    return InputError(f"{path}: cannot be opened as a video ({reason})", hint=hint)


def _fraction(rate: Any) -> Fraction | None:
    """PyAV's rational, of whatever version, as a ``Fraction``; None for none and for zero."""
    return Fraction(rate.numerator, rate.denominator) if rate else None
