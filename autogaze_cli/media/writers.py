"""Frames into a GIF, an animated PNG or WebP, an MP4, a WebM or a folder of PNG files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, get_args

import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError, OutputError
from autogaze_cli.media.animated import MAX_WEBP_SIDE, AnimatedPng, AnimatedWebP
from autogaze_cli.media.colour import BT709, BT709_TAGS, LIMITED_RANGE, Tags
from autogaze_cli.media.filters import Converter, Pixels, Resizer
from autogaze_cli.media.gif import MAX_SIDE, MaskGif, VideoGif
from autogaze_cli.media.mask_palette import floor_sample
from autogaze_cli.media.muxer import Muxer
from autogaze_cli.media.retime import retime
from autogaze_cli.media.timeline import Timeline

Format = Literal["gif", "mp4", "webm", "png", "apng", "webp"]
_FORMATS = ", ".join(get_args(Format))
_MOST_PIXELS = {"gif": ("GIF", MAX_SIDE), "webp": ("WebP", MAX_WEBP_SIDE)}
_WITH_ALPHA = ("png", "apng", "webp")
Palette = Literal["video", "mask"]
Check = Callable[[], object]
"""Called now and then during long work; raises where the work is to end."""

# For the same bytes on every run: a fixed number of threads, on which x264's output depends, and
# no macroblock tree, with which about one of 500 equal encodes came out different.
_THREADS = "4"
_X264 = {"crf": "18", "preset": "medium", "mbtree": "0", "threads": _THREADS}
_VP9 = {
    "crf": "24",
    "b": "0",
    "deadline": "good",
    "cpu-used": "4",
    "row-mt": "1",
    "threads": _THREADS,
}

_MATRIX_NAMES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""Names that FFmpeg's scaler has for matrices of ITU-T H.273."""


class _Encoder(Protocol):
    """What a format does with images that have its size and number of channels already."""

    def write(self, image: Pixels, time: Fraction) -> None: ...

    def finish(self, timeline: Timeline, check: Check) -> None: ...

    def discard(self) -> None: ...


def open_writer(
    path: Path,
    *,
    format: Format,
    fps: Fraction,
    width: int,
    height: int,
    palette: Palette = "video",
    colours: Tags = BT709_TAGS,
) -> FrameWriter:
    """Open a video for writing.

    Args:
        path: The file; for ``png``, the folder. Written in place: give a temporary name and
            rename it. Its suffix does not choose the format.
        format: ``gif``, ``mp4`` (H.264), ``webm`` (VP9), ``png`` (``frame_000001.png``, ...), or
            ``apng`` or ``webp`` (animated, without loss).
        fps: Frames per second, where frames have no times of their own.
        width: Pixels. An odd side of an MP4, which H.264 cannot store, grows by one repeated pixel.
        height: Pixels.
        palette: How frames of another size are resized, and how a GIF is coloured: ``video`` is
            Lanczos with up to 128 colours and dither; ``mask`` takes single pixels and has the
            five mask colours.
        colours: What the colours of an MP4 or WebM are tagged as; they are not converted.

    Returns:
        A context manager, which deletes the file when its block fails.

    Raises:
        ConfigError: When the format cannot hold such frames.
        OutputError: When ``path`` cannot be written.

    Source: visualization spec 6.8.
    """
    if width < 1 or height < 1 or fps <= 0:
        raise ConfigError(f"a video cannot be {width} x {height} pixels at {fps} fps")
    name, most = _MOST_PIXELS.get(format, ("", max(width, height)))
    if max(width, height) > most:
        raise ConfigError(f"a {name} cannot be {width} x {height} pixels", hint=f"at most {most}")
    size = width, height
    with _output_errors(path):
        encoder: _Encoder
        match format:
            case "gif":
                encoder = (MaskGif if palette == "mask" else VideoGif)(path, size=size)
            case "mp4" | "webm":
                encoder = _Video(path, format, fps=fps, size=size, colours=colours)
            case "png":
                encoder = _PngFolder(path)
            case "apng":
                encoder = AnimatedPng(path)
            case "webp":
                encoder = AnimatedWebP(path)
            case _:
                raise ConfigError(f"format must be one of {_FORMATS}, not {format!r}")
    fit: Callable[[Pixels], Pixels] = Resizer(width, height)
    if palette == "mask":
        fit = lambda image: floor_sample(image, width, height)  # noqa: E731
    return FrameWriter(path, encoder, fit, Timeline(fps), keep_alpha=format in _WITH_ALPHA)


class FrameWriter:
    """Writes frames; use it as a context manager, or end with ``close`` or ``abort``."""

    def __init__(
        self,
        path: Path,
        encoder: _Encoder,
        fit: Callable[[Pixels], Pixels],
        timeline: Timeline,
        *,
        keep_alpha: bool,
    ) -> None:
        self._path = path
        self._encoder = encoder
        self._fit = fit
        self._timeline = timeline
        self._keep_alpha = keep_alpha
        self._open = True

    def write(
        self,
        image: NDArray[np.uint8],
        time: Fraction | None = None,
        duration: Fraction | None = None,
    ) -> None:
        """Write one frame.

        Args:
            image: uint8 ``[h, w, 3]`` RGB, or ``[h, w, 4]`` RGBA of which PNG and WebP keep alpha.
                All frames have one shape.
            time: Seconds, such as ``Frame.time``; the first frame is shown at once. None =
                ``1 / fps`` after the one before.
            duration: Seconds it is shown for if no frame follows, such as ``Frame.duration``; None
                = as long as the one before.

        Raises:
            OutputError: When it cannot be written.
            ValueError: When it is no image, or its time is not after that of the one before.
        """
        if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 [h, w, 3 or 4], not {image.dtype} {image.shape}")
        now = self._timeline.add(time, duration)
        with _output_errors(self._path):
            fitted = self._fit(image)
            channels = fitted.shape[2] if self._keep_alpha else 3
            self._encoder.write(np.ascontiguousarray(fitted[..., :channels]), now)

    def close(self, check: Check = bool) -> None:
        """Finish the file; what cannot be finished is deleted.

        Args:
            check: Called now and then; an exception it raises ends the work.

        Raises:
            OutputError: When it cannot be written, or no frame was.
        """
        if not self._open:
            return
        try:
            if not self._timeline.times:
                raise OutputError(f"{self._path}: no frame was written")
            with _output_errors(self._path):
                self._encoder.finish(self._timeline, check)
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Delete what was written."""
        if self._open:
            self._open = False
            self._encoder.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()


class _Video:
    """H.264 in MP4 or VP9 in WebM, 4:2:0."""

    def __init__(
        self,
        path: Path,
        format: Literal["mp4", "webm"],
        *,
        fps: Fraction,
        size: tuple[int, int],
        colours: Tags,
    ) -> None:
        width, height = size
        if format == "mp4":
            width, height = width + width % 2, height + height % 2
        self._padding = ((0, height - size[1]), (0, width - size[0]), (0, 0))
        self._path, self._format = path, format
        self._muxer = Muxer(
            path,
            container=format,
            codec="libx264" if format == "mp4" else "libvpx-vp9",
            size=(width, height),
            pixel_format="yuv420p",
            time_base=1 / fps,
            codec_options=_X264 if format == "mp4" else _VP9,
            container_options={"movflags": "+faststart"} if format == "mp4" else {},
        )
        matrix = colours.matrix if colours.matrix in _MATRIX_NAMES else BT709
        context = self._muxer.stream.codec_context
        context.colorspace, context.color_range = matrix, LIMITED_RANGE
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        tags = f"out_color_matrix={_MATRIX_NAMES[matrix]}:out_range=limited"
        flags = "flags=lanczos+accurate_rnd+full_chroma_inp"
        self._converter = Converter([("scale", f"{tags}:{flags}"), ("format", "yuv420p")])
        self._count = 0

    def write(self, image: Pixels, time: Fraction) -> None:
        frame = VideoFrame.from_ndarray(np.pad(image, self._padding, "edge"), format="rgb24")
        self._muxer.encode(self._converter(frame), self._count, 1)
        self._count += 1

    def finish(self, timeline: Timeline, check: Check) -> None:
        self._muxer.finish()
        # Encoders want to be told the rate before the first frame.
        if not timeline.constant:
            options = self._muxer.container_options
            retime(self._path, self._format, timeline, options)

    def discard(self) -> None:
        self._muxer.discard()


class _PngFolder:
    """A folder of numbered PNG files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = not path.exists()
        self._count = 0
        path.mkdir(exist_ok=True)

    def write(self, image: Pixels, time: Fraction) -> None:
        from imageio.v3 import imwrite  # few outputs need it

        self._count += 1
        # Writing the file too, it would print an error of its own where the disk is full.
        data = imwrite("<bytes>", image, plugin="pillow", extension=".png", compress_level=4)
        self._file(self._count).write_bytes(data)

    def _file(self, number: int) -> Path:
        return self._path / f"frame_{number:06d}.png"

    def finish(self, timeline: Timeline, check: Check) -> None:
        pass

    def discard(self) -> None:
        for number in range(1, self._count + 1):
            self._file(number).unlink(missing_ok=True)
        if self._made:
            with suppress(OSError):
                self._path.rmdir()


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn what the system or FFmpeg says about an output into an ``OutputError``."""
    try:
        yield
    except UnknownCodecError as error:
        raise OutputError(
            f"{path}: this build of FFmpeg has no encoder for it ({error})",
            hint="choose another format",
        ) from error
    except (FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path}: cannot be written ({reason})",
            hint="is there such a folder, with space and permission to write?",
        ) from error
