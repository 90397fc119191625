"""The gaze source that runs a model, clip by clip or on one stream."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import cycle, islice
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.errors import is_out_of_memory
from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.budget import Budget, BudgetRequest
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import ALL_GPUS, GazeSettings
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import ScaleLayout, frame_tokens, parse_scales
from autogaze_cli.media.video import Frame
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.output import GazeOutput, GazeState
from autogaze_cli.model.preprocess import cut_tiles
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace

Stamp = tuple[int, Fraction]
"""A frame's number, and its time in seconds."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class AutoGazeSource(GazeSource):
    """Gazes with a model: at independent clips, or at one stream, frame by frame.

    Attributes:
        autogaze: The model.
        token_layout: How its ids are shared out among scales: the model's, or the target's.
        replicas: Sources on the other GPUs, with ``--device cuda:all``.
    """

    mask_source = "autogaze"

    def __init__(self, settings: GazeSettings, autogaze: AutoGaze | None = None) -> None:
        super().__init__(settings)
        assert settings.model is not None  # GazeSettings has seen to it
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.autogaze = autogaze or load_model(settings.model, settings.device, settings.dtype)
        self._in_use = Lock()  # a model decodes one batch at a time, whichever thread calls
        config = self.autogaze.config
        self.model = settings.model
        self.model_sha256 = self.autogaze.sha256
        self.scales = config.scales
        self.num_vision_tokens_each_frame = config.num_vision_tokens_each_frame
        self.token_layout, self._target = config.layout, _target_of(settings, config.layout)
        if self._target is not None:
            self.token_layout = self._target.target
            self.scales = "+".join(map(str, self.token_layout.scales))
            self.num_vision_tokens_each_frame = self.token_layout.num_tokens
        self.device = str(self.autogaze.device)
        cap = settings.max_gaze_tokens_each_frame
        if cap is None and settings.gazing_ratio is None:
            # Unlike in ``generate``, a requirement alone does not lift the model's own cap.
            cap = config.default_budget
        asked = BudgetRequest(
            max_gaze_tokens_each_frame=cap,
            gazing_ratio=settings.gazing_ratio,
            task_loss_requirement=settings.task_loss_requirement,
            top_k=settings.top_k,
        )
        self._budget = Budget.resolve(config, asked)
        (self.max_gaze_tokens_each_frame,) = Budget.resolve(
            config, replace(asked, top_k=1)
        ).each_frame(1)
        # Without a threshold a frame's gaze ends at its budget, never before.
        self.task_loss_requirement = None if settings.exact else self._budget.task_loss_requirement
        self._tile_batch_size = settings.tile_batch_size
        self.replicas: list[AutoGazeSource] = []
        if settings.device == ALL_GPUS:
            others = range(1, torch.cuda.device_count())
            self.replicas = [AutoGazeSource(replace(settings, device=f"cuda:{n}")) for n in others]

    def with_settings(self, settings: GazeSettings) -> AutoGazeSource:
        """See ``GazeSource.with_settings``."""
        device = self.device if settings.device == ALL_GPUS else settings.device
        other = AutoGazeSource(replace(settings, device=device), self.autogaze)
        other._in_use = self._in_use
        other.replicas = [replica.with_settings(settings) for replica in self.replicas]
        return other

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """See ``GazeSource.trace``."""
        if self.settings.horizon_frames is not None:
            yield from self._trace_stream(frames, self.settings.horizon_frames)
            return
        clips, done = clips_of(frames, self.settings.clip_len), 0
        if self.replicas:
            yield from self._trace_replicated(clips)
            return
        for clip in clips:
            yield from zip(clip, self._trace_clip(clip, done, on_gazed), strict=True)
            done += len(clip)

    def _trace_replicated(self, clips: Iterable[list[Frame]]) -> Iterator[tuple[Frame, FrameTrace]]:
        """Clips in turn to this source and its replicas, one thread and one clip each."""
        sources = (self, *self.replicas)
        waiting: deque[tuple[list[Frame], Future[list[FrameTrace]]]] = deque()
        with ExitStack() as stack:
            threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in sources]
            try:
                for clip, source, thread in zip(clips, cycle(sources), cycle(threads)):
                    waiting.append((clip, thread.submit(source._whole_clip, clip)))
                    if len(waiting) == len(sources):
                        gazed, traces = waiting.popleft()
                        yield from zip(gazed, traces.result(), strict=True)
                for gazed, traces in waiting:
                    yield from zip(gazed, traces.result(), strict=True)
            finally:
                for _, traces in waiting:
                    traces.cancel()

    def _whole_clip(self, clip: list[Frame]) -> list[FrameTrace]:
        return list(self._trace_clip(clip, 0, None))

    def _trace_clip(
        self, clip: list[Frame], done: int, on_gazed: OnGazed | None
    ) -> Iterator[FrameTrace]:
        rgb = np.stack([frame.rgb for frame in clip])
        on_part = (lambda part: on_gazed(done + part)) if on_gazed else None
        return self.gaze_clip(rgb, [(frame.index, frame.time) for frame in clip], on_part)

    def _trace_stream(
        self, frames: Iterable[Frame], horizon_frames: int
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """One stream without end: each frame costs the same, and so does the memory.

        Source: inference spec 7.2.
        """
        state = self.new_state(horizon_frames)
        for frame in frames:
            (gaze,) = self.gaze_clip(frame.rgb[None], [(frame.index, frame.time)], state=state)
            yield frame, gaze

    def new_state(self, horizon_frames: int, clips: int = 1) -> GazeState:
        """Start streams that remember that many frames, for ``gaze_clip`` and ``generate``."""
        tiles = 1 if self._target is None else self._target.tiles**2
        return self.autogaze.new_state(clips * tiles, horizon_frames=horizon_frames)

    def gaze_clip(
        self,
        rgb: NDArray[np.uint8] | Tensor,
        stamps: Sequence[Stamp],
        on_gazed: OnGazed | None = None,
        state: GazeState | None = None,
    ) -> Iterator[FrameTrace]:
        """Gaze at one clip.

        Args:
            rgb: uint8 ``[t, h, w, 3]``, an array, or a tensor on any device.
            stamps: Index and time of each frame.
            on_gazed: Progress callback.
            state: Memory of the stream that the clip continues (mode ``resize`` only).
        """
        height, width = rgb.shape[1:3]
        layout = self.layout(width, height)
        outputs: list[GazeOutput] = []
        for tiles, output in self._gaze_at_tiles(rgb, layout, state):
            outputs.append(output)
            if on_gazed:
                on_gazed(len(rgb) * tiles.stop / len(layout))
        for t, stamp in enumerate(stamps):
            yield self.frame_trace(outputs, t, layout, stamp)

    def frame_trace(
        self, outputs: Sequence[GazeOutput], t: int, layout: TileLayout, stamp: Stamp
    ) -> FrameTrace:
        """The gaze at one frame, the ``t``-th of the outputs of its tiles."""
        parts, first = [], 0
        for output in outputs:
            parts.append(self._fixations(output, t, first))
            first += len(output.gazing_pos)
        counts = np.concatenate([output.num_gazing_each_row[:, t] for output in outputs])
        fixations = Fixations.concatenate(parts)
        if layout.mode == "resize":  # tiles are cut from whole frames, which nothing crops
            seen = self.autogaze.preprocessing.seen(layout.height, layout.width)
            fixations = fixations.of_whole(*seen)
        return FrameTrace(
            *stamp,
            fixations=layout.merge(fixations),
            stop_probability=float(len(fixations) < counts.sum()),
            num_gazing=counts.astype(np.int32),
        )

    def _gaze_at_tiles(
        self, rgb: NDArray[np.uint8] | Tensor, layout: TileLayout, state: GazeState | None
    ) -> Iterator[tuple[range, GazeOutput]]:
        """The gaze at the tiles of a clip, ``tile_batch_size`` at a time, fewer if memory is short.

        Outputs do not depend on how many are gazed at together.
        """
        if layout.mode == "resize":
            yield range(1), self.generate(self.preprocess(rgb), state)
            return
        frames, start = torch.as_tensor(rgb).to(self.autogaze.device), 0
        while start < len(layout):
            tiles = range(start, min(start + self._tile_batch_size, len(layout)))
            output = self._gaze_if_room(frames, layout, tiles)
            if output is None:
                self._take_smaller_batches(len(tiles))
            else:
                yield tiles, output
                start = tiles.stop

    def _gaze_if_room(self, frames: Tensor, layout: TileLayout, tiles: range) -> GazeOutput | None:
        """The gaze at some tiles; None if there is no memory for them, but may be for fewer.

        What was allocated is free again once this has returned, and the error with it.
        """
        p = self.autogaze.preprocessing
        try:
            return self.generate(cut_tiles(frames, layout, tiles, mean=p.mean, std=p.std))
        except (MemoryError, RuntimeError) as error:
            if len(tiles) == 1 or not is_out_of_memory(error):
                raise
        return None

    def _take_smaller_batches(self, tiles: int) -> None:
        """From now on, gaze at half as many tiles at a time."""
        self._tile_batch_size = tiles // 2
        if self.autogaze.device.type == "cuda":
            torch.cuda.empty_cache()  # its pieces are of the larger batch's sizes
        logger.warning(
            "no memory for %d tiles at a time: taking %d; results are the same",
            tiles,
            self._tile_batch_size,
        )

    def preprocess(self, rgb: NDArray[np.uint8] | Tensor) -> Tensor:
        """Model input of whole frames, uint8 ``[t, h, w, 3]`` or ``[b, t, h, w, 3]``."""
        side = None if self._target is None else (self._target.size, self._target.size)
        return self.autogaze.preprocess(rgb, size=side)

    def generate(self, tiles: Tensor, state: GazeState | None = None) -> GazeOutput:
        """Gaze at model input under this source's budget; ``state`` is that of a stream."""
        (tokens,) = self._budget.each_frame(1)
        with self._in_use:
            return self.autogaze.generate(
                tiles,
                max_gaze_tokens_each_frame=tokens,
                task_loss_requirement=self.task_loss_requirement,
                coverage_ratio=self.settings.coverage_ratio,
                target_scales=None if self._target is None else self.token_layout.scales,
                target_patch_size=None if self._target is None else self._target.patch,
                state=state,
            )

    def _fixations(self, output: GazeOutput, t: int, first_tile: int) -> Fixations:
        """The fixations of all tiles of ``output`` in frame ``t``, in tile coordinates."""
        layout = self.token_layout
        counts = output.num_gazing_each_frame.tolist()
        at = frame_tokens(counts, t)
        tile, slot = np.nonzero(~output.if_padded_gazing[:, at].numpy())
        return layout.fixations(
            layout.frame_ids(output.gazing_pos, counts, t)[tile, slot],
            output.confidences[:, at].numpy()[tile, slot],
            slot=slot,
            tile=first_tile + tile,
        )


def _target_of(settings: GazeSettings, model: ScaleLayout) -> AdaptLayout | None:
    """The layout of the settings' target scales; None for the model's own scales."""
    if settings.target_scales is None or settings.target_patch_size is None:
        return None
    scales = parse_scales(settings.target_scales)
    return AdaptLayout.from_config(model, scales, settings.target_patch_size)


def clips_of(frames: Iterable[T], clip_len: int) -> Iterator[list[T]]:
    """Frames in clips; they never look ahead, so a short last one needs no repeated frames."""
    frames = iter(frames)
    while clip := list(islice(frames, clip_len)):
        yield clip
