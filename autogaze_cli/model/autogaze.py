"""The public face of a model: ``load_model`` and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import EllipsisType
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.errors import ConfigError, DeviceError
from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.budget import Budget, coverage_budget
from autogaze_cli.model.catalog import WEIGHTS, sha256_of
from autogaze_cli.model.checkpoint import Preprocessing, find_checkpoint, read_network
from autogaze_cli.model.choose import FrameGaze
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.decode import Decoder, RowState
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.preprocess import cut_square_tiles, normalise, resize_shortest, square
from autogaze_cli.model.rolling import move_back
from autogaze_cli.model.score import GazeScores, score_gaze

if TYPE_CHECKING:
    from autogaze_cli.model.cuda import CudaDecoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GazeOutput:
    """The gaze of ``b`` clips of ``t`` frames, in upstream's names and shapes.

    Rows are decoded independently; where they gaze unequally often, the shorter are padded.

    Attributes:
        gazing_pos: Ids in order of choice, frame after frame, offset by ``N * frame`` within the
            call, ``int64 [b, n]``. A padded slot holds ``N * (frame + 1)``, so consult the next.
        if_padded_gazing: True for padded slots, ``bool [b, n]``.
        num_gazing_each_frame: Slots a frame, common to the rows, ``int64 [t]``.
        gazing_masks: A tensor a scale, coarse first, ``uint8 [b, t, cells]``: 1 = gazed.
        confidences: Share of the chosen id among those still allowed, 0 for padded slots,
            ``float32 [b, n]``.
        num_gazing_each_row: Slots each row needed by itself, ``int64 [b, t]``.
        scales: The model's scales, ascending.
        num_vision_tokens_each_frame: Ids a frame, ``N``.
    """

    gazing_pos: Tensor
    if_padded_gazing: Tensor
    num_gazing_each_frame: Tensor
    gazing_masks: list[Tensor]
    confidences: Tensor
    num_gazing_each_row: Tensor
    scales: tuple[int, ...]
    num_vision_tokens_each_frame: int


@dataclass(slots=True)
class GazeState:
    """A stream's memory between calls of ``generate``.

    Attributes:
        rows: Decoder caches, one a row.
        conv: Last frames seen by each convolution block; None before the first frame.
        horizon_frames: Frames a query sees, the present one included; None = all.
    """

    rows: list[RowState]
    conv: list[Tensor] | None = None
    horizon_frames: int | None = field(default=None)


class AutoGaze:
    """A loaded model.

    Attributes:
        config: Sizes and defaults of the checkpoint.
        preprocessing: How frames become model input.
        network: The modules, with the published ``state_dict`` keys.
        name: The name or folder it was loaded by.
        sha256: Of the weights file, hexadecimal.
    """

    def __init__(
        self,
        network: AutoGazeNetwork,
        config: GazeConfig,
        preprocessing: Preprocessing,
        *,
        name: str = "",
        sha256: str = "",
    ) -> None:
        self.network, self.config, self.preprocessing = network, config, preprocessing
        self.name, self.sha256 = name, sha256
        self._decoder = Decoder(network.gazing_model.gaze_decoder, config)
        self._gpu: CudaDecoder | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._decoder.embed.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and of the arithmetic."""
        return self._decoder.embed.dtype

    def preprocess(
        self,
        frames: NDArray[np.uint8] | Tensor,
        *,
        size: dict[str, int] | tuple[int, int] | None = None,
    ) -> Tensor:
        """Resize and normalise RGB frames as the published processor does.

        Args:
            frames: ``uint8 [t, h, w, 3]`` or ``[b, t, h, w, 3]``, RGB.
            size: ``{"shortest_edge": n}`` or ``(height, width)``; None = the checkpoint's.

        Returns:
            ``float32 [b, t, 3, h', w']`` on the model's device.

        Source: inference spec 2.1.
        """
        array = np.asarray(frames)
        if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-1] != 3:
            raise ConfigError(
                "frames must be uint8 [t, h, w, 3] or [b, t, h, w, 3], "
                f"not {array.dtype} {list(array.shape)}"
            )
        if array.ndim == 4:
            array = array[None]
        p = self.preprocessing
        resized = np.stack([resize_shortest(clip, size or p.size) for clip in array])
        return normalise(torch.from_numpy(resized).to(self.device), p.mean, p.std)

    def new_state(self, batch: int = 1, *, horizon_frames: int | None = None) -> GazeState:
        """Start ``batch`` streams to be gazed at frame by frame.

        Args:
            batch: Streams that advance together.
            horizon_frames: Frames each query sees, the present one included; the oldest are
                forgotten, so that memory and time a frame stay constant. None = all.
        """
        if horizon_frames is not None and horizon_frames < 1:
            raise ConfigError(f"horizon_frames must be at least 1, not {horizon_frames}")
        return GazeState(self._decoder.new_rows(batch, 0), horizon_frames=horizon_frames)

    @torch.inference_mode()
    def generate(
        self,
        video: Tensor,
        *,
        max_gaze_tokens_each_frame: int | Sequence[int] | None = None,
        gazing_ratio: float | Sequence[float] | None = None,
        task_loss_requirement: float | EllipsisType | None = ...,
        coverage_ratio: float | None = None,
        target_scales: Sequence[int] | None = None,
        target_patch_size: int | None = None,
        state: GazeState | None = None,
    ) -> GazeOutput:
        """Gaze at clips.

        Args:
            video: Normalised frames ``float32 [b, t, 3, h, w]``, as ``preprocess`` returns them;
                resized to the model's square by bicubic interpolation.
            max_gaze_tokens_each_frame: Token budget, one number or one a frame.
            gazing_ratio: The budget as a share of all tokens, one number or one a frame.
            task_loss_requirement: Stop gazing at a frame when the predicted loss is at most this.
                None = never. Left out: never when a ratio is given, else the model's own.
            coverage_ratio: Also stop when this share of the frame is covered.
            target_scales: Scales of a larger square video that is cut into tiles, and joined again.
            target_patch_size: Patch side in pixels of the finest of those scales.
            state: Memory of a stream from ``new_state``, advanced in place. Ids count from 0 in
                every call.

        Returns:
            The gaze.

        Source: inference spec 3, 4, 8.
        """
        if video.ndim != 5 or video.shape[2] != 3 or not all(video.shape):
            raise ConfigError(f"video must be [b, t, 3, h, w], not {list(video.shape)}")
        requirement: float | Literal["model"] | None = (
            "model" if isinstance(task_loss_requirement, EllipsisType) else task_loss_requirement
        )
        budget = Budget.resolve(
            num_tokens=self.config.num_vision_tokens_each_frame,
            num_multi_token_pred=self.config.num_multi_token_pred,
            model_gazing_ratio=self.config.gazing_ratio,
            model_task_loss_requirement=self.config.task_loss_requirement,
            max_gaze_tokens_each_frame=max_gaze_tokens_each_frame,
            gazing_ratio=gazing_ratio,
            task_loss_requirement=requirement,
        )
        adapt = None
        if target_scales is not None and target_patch_size is not None:
            adapt = AdaptLayout.from_config(self.config.layout, target_scales, target_patch_size)
        if adapt is not None and state is not None:
            raise ConfigError("a stream's state cannot be used with target_scales")
        with _current(self.device):
            if adapt is None:
                return self._output(self._decode(video, budget, coverage_ratio, state))
            tiles = self._decode(cut_square_tiles(video, adapt), budget, coverage_ratio, None)
        return self._joined(self._output(tiles), adapt)

    def _decode(
        self, video: Tensor, budget: Budget, coverage: float | None, state: GazeState | None
    ) -> list[FrameGaze]:
        """Every frame's gaze."""
        tokens = budget.each_frame(video.shape[1] // self.config.temporal_patch_size)
        video = square(video.to(self.device), self.config.input_img_size).to(self.dtype)
        if state is None and coverage is None and (gpu := self._gpu_decoder(len(video), tokens)):
            embedded, _ = self.network.gazing_model.embed_video(video, None)
            return gpu.clip(embedded, tokens, budget.task_loss_requirement)
        if state is None:
            state = GazeState(self._decoder.new_rows(len(video), self._slots(budget, tokens)))
        if len(state.rows) != len(video):
            raise ConfigError(f"the state has {len(state.rows)} streams, the video {len(video)}")
        if state.horizon_frames is not None:
            move_back(state.rows, self._decoder.frequencies)
        embedded, state.conv = self.network.gazing_model.embed_video(video, state.conv)
        return [
            self._decoder.frame(
                state.rows,
                embedded[:, t],
                coverage_budget(n, coverage, self.config.layout, self.config.num_multi_token_pred),
                budget.task_loss_requirement,
                coverage,
                state.horizon_frames,
            )
            for t, n in enumerate(tokens)
        ]

    def _gpu_decoder(self, rows: int, tokens: tuple[int, ...]) -> CudaDecoder | None:
        """The decoder of captured graphs, where there is a GPU and it serves this model."""
        c = self.config
        if self.device.type != "cuda" or c.num_key_value_heads != c.num_attention_heads:
            return None
        try:
            from autogaze_cli.model.cuda import CudaDecoder
        except ImportError:  # PyTorch came without Triton
            return None
        size = (rows, len(tokens), max(tokens))
        if self._gpu is None or not self._gpu.fits(*size):
            self._gpu = None  # give its memory back first
            with _CAPTURING:
                self._gpu = CudaDecoder(self._decoder, *size)
        return self._gpu

    def _slots(self, budget: Budget, tokens: tuple[int, ...]) -> int:
        """Cache slots to start with: all a clip can need, or little when it is likely to stop."""
        if budget.task_loss_requirement is not None:
            return 2 * self.config.num_tokens
        return sum(self.config.num_tokens + n for n in tokens)

    def _output(self, frames: list[FrameGaze]) -> GazeOutput:
        layout = self.config.layout
        slots = np.array([frame.ids.shape[1] for frame in frames])
        ids = np.concatenate(
            [layout.global_ids(frame.ids, t) for t, frame in enumerate(frames)], axis=1
        )
        padded = np.concatenate([frame.padded for frame in frames], axis=1)
        confidences = np.concatenate([frame.confidences for frame in frames], axis=1)
        return GazeOutput(
            gazing_pos=torch.from_numpy(ids),
            if_padded_gazing=torch.from_numpy(padded),
            num_gazing_each_frame=torch.from_numpy(slots),
            gazing_masks=[torch.from_numpy(m) for m in layout.masks(ids, padded, len(frames))],
            confidences=torch.from_numpy(confidences),
            num_gazing_each_row=torch.from_numpy(np.stack([f.counts for f in frames], axis=1)),
            scales=layout.scales,
            num_vision_tokens_each_frame=layout.num_tokens,
        )

    def _joined(self, output: GazeOutput, adapt: AdaptLayout) -> GazeOutput:
        """The gaze at tiles as the gaze at whole pictures; confidences are lost with the order."""
        own = [
            _own_slots(row_counts, output.num_gazing_each_frame)
            for row_counts in output.num_gazing_each_row
        ]
        gaze = adapt.join(
            [ids[keep] for ids, keep in zip(output.gazing_pos, own, strict=True)],
            [pad[keep] for pad, keep in zip(output.if_padded_gazing, own, strict=True)],
            list(output.num_gazing_each_row),
        )
        frames = len(gaze.num_gazing_each_frame)
        masks = adapt.target.masks(gaze.gazing_pos, gaze.if_padded_gazing, frames)
        padded = torch.from_numpy(gaze.if_padded_gazing)
        return GazeOutput(
            gazing_pos=torch.from_numpy(gaze.gazing_pos),
            if_padded_gazing=padded,
            num_gazing_each_frame=torch.from_numpy(gaze.num_gazing_each_frame),
            gazing_masks=[torch.from_numpy(mask) for mask in masks],
            confidences=(~padded).float(),
            num_gazing_each_row=torch.from_numpy(gaze.num_gazing_each_frame).expand(
                len(padded), frames
            ),
            scales=self.config.layout.scales,
            num_vision_tokens_each_frame=adapt.target.num_tokens,
        )

    def score(self, video: Tensor, gaze: GazeOutput) -> GazeScores:
        """Score given gazes in one full pass, as upstream's training does.

        Args:
            video: The frames that were gazed at, ``float32 [b, t, 3, h, w]``.
            gaze: Anything with ``gazing_pos``, ``if_padded_gazing`` and ``num_gazing_each_frame``.

        Source: inference spec 3.12.
        """
        video = square(video.to(self.device), self.config.input_img_size).to(self.dtype)
        return score_gaze(self.network.gazing_model, self.config, video, gaze)


_CAPTURING = Lock()
"""Graphs are captured one at a time, whichever GPU they are for."""


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the one that kernels and graphs go to: the first is, unless it is said."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _own_slots(own: Tensor, slots: Tensor) -> Tensor:
    """Which slots a row needed by itself: the first ``own[t]`` of ``slots[t]``, ``bool [n]``."""
    starts = torch.repeat_interleave(slots.cumsum(0) - slots, slots)
    return torch.arange(len(starts)) - starts < torch.repeat_interleave(own, slots)


ALL_GPUS = "cuda:all"
"""The device of a gaze source that spreads its clips over all GPUs."""


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of a name; ``auto`` is the first GPU where there is one, else the CPU.

    ``cuda:all``, all GPUs, counts as the first.

    Raises:
        DeviceError: It was asked for and is not there.
    """
    if name == ALL_GPUS:
        name = "cuda:0"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"device {name!r} is not known", hint="give auto, cpu, cuda, cuda:N or cuda:all"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name} is not there: {torch.cuda.device_count()} CUDA devices were found",
            hint="give --device cpu",
        )
    return device


def load_model(
    name_or_folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> AutoGaze:
    """Load a checkpoint.

    Args:
        name_or_folder: A bundled model's name, a folder with ``config.json``,
            ``model.safetensors`` and ``preprocessor_config.json``, or a Hub id (``owner/name``,
            ``owner/name@revision``) that is in the local cache. A ``Path`` is always a folder.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        dtype: Type of weights and arithmetic; tokens are exact in ``float32``.

    Raises:
        ModelError: It is missing, incomplete, not an AutoGaze checkpoint, or not the bundled one
            that was shipped.
        DeviceError: The device is not there.
    """
    place = choose_device(device)
    if dtype not in ("float32", "bfloat16"):
        raise ConfigError(f"dtype must be float32 or bfloat16, not {dtype!r}")
    folder = find_checkpoint(name_or_folder)
    network, config, preprocessing = read_network(folder)
    network.to(place, getattr(torch, dtype))
    return AutoGaze(
        network,
        config,
        preprocessing,
        name=str(name_or_folder),
        sha256=sha256_of(folder / WEIGHTS),
    )
