"""GIF encoders: one palette for a whole video, or the exact five colours of a mask."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from autogaze_cli.media.filters import FilterChain, Pixels
from autogaze_cli.media.gif_blocks import CONTROL, gif_blocks
from autogaze_cli.media.mask_palette import MASK_PALETTE, mask_indices, packed
from autogaze_cli.media.muxer import Muxer
from autogaze_cli.media.timeline import MAX_DELAY, GifPacer, Timeline

MAX_SIDE = 65535
"""Largest width and height of a GIF."""

_CENTISECOND = Fraction(1, 100)


class VideoGif:
    """A GIF of at most 128 colours, Bayer dithered, one palette for all frames.

    The palette is known only after the last frame, so frames wait in an unnamed file on disk.

    Source: visualization spec 6.8.
    """

    def __init__(self, path: Path, *, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        self._pacer = GifPacer[Pixels]()
        self._starts: list[int] = []
        self._palette: FilterChain | None = None
        # Beside the output and not in /tmp, which may be memory.
        self._spool = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._stream: _GifStream | None = None

    def write(self, image: Pixels, time: Fraction) -> None:
        """Take one RGB image of the GIF's size."""
        for shown, start in self._pacer.add(image, time):
            self._wait(shown, start)

    def _wait(self, image: Pixels, start: int) -> None:
        """Keep an image until the palette is known."""
        self._spool.write(image.tobytes())
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = len(self._starts)
        if self._palette is None:
            options = "max_colors=128:reserve_transparent=0"
            self._palette = FilterChain(frame, [("palettegen", options)], time_base=_CENTISECOND)
        list(self._palette.push(frame))
        self._starts.append(start)

    def finish(self, timeline: Timeline, check: Callable[[], object]) -> None:
        """Write the file; ``check`` is called at each frame, and may raise to end it."""
        rest, end = self._pacer.finish(timeline)
        for shown, start in rest:
            self._wait(shown, start)
        assert self._palette is not None
        palettes = list(self._palette.push(None))
        if len(palettes) != 1:
            raise OSError("FFmpeg made no palette")
        self._stream = _GifStream(self._path, self._size)
        written = 0
        for start, frame in zip(self._starts, self._dithered(palettes[0]), strict=False):
            self._stream.write(frame, start)
            written += 1
            check()
        if written != len(self._starts):
            raise OSError(f"FFmpeg lost {len(self._starts) - written} frames")
        self._stream.finish(end)
        self._spool.close()

    def _dithered(self, palette: VideoFrame) -> Iterator[VideoFrame]:
        width, height = self._size
        use = [("paletteuse", "dither=bayer:bayer_scale=3")]
        self._spool.seek(0)
        chain: FilterChain | None = None
        for n in range(len(self._starts)):
            image = np.frombuffer(self._spool.read(3 * width * height), np.uint8)
            frame = VideoFrame.from_ndarray(image.reshape(height, width, 3), format="rgb24")
            frame.pts = n
            chain = chain or FilterChain(frame, use, time_base=_CENTISECOND, second=palette)
            yield from chain.push(frame)
        if chain:
            yield from chain.push(None)

    def discard(self) -> None:
        """Delete what was written."""
        self._spool.close()
        if self._stream:
            self._stream.discard()


class MaskGif:
    """A GIF of exactly five colours; every frame is whole, opaque and replaces the former.

    Source: visualization spec 6.8.
    """

    def __init__(self, path: Path, *, size: tuple[int, int]) -> None:
        self._size = size
        self._pacer = GifPacer[Pixels]()
        self._stream = _GifStream(path, size, gifflags="-offsetting-transdiff")
        argb = np.full(256, 0xFF000000, np.uint32)
        argb[: len(MASK_PALETTE)] |= packed(MASK_PALETTE)
        self._palette = argb.tobytes()

    def write(self, image: Pixels, time: Fraction) -> None:
        """Encode one RGB image of the GIF's size."""
        for shown, start in self._pacer.add(image, time):
            self._encode(shown, start)

    def _encode(self, image: Pixels, start: int) -> None:
        width, height = self._size
        frame = VideoFrame(width, height, "pal8")
        plane, palette = frame.planes
        rows = np.zeros((height, plane.line_size), np.uint8)
        rows[:, :width] = mask_indices(image)
        plane.update(rows.tobytes())
        palette.update(self._palette)
        self._stream.write(frame, start)

    def finish(self, timeline: Timeline, check: Callable[[], object]) -> None:
        """Write what is left."""
        rest, end = self._pacer.finish(timeline)
        for shown, start in rest:
            self._encode(shown, start)
        self._stream.finish(end)

    def discard(self) -> None:
        """Delete what was written."""
        self._stream.discard()


class _GifStream:
    """A GIF file, its frames with the times at which they are shown.

    Args:
        path: The file.
        size: Width and height.
        options: Of the encoder.
    """

    def __init__(self, path: Path, size: tuple[int, int], **options: str) -> None:
        self._path = path
        self._last: tuple[VideoFrame, int] | None = None
        self._muxer = Muxer(
            path,
            container="gif",
            codec="gif",
            size=size,
            pixel_format="pal8",
            time_base=_CENTISECOND,
            codec_options=options,
            container_options={"loop": "0"},
        )

    def write(self, frame: VideoFrame, start: int) -> None:
        """Encode a frame that is shown from ``start`` on, in centiseconds."""
        self._repeat_until(start)
        self._muxer.encode(frame, start, 1)
        self._last = frame, start

    def _repeat_until(self, end: int) -> None:
        """Encode the last frame again, as often as a delay would be too long for a GIF."""
        while self._last and end - self._last[1] > MAX_DELAY:
            frame, start = self._last
            self._muxer.encode(frame, start + MAX_DELAY, 1)
            self._last = frame, start + MAX_DELAY

    def finish(self, end: int) -> None:
        """Write what is left; the last frame is shown until ``end``."""
        assert self._last is not None
        self._repeat_until(end)
        self._muxer.finish()
        # The muxer wants to be told the last delay before the first frame.
        with self._path.open("r+b") as file:
            *_, place = (place for kind, place in gif_blocks(file) if kind == CONTROL)
            file.seek(place + 4)
            file.write((end - self._last[1]).to_bytes(2, "little"))

    def discard(self) -> None:
        """Delete what was written."""
        self._muxer.discard()
