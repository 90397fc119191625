"""A straight FFmpeg filter graph: frames in at one end, frames out at the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import av.filter
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An image, uint8 ``[h, w, 3]`` (RGB) or ``[h, w, 4]`` (RGBA)."""

Filters = Sequence[tuple[str, str]]
"""Names and arguments of FFmpeg filters, in order."""

NO_THREADS = (BlockingIOError, MemoryError)
"""How FFmpeg says that the system gave it no thread: with the errno for "not yet" (EAGAIN)."""


class FilterChain:
    """A filter graph with one input and one output.

    Args:
        like: A frame; all that are pushed have its size, pixel format and colour tags.
        filters: The filters between input and output.
        time_base: Seconds in one unit of the pushed frames' ``pts``.
        second: A frame that the first filter sees on a second input all the time.
        threads: Threads of the graph at most; 0 = FFmpeg's own choice.
    """

    def __init__(
        self,
        like: VideoFrame,
        filters: Filters,
        *,
        time_base: Fraction,
        second: VideoFrame | None = None,
        threads: int = 0,
    ) -> None:
        # The graph must outlive its filters: PyAV's filters do not keep it alive.
        self._graph = graph = av.filter.Graph()
        graph.threads = threads
        self._time_base = time_base
        self._source = graph.add("buffer", _buffer_arguments(like, time_base))
        self._sink = graph.add("buffersink")
        middle = [graph.add(name, arguments) for name, arguments in filters]
        graph.link_nodes(self._source, *middle, self._sink)
        if second is None:
            graph.configure()
            return
        still = graph.add("buffer", _buffer_arguments(second, time_base))
        still.link_to(middle[0], 0, 1)
        graph.configure()
        second.pts, second.time_base = 0, time_base
        still.push(second)
        still.push(None)

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Push one frame, or None at the end, and yield every frame that is ready.

        A failure of the system may look like "not ready" here, so the caller must count the frames.
        """
        if frame is not None:
            frame.time_base = self._time_base
        self._source.push(frame)
        while True:
            try:
                ready = self._sink.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(ready, VideoFrame)
            yield ready

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Push one frame and return the one that comes of it, for filters that change each frame.

        Raises:
            OSError: The frame did not come out.
        """
        frame.time_base = self._time_base
        self._source.push(frame)
        ready = self._sink.pull()
        assert isinstance(ready, VideoFrame)
        return ready


def _buffer_arguments(frame: VideoFrame, time_base: Fraction) -> str:
    return (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
        f":time_base={time_base}:pixel_aspect=1/1"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
    )


class Converter:
    """Filters that make one frame of each, for frames of one form.

    Where the system gives no threads, it goes on without: a frame is never lost.

    Args:
        filters: The filters.
        threads: Threads at most; 0 = FFmpeg's own choice.
    """

    def __init__(self, filters: Filters, threads: int = 0) -> None:
        self._filters, self._threads = filters, threads
        self._chain: FilterChain | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame; all have one size, pixel format and colour tags.

        Raises:
            OSError: The system or FFmpeg refused.
        """
        try:
            return self._converted(frame)
        except NO_THREADS:
            self._chain, self._threads = None, 1
            return self._converted(frame)

    def _converted(self, frame: VideoFrame) -> VideoFrame:
        if self._chain is None:
            base = Fraction(1, 1000)
            self._chain = FilterChain(frame, self._filters, time_base=base, threads=self._threads)
        frame.pts = 0
        return self._chain.convert(frame)


class Resizer:
    """Lanczos resizing of RGB or RGBA images that all have one size.

    The filter is FFmpeg's ``scale`` with ``flags=lanczos``, as in the asset renderer.

    Source: visualization spec 6.8.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._converter: Converter | None = None

    def __call__(self, image: Pixels) -> Pixels:
        """Resize one image, uint8 ``[h, w, c]``; the number of channels stays."""
        height, width, channels = image.shape
        if (width, height) == self._size:
            return image
        frame = VideoFrame.from_ndarray(image, format="rgba" if channels == 4 else "rgb24")
        if self._converter is None:
            size = f"w={self._size[0]}:h={self._size[1]}"
            filters = [("scale", f"{size}:flags=lanczos"), ("format", frame.format.name)]
            self._converter = Converter(filters)
        return pixels(self._converter(frame))


def pixels(frame: VideoFrame) -> Pixels:
    """A copy of the pixels of an ``rgb24`` or ``rgba`` frame, uint8 ``[h, w, 3 or 4]``."""
    # The view that PyAV gives out may be padded, and may share memory with a repeated frame.
    return np.array(frame.to_ndarray(), np.uint8, order="C")
