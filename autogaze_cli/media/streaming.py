"""Frames as a video that can be watched while it is made: H.264 in fragmented MP4."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from autogaze_cli.errors import OutputError
from autogaze_cli.media.colour import BT709, LIMITED_RANGE
from autogaze_cli.media.filters import Converter, Pixels, Resizer

_TICKS = 90000
"""Units of time per second."""

_X264 = {"crf": "20", "preset": "veryfast", "tune": "zerolatency"}
_MP4 = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
_YUV = "out_color_matrix=bt709:out_range=limited:flags=lanczos+accurate_rnd+full_chroma_inp"


class StreamWriter:
    """Writes frames to a pipe, each as soon as it is there; use it as a context manager.

    Args:
        file: Where the video goes; it is not closed.
        fps: Frames per second, for the encoder; frames are shown at their own times.
        width: Pixels; an odd side grows by one repeated pixel.
        height: Pixels.

    Raises:
        OutputError: FFmpeg has no encoder for H.264, or refuses the size.
    """

    def __init__(self, file: BinaryIO, *, fps: Fraction, width: int, height: int) -> None:
        self._pipe, self._last = _Pipe(file), -1
        self._fit = Resizer(width, height)
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._converter = Converter([("scale", _YUV), ("format", "yuv420p")])
        with self._errors():
            self._output = av.open(self._pipe, "w", format="mp4", options=_MP4)
            stream = self._output.add_stream("libx264", rate=fps, options=_X264)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._base = Fraction(1, _TICKS)
        stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = BT709
        stream.codec_context.color_range = LIMITED_RANGE
        self._stream = stream

    def write(self, image: Pixels, time: Fraction) -> None:
        """Write one frame.

        Args:
            image: uint8 ``[h, w, 3 or 4]``.
            time: Seconds.

        Raises:
            BrokenPipeError: Nobody reads the video any more.
            OutputError: It cannot be written.
        """
        fitted = np.ascontiguousarray(self._fit(image)[..., :3])
        frame = VideoFrame.from_ndarray(np.pad(fitted, self._padding, "edge"), format="rgb24")
        frame = self._converter(frame)
        self._last = max(round(time * _TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, self._base
        with self._errors():
            self._output.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder holds back."""
        with self._errors():
            if self._last >= 0:
                self._output.mux(self._stream.encode(None))
            self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(FFmpegError, OSError, OutputError):
            self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What FFmpeg says about a pipe as what the system said."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            if self._pipe.broken:
                raise BrokenPipeError from error
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"the live video cannot be written ({reason})") from error


class _Pipe:
    """A file of which FFmpeg knows no more than that it can be written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.broken = file, False

    def write(self, data: bytes) -> int:
        """Write at once."""
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            self.broken = True
            raise
        return len(data)
