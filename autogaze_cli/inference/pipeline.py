"""Gaze at frames in memory: a clip, an iterable of frames, packets, or a live stream."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.inference.pixels import rgb_array
from autogaze_cli.inference.settings import (
    ClipSettings,
    PacketSettings,
    PipelineSettings,
    changed_settings,
    new_settings,
)
from autogaze_cli.inference.source import header_of, open_source
from autogaze_cli.inference.stream import AutoGazeStream, Gaze, Stamped
from autogaze_cli.media.times import parse_rate
from autogaze_cli.media.video import Frame
from autogaze_cli.readout import Readout, ReadoutSettings, readout_trace
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace, Trace
from autogaze_cli.visualize.compositor import Composition, Compositor, FrameView, V
from autogaze_cli.visualize.settings import Visualization

if TYPE_CHECKING:
    from autogaze_cli.readout.packet import AutoGazePipelinePacket

T = TypeVar("T")
Rate = Fraction | float | str


class AutoGazePipeline:
    """A gaze source for frames in memory; ``from_hf_dir`` opens one.

    Clips are uint8 ``[t, h, w, 3]``, RGB, or floating-point ``[t, 3, h, w]`` in 0..1, which is
    rounded to 8 bits; arrays, or tensors on any device. Tokens are those of the commands for the
    same frames. All methods may be called from several threads; a model serves one at a time.

    Args:
        source: What gazes, as ``autogaze_cli.inference.open_source`` opens it.

    Attributes:
        source: As given.
    """

    def __init__(self, source: GazeSource) -> None:
        self.source = source

    @classmethod
    def from_hf_dir(
        cls,
        folder_or_name: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        dtype: Literal["float32", "bfloat16"] = "float32",
        **settings: Unpack[PipelineSettings],
    ) -> Self:
        """Open a pipeline, loading its model.

        Args:
            folder_or_name: A folder with a checkpoint, a bundled model's name, or a Hub id that is
                in the local cache; None = the bundled default model.
            device: ``cpu``, ``cuda``, ``cuda:N``, ``cuda:all``, ``mps`` or ``auto``.
            dtype: Model precision; tokens are exact in ``float32``.
            **settings: Those of the command line by their long names, with its defaults; see
                ``autogaze_cli.gaze.settings.GazeSettings``. ``mask_source="patch-diff"`` loads no
                model, and runs without PyTorch.

        Raises:
            ModelError: The model is missing or not a checkpoint.
            DeviceError: This machine has no such device.
            ConfigError: A setting is unknown or out of range.
        """
        return cls(open_source(new_settings(folder_or_name, device, dtype, settings)))

    def trace_clip(
        self,
        frames: Any,
        *,
        fps: Rate = 25,
        name: str = "memory",
        progress: bool = False,
        **settings: Unpack[ClipSettings],
    ) -> Trace:
        """Gaze at a clip; a model takes it in clips of ``clip_len`` frames.

        Args:
            frames: The clip; see the class.
            fps: Frames per second.
            name: The trace's name of its video.
            progress: Whether to show a progress bar.
            **settings: Settings of this call alone.

        Raises:
            ConfigError: The frames have another form, or a setting is invalid.
        """
        clip, source, rate = self._pixels(frames, 4), self._source(settings), _rate(fps)
        gazes = [gaze for _, gaze in self._traced(source, clip, rate, len(clip), progress)]
        height, width = clip.shape[1:3]
        sampling = {"start": "0", "frames": len(clip), "fps": None}
        size = (width, height)
        header = header_of(source, name=name, size=size, fps=rate, settings=sampling)
        return Trace.from_frames(header, gazes)

    def trace_rgba_clip(
        self,
        rgba: bytes | bytearray | memoryview | NDArray[np.uint8],
        frames: int,
        width: int,
        height: int,
        *,
        fps: Rate = 25,
        name: str = "memory",
        progress: bool = False,
        **settings: Unpack[ClipSettings],
    ) -> Trace:
        """Gaze at packed RGBA frames, row by row, frame after frame; alpha is ignored.

        Args:
            rgba: ``frames * height * width * 4`` bytes.
            frames: Number of frames.
            width: Width of a frame in pixels.
            height: Height of a frame in pixels.
            fps: As for ``trace_clip``, as are the other arguments.
            name: As for ``trace_clip``.
            progress: As for ``trace_clip``.
            **settings: As for ``trace_clip``.

        Raises:
            ConfigError: The number of bytes is another, a size is 0, or a setting is invalid.
        """
        if min(frames, width, height) < 1:
            raise ConfigError(f"{frames} frames of {width} x {height} pixels have no pixels")
        is_bytes = not isinstance(rgba, np.ndarray)
        values = np.frombuffer(rgba, np.uint8) if is_bytes else np.asarray(rgba)
        expected = frames * height * width * 4
        if values.dtype != np.uint8 or values.size != expected:
            raise ConfigError(
                f"{frames} frames of {width} x {height} pixels are {expected} bytes of RGBA, "
                f"not {values.size} values of {values.dtype}"
            )
        rgb = np.ascontiguousarray(values.reshape(frames, height, width, 4)[..., :3])
        return self.trace_clip(rgb, fps=fps, name=name, progress=progress, **settings)

    def trace_frames(
        self,
        frames: Iterable[T],
        *,
        fps: Rate = 25,
        progress: bool = False,
        **settings: Unpack[ClipSettings],
    ) -> Iterator[tuple[T, FrameTrace]]:
        """Gaze at any number of frames of one size, in constant memory.

        Args:
            frames: uint8 ``[h, w, 3]`` or floating-point ``[3, h, w]`` each. A frame must not be
                overwritten before it is yielded: a model reads ``clip_len`` frames ahead, except
                with ``horizon_frames``.
            fps: Frames per second.
            progress: Whether to show a progress bar.
            **settings: Settings of this call alone.

        Yields:
            Every frame, as it was given, and its gaze, in order.

        Raises:
            ConfigError: A frame has another form or size, or a setting is invalid.
        """
        total = len(frames) if isinstance(frames, Sized) else None
        return self._traced(self._source(settings), frames, _rate(fps), total, progress)

    def readout(self, trace: Trace, settings: ReadoutSettings | None = None) -> Readout:
        """The rectangles, tokens and coordinates of a trace; see ``readout_trace``."""
        return readout_trace(trace, settings or ReadoutSettings())

    def compose(
        self,
        gazed: Iterable[tuple[Any, FrameTrace]],
        settings: Visualization | None = None,
        *,
        progress: bool = False,
    ) -> Iterator[FrameView]:
        """Draw gazed frames: mask, output, ratios and PSNR of each.

        Args:
            gazed: Frames with their gaze: what ``trace_frames`` yields, or ``zip(clip, trace)``.
            settings: How to draw; None = ``Visualization()``.
            progress: Whether to show a progress bar.

        Yields:
            The composed frames, in order.
        """
        return self._composed(Compositor(settings or Visualization()), gazed, progress)

    def packet(
        self, clips: Any, *, fps: Rate = 25, **settings: Unpack[PacketSettings]
    ) -> AutoGazePipelinePacket:
        """Gaze at a clip, or at a batch of clips, and keep what is asked for.

        Args:
            clips: A clip of at most ``clip_len`` frames (see the class), or a batch of them,
                ``[b, t, ...]``. Clips never influence each other.
            fps: Frames per second.
            **settings: Settings of this call alone, and the ``emit_...`` switches.

        Raises:
            ConfigError: The clips have another form or are too long, a setting is invalid, or
                ``emit_generated`` is not possible.
        """
        from autogaze_cli.inference.packets import Emit, make_packet

        emit, others = Emit.split(settings)
        source, rate = self._source(others), _rate(fps)
        emit.check(source)
        batch = self._pixels(clips, 5) if np.ndim(clips) == 5 else self._pixels(clips, 4)[None]
        length, longest = batch.shape[1], source.settings.clip_len
        if length > longest and not source.settings.horizon_frames:
            raise ConfigError(
                f"a packet is one clip of at most {longest} frames, not {length}",
                hint="give fewer frames, or a larger clip_len",
            )
        return make_packet(source, batch, [(t, t / rate) for t in range(length)], emit)

    def stream(self, *, fps: Rate = 25, **settings: Unpack[PacketSettings]) -> AutoGazeStream:
        """Open a node that is fed one frame at a time, and gazes at the newest.

        In mode ``resize`` a model sees each frame with the ``horizon_frames`` (or else
        ``clip_len``) last frames that it gazed at. Patch-diff sees the last two frames, and a
        model in a tiled mode, or another source, the last ``clip_len``; there is no packet before
        as many were pushed.

        Args:
            fps: Frames per second, for the times of frames.
            **settings: Settings of this stream alone, and the ``emit_...`` switches.

        Raises:
            ConfigError: A setting is invalid, or ``emit_generated`` is not possible.
        """
        from autogaze_cli.inference.packets import Emit, make_packet
        from autogaze_cli.sources.model import AutoGazeSource

        emit, others = Emit.split(settings)
        source = self._source(others)
        emit.check(source)
        own = source.settings
        rolling = isinstance(source, AutoGazeSource) and own.mode == "resize"
        window = 1 if rolling else 2 if own.mask_source == "patch-diff" else own.clip_len

        def start() -> Gaze:
            state = None
            if isinstance(source, AutoGazeSource) and rolling:
                horizon = own.horizon_frames or own.clip_len
                state = source.new_state(horizon)

            def gaze(frames: list[Stamped]) -> AutoGazePipelinePacket:
                clip = self._stacked([pixels for _, _, pixels in frames])
                stamps = [(index, time) for index, time, _ in frames]
                return make_packet(source, clip[None], stamps, emit, state)

            return gaze

        return AutoGazeStream(start, window, self._copied, _rate(fps))

    def _source(self, given: Mapping[str, Any]) -> GazeSource:
        if not given:
            return self.source
        return self.source.with_settings(changed_settings(self.source.settings, given))

    def _traced(
        self,
        source: GazeSource,
        frames: Iterable[T],
        fps: Fraction,
        total: int | None,
        progress: bool,
    ) -> Iterator[tuple[T, FrameTrace]]:
        waiting: deque[T] = deque()

        def stamped() -> Iterator[Stamped]:
            shape = None
            for index, frame in enumerate(frames):
                pixels = self._pixels(frame, 3)
                if pixels.shape != (shape := shape or pixels.shape):
                    sizes = [f"{width} x {height}" for height, width, _ in (pixels.shape, shape)]
                    raise ConfigError(
                        f"frame {index} is {sizes[0]} pixels, those before are {sizes[1]}",
                        hint="start anew, or use stream(), which does",
                    )
                waiting.append(frame)
                yield index, index / fps, pixels

        with _progress("gaze", total, progress) as advance:
            for gaze in self._gazed(source, stamped(), advance):
                yield waiting.popleft(), gaze
                advance(gaze.index + 1)

    def _composed(
        self,
        compositor: Composition[Any, V],
        gazed: Iterable[tuple[Any, FrameTrace]],
        progress: bool,
    ) -> Iterator[V]:
        with _progress("compose", None, progress) as advance:
            for done, (frame, gaze) in enumerate(gazed, 1):
                yield compositor.step(self._pixels(frame, 3), gaze.fixations)
                advance(done)

    def _gazed(
        self, source: GazeSource, frames: Iterable[Stamped], on_gazed: OnGazed
    ) -> Iterator[FrameTrace]:
        stream = (Frame(*stamped) for stamped in frames)
        return (gaze for _, gaze in source.trace(stream, on_gazed))

    def _pixels(self, frames: Any, dimensions: int) -> Any:
        return rgb_array(frames, dimensions)

    def _copied(self, frame: Any) -> Any:
        return self._pixels(frame, 3).copy()

    def _stacked(self, frames: list[Any]) -> Any:
        return np.stack(frames)


def _rate(fps: Rate) -> Fraction:
    try:
        return parse_rate(fps)
    except ConfigError as error:
        raise ConfigError(f"fps {error}") from error


@contextmanager
def _progress(what: str, total: int | None, shown: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar, also in notebooks; yields what is to be called with the frames done."""
    if not shown:
        yield lambda done: None
        return
    from tqdm.auto import tqdm

    with tqdm(desc=what, total=total, unit="frame") as bar:
        yield lambda done: bar.update(max(int(done), bar.n) - bar.n)
