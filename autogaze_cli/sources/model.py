"""The gaze source that runs a model, clip by clip or on one stream."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from autogaze_cli.errors import is_out_of_memory
from autogaze_cli.gaze.budget import Budget, BudgetRequest
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import ALL_GPUS, GazeSettings, MaskSource
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import frame_tokens
from autogaze_cli.media.video import Frame
from autogaze_cli.model.autogaze import load_model
from autogaze_cli.model.output import GazeOutput, GazeState
from autogaze_cli.model.preprocess import cut_tiles
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace

logger = logging.getLogger(__name__)


class AutoGazeSource(GazeSource):
    """Gazes with a model: at independent clips, or at one stream, frame by frame.

    Attributes:
        autogaze: The model.
        replicas: Sources on the other GPUs, with ``--device cuda:all``.
    """

    mask_source: MaskSource = "autogaze"

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        assert settings.model is not None  # GazeSettings has seen to it
        self.autogaze = load_model(settings.model, settings.device, settings.dtype)
        config = self.autogaze.config
        self.model = settings.model
        self.model_sha256 = self.autogaze.sha256
        self.scales = config.scales
        self.num_vision_tokens_each_frame = config.num_vision_tokens_each_frame
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
        self.task_loss_requirement = self._budget.task_loss_requirement
        self._tile_batch_size = settings.tile_batch_size
        self.replicas: list[AutoGazeSource] = []
        if settings.device == ALL_GPUS:
            others = range(1, torch.cuda.device_count())
            self.replicas = [AutoGazeSource(replace(settings, device=f"cuda:{n}")) for n in others]

    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """See ``GazeSource.trace``."""
        if self.settings.horizon_frames is not None:
            yield from self._trace_stream(frames, self.settings.horizon_frames)
            return
        clips, done = _clips(frames, self.settings.clip_len), 0
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
        height, width = clip[0].rgb.shape[:2]
        layout = self.layout(width, height)
        outputs: list[GazeOutput] = []
        for tiles, output in self._gaze_at_tiles(clip, layout):
            outputs.append(output)
            if on_gazed:
                on_gazed(done + len(clip) * tiles.stop / len(layout))
        for t, frame in enumerate(clip):
            yield self._frame_trace(frame, t, outputs, layout)

    def _trace_stream(
        self, frames: Iterable[Frame], horizon_frames: int
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """One stream without end: each frame costs the same, and so does the memory.

        Source: inference spec 7.2.
        """
        state = self.autogaze.new_state(horizon_frames=horizon_frames)
        for frame in frames:
            height, width = frame.rgb.shape[:2]
            output = self.generate(self.autogaze.preprocess(frame.rgb[None]), state)
            yield frame, self._frame_trace(frame, 0, [output], self.layout(width, height))

    def _frame_trace(
        self, frame: Frame, t: int, outputs: list[GazeOutput], layout: TileLayout
    ) -> FrameTrace:
        """The gaze at one frame, the ``t``-th of the outputs of its tiles."""
        parts, first = [], 0
        for output in outputs:
            parts.append(self._fixations(output, t, first))
            first += len(output.gazing_pos)
        counts = np.concatenate([output.num_gazing_each_row[:, t] for output in outputs])
        fixations = Fixations.concatenate(parts)
        return FrameTrace(
            index=frame.index,
            time=frame.time,
            fixations=layout.merge(fixations),
            stop_probability=float(len(fixations) < counts.sum()),
            num_gazing=counts.astype(np.int32),
        )

    def _gaze_at_tiles(
        self, clip: list[Frame], layout: TileLayout
    ) -> Iterator[tuple[range, GazeOutput]]:
        """The gaze at the tiles of a clip, ``tile_batch_size`` at a time, fewer if memory is short.

        Outputs do not depend on how many are gazed at together.
        """
        rgb = np.stack([frame.rgb for frame in clip])
        if layout.mode == "resize":
            yield range(1), self.generate(self.autogaze.preprocess(rgb))
            return
        frames, start = torch.from_numpy(rgb).to(self.autogaze.device), 0
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

    def generate(self, tiles: Tensor, state: GazeState | None = None) -> GazeOutput:
        """Gaze at model input under this source's budget; ``state`` is that of a stream."""
        (tokens,) = self._budget.each_frame(1)
        return self.autogaze.generate(
            tiles,
            max_gaze_tokens_each_frame=tokens,
            task_loss_requirement=self.task_loss_requirement,
            state=state,
        )

    def _fixations(self, output: GazeOutput, t: int, first_tile: int) -> Fixations:
        """The fixations of all tiles of ``output`` in frame ``t``, in tile coordinates."""
        layout = self.autogaze.config.layout
        counts = output.num_gazing_each_frame.tolist()
        at = frame_tokens(counts, t)
        tile, slot = np.nonzero(~output.if_padded_gazing[:, at].numpy())
        return layout.fixations(
            layout.frame_ids(output.gazing_pos, counts, t)[tile, slot],
            output.confidences[:, at].numpy()[tile, slot],
            slot=slot,
            tile=first_tile + tile,
        )


def _clips(frames: Iterable[Frame], clip_len: int) -> Iterator[list[Frame]]:
    """Frames in clips; they never look ahead, so a short last one needs no repeated frames."""
    frames = iter(frames)
    while clip := list(islice(frames, clip_len)):
        yield clip
