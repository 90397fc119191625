"""One encoded video stream in one file, the same bytes on every run."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


class Muxer:
    """Encodes frames into a file.

    Args:
        path: The file; its suffix is of no account.
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the encoder.
        size: Width and height of the frames, which are given to ``encode`` in this size.
        pixel_format: Their pixel format.
        time_base: Seconds in one unit of the frames' ``pts``.
        codec_options: Options of the encoder.
        container_options: Options of the container format.
    """

    def __init__(
        self,
        path: Path,
        *,
        container: str,
        codec: str,
        size: tuple[int, int],
        pixel_format: str,
        time_base: Fraction,
        codec_options: dict[str, str],
        container_options: dict[str, str],
    ) -> None:
        self._path = path
        # Bit-exact: no dates, versions or random identifiers in the file.
        self.container_options = {**container_options, "fflags": "+bitexact"}
        self._output: OutputContainer = av.open(
            os.path.abspath(path),  # noqa: PTH100
            "w",
            format=container,
            options=self.container_options,
        )
        stream = self._output.add_stream(
            codec, rate=1 / time_base, options={**codec_options, "flags": "+bitexact"}
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base
        self.stream = stream
        self._time_base = time_base

    def encode(self, frame: VideoFrame, pts: int, duration: int) -> None:
        """Encode one frame, shown from ``pts`` on."""
        frame.pts, frame.duration, frame.time_base = pts, duration, self._time_base
        self._output.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back, and close the file."""
        self._output.mux(self.stream.encode(None))
        self._output.close()

    def discard(self) -> None:
        """Close and delete the file."""
        with suppress(FFmpegError, OSError):
            self._output.close()
        self._path.unlink(missing_ok=True)
