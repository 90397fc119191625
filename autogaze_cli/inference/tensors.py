"""Gaze at frames that are tensors on a GPU, without reading their pixels back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from autogaze_cli.errors import ConfigError
from autogaze_cli.inference.pipeline import AutoGazePipeline
from autogaze_cli.inference.pixels import is_tensor, rgb_array, rgb_tensor
from autogaze_cli.inference.stream import Stamped
from autogaze_cli.sources.model import AutoGazeSource, clips_of
from autogaze_cli.sources.source import GazeSource, OnGazed
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.settings import Visualization
from autogaze_cli.visualize.tensor import TensorCompositor, TensorView


class AutoGazeTensorPipeline(AutoGazePipeline):
    """An ``AutoGazePipeline`` whose frames are tensors that stay on their device.

    A model's frames are copied to its device if they are elsewhere, and resized and normalised
    there, to the same bytes as on a CPU; patch-diff compares frames where they are. Tokens are all
    that is read back. Packets hold clips, masks and pyramids on that device, and composed frames
    are on it too.

    Raises:
        ConfigError: The source is neither a model nor patch-diff.
    """

    def __init__(self, source: GazeSource) -> None:
        super().__init__(source)
        if source.mask_source not in ("autogaze", "patch-diff"):
            raise ConfigError(
                f"tensors are not for mask_source {source.mask_source}, which reads arrays",
                hint="use AutoGazePipeline",
            )

    def compose(  # type: ignore[override]  # the pictures are tensors
        self,
        gazed: Iterable[tuple[Any, FrameTrace]],
        settings: Visualization | None = None,
        *,
        progress: bool = False,
    ) -> Iterator[TensorView]:
        """See ``AutoGazePipeline.compose``; the bytes are the same."""
        return self._composed(TensorCompositor(settings or Visualization()), gazed, progress)

    def _gazed(
        self, source: GazeSource, frames: Iterable[Stamped], on_gazed: OnGazed
    ) -> Iterator[FrameTrace]:
        if not isinstance(source, AutoGazeSource):
            yield from super()._gazed(source, frames, on_gazed)
            return
        state, clip_len, done = None, source.settings.clip_len, 0
        if source.settings.horizon_frames is not None:
            state = source.new_state(source.settings.horizon_frames)
            clip_len = 1
        for clip in clips_of(frames, clip_len):
            rgb = self._stacked([pixels for _, _, pixels in clip])
            stamps = [(index, time) for index, time, _ in clip]
            yield from source.gaze_clip(rgb, stamps, partial(_tell, on_gazed, done), state)
            done += len(clip)

    def _pixels(self, frames: Any, dimensions: int) -> Tensor:
        if not is_tensor(frames):
            frames = torch.from_numpy(rgb_array(frames, dimensions))
        if isinstance(self.source, AutoGazeSource):
            frames = frames.to(self.source.autogaze.device)
        return rgb_tensor(frames, dimensions)

    def _copied(self, frame: Any) -> Tensor:
        return self._pixels(frame, 3).clone()

    def _stacked(self, frames: list[Any]) -> Tensor:
        return torch.stack(frames)


def _tell(on_gazed: OnGazed, done: int, part: float) -> None:
    on_gazed(done + part)
