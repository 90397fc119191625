"""GIF encoders: one palette for a whole video, or the exact five colours of a mask."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from autogaze_cli.media.filters import FilterChain, Pixels
from autogaze_cli.media.mask_palette import MASK_PALETTE, mask_delay, mask_indices, packed
from autogaze_cli.media.muxer import Muxer

MAX_SIDE = 65535
"""Largest width and height of a GIF."""

_CENTISECOND = Fraction(1, 100)


def gif_times(fps: Fraction, frames: int) -> list[int]:
    """Start of each frame and end of the last, in centiseconds: ``frames + 1`` numbers.

    The last frame is shown as long as the one before it; a lone frame for ``1 / fps``. Above 100
    fps, which a GIF cannot have, every frame is shown for one centisecond.

    >>> gif_times(Fraction(8), 4)
    [0, 13, 25, 38, 51]

    Source: visualization spec 6.8 (halves away from zero).
    """
    starts = [int(100 * n / fps + Fraction(1, 2)) for n in range(max(2, frames))]
    for n in range(1, len(starts)):
        starts[n] = max(starts[n], starts[n - 1] + 1)
    return starts if frames == 1 else [*starts, 2 * starts[-1] - starts[-2]]


class VideoGif:
    """A GIF of at most 128 colours, Bayer dithered, one palette for all frames.

    The palette is known only after the last frame, so frames wait in an unnamed file on disk.

    Source: visualization spec 6.8.
    """

    def __init__(self, path: Path, *, fps: Fraction, size: tuple[int, int]) -> None:
        self._path, self._fps, self._size = path, fps, size
        self._count = 0
        self._palette: FilterChain | None = None
        # Beside the output and not in /tmp, which may be memory.
        self._spool = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._muxer: Muxer | None = None

    def write(self, image: Pixels) -> None:
        """Take one RGB image of the GIF's size."""
        self._spool.write(image.tobytes())
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = self._count
        if self._palette is None:
            options = "max_colors=128:reserve_transparent=0"
            self._palette = FilterChain(frame, [("palettegen", options)], time_base=_CENTISECOND)
        list(self._palette.push(frame))
        self._count += 1

    def finish(self, check: Callable[[], object]) -> None:
        """Write the file; ``check`` is called at each frame, and may raise to end it."""
        assert self._palette is not None
        palette = next(self._palette.push(None))
        times = gif_times(self._fps, self._count)
        delays = np.diff(times).tolist()
        self._muxer = _gif_muxer(self._path, self._size, last_delay=delays[-1])
        for frame, pts, delay in zip(self._dithered(palette), times, delays, strict=False):
            self._muxer.encode(frame, pts, delay)
            check()
        self._muxer.finish()
        self._spool.close()

    def _dithered(self, palette: VideoFrame) -> Iterator[VideoFrame]:
        width, height = self._size
        use = [("paletteuse", "dither=bayer:bayer_scale=3")]
        self._spool.seek(0)
        chain: FilterChain | None = None
        for n in range(self._count):
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
        if self._muxer:
            self._muxer.discard()


class MaskGif:
    """A GIF of exactly five colours; every frame is whole, opaque and replaces the former.

    Source: visualization spec 6.8.
    """

    def __init__(self, path: Path, *, fps: Fraction, size: tuple[int, int]) -> None:
        self._delay = mask_delay(fps)
        self._count = 0
        self._muxer = _gif_muxer(
            path, size, last_delay=self._delay, gifflags="-offsetting-transdiff"
        )
        self._size = size
        argb = np.full(256, 0xFF000000, np.uint32)
        argb[: len(MASK_PALETTE)] |= packed(MASK_PALETTE)
        self._palette = argb.tobytes()

    def write(self, image: Pixels) -> None:
        """Encode one RGB image of the GIF's size."""
        width, height = self._size
        frame = VideoFrame(width, height, "pal8")
        plane, palette = frame.planes
        rows = np.zeros((height, plane.line_size), np.uint8)
        rows[:, :width] = mask_indices(image)
        plane.update(rows.tobytes())
        palette.update(self._palette)
        self._muxer.encode(frame, self._count * self._delay, self._delay)
        self._count += 1

    def finish(self, check: Callable[[], object]) -> None:
        """Write what is left."""
        self._muxer.finish()

    def discard(self) -> None:
        """Delete what was written."""
        self._muxer.discard()


def _gif_muxer(path: Path, size: tuple[int, int], *, last_delay: int, **options: str) -> Muxer:
    return Muxer(
        path,
        container="gif",
        codec="gif",
        size=size,
        pixel_format="pal8",
        time_base=_CENTISECOND,
        codec_options=options,
        container_options={"loop": "0", "final_delay": str(last_delay)},
    )
