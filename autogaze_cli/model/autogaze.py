"""The public face of a model: ``load_model`` and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.budget import Budget, BudgetRequest, coverage_budget
from autogaze_cli.model.catalog import default_model
from autogaze_cli.model.checkpoint import (
    Preprocessing,
    find_checkpoint,
    read_checkpoint,
    read_config,
)
from autogaze_cli.model.choose import FrameGaze
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.decode import Decoder
from autogaze_cli.model.devices import choose_device
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.output import GazeOutput, GazeState
from autogaze_cli.model.preprocess import cut_square_tiles, normalise, square
from autogaze_cli.model.score import GazeScores, score_gaze
from autogaze_cli.model.weights import build_network, read_weights

if TYPE_CHECKING:
    from autogaze_cli.model.cuda import CudaDecoder


Rows = Literal["independent", "published"]
"""How the clips of a batch are decoded."""


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
        return self._decoder.weights.embed.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and of the arithmetic."""
        return self._decoder.weights.embed.dtype

    def preprocess(
        self,
        frames: NDArray[np.uint8] | Tensor,
        *,
        size: dict[str, int] | tuple[int, int] | None = None,
    ) -> Tensor:
        """Resize, crop and normalise RGB frames as the published processor does.

        Args:
            frames: ``uint8 [t, h, w, 3]`` or ``[b, t, h, w, 3]``, RGB; a tensor on another device
                than the CPU is processed there, with the same result.
            size: ``{"shortest_edge": n}`` or ``(height, width)``; None = the checkpoint's, which
                may leave frames as large as they are.

        Returns:
            ``float32 [b, t, 3, h', w']`` on the model's device.

        Raises:
            ConfigError: They are not such frames, or smaller than the checkpoint's crop.

        Source: inference spec 2.1.
        """
        on_device = isinstance(frames, Tensor) and frames.device.type != "cpu"
        array = frames if on_device else np.asarray(frames)
        if (
            array.dtype not in (np.uint8, torch.uint8)
            or array.ndim not in (4, 5)
            or array.shape[-1] != 3
        ):
            raise ConfigError(
                "frames must be uint8 [t, h, w, 3] or [b, t, h, w, 3], "
                f"not {array.dtype} {list(array.shape)}"
            )
        if array.ndim == 4:
            array = array[None]
        p = self.preprocessing
        if isinstance(array, Tensor):
            pixels = p.pixels(array, size)
        else:
            pixels = torch.from_numpy(np.stack([p.pixels(clip, size) for clip in array]))
        return normalise(pixels.to(self.device), p.mean, p.std)

    def new_state(self, batch: int = 1, *, horizon_frames: int | None = None) -> GazeState:
        """Start ``batch`` streams to be gazed at frame by frame.

        Args:
            batch: Streams that advance together.
            horizon_frames: Frames that each query sees, the present one included; older ones are
                forgotten, so that memory and time per frame stay constant. None = all.
        """
        if horizon_frames is not None and horizon_frames < 1:
            raise ConfigError(f"horizon_frames must be at least 1, not {horizon_frames}")
        return GazeState(self._decoder.new_caches(batch, 0), horizon_frames=horizon_frames)

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
        rows: Rows = "independent",
    ) -> GazeOutput:
        """Gaze at clips.

        Args:
            video: Normalised frames ``float32 [b, t, 3, h, w]``, as ``preprocess`` returns them;
                resized to the model's square by bicubic interpolation.
            max_gaze_tokens_each_frame: Token budget, one number or one per frame.
            gazing_ratio: The budget as a fraction of all tokens, one number or one per frame.
            task_loss_requirement: Stop gazing at a frame when the predicted loss is at most this.
                None = never. Left out: never when a ratio is given, otherwise the model's own.
            coverage_ratio: Also stop when this fraction of the frame is covered.
            target_scales: Scales of a larger square video that is cut into tiles, and joined again.
            target_patch_size: Patch side in pixels of the finest of those scales.
            state: Memory of streams from ``new_state``, one per clip, or per tile with
                ``target_scales``; advanced in place. Ids count from 0 in every call.
            rows: Whether clips of a batch, and tiles, are decoded independently, or influence each
                other's later frames as in the published code.

        Returns:
            The gaze.

        Source: inference spec 3, 4, 8.
        """
        if video.ndim != 5 or video.shape[2] != 3 or not all(video.shape):
            raise ConfigError(f"video must be [b, t, 3, h, w], not {list(video.shape)}")
        asked = BudgetRequest(
            max_gaze_tokens_each_frame=max_gaze_tokens_each_frame,
            gazing_ratio=gazing_ratio,
            task_loss_requirement=(
                "model"
                if isinstance(task_loss_requirement, EllipsisType)
                else task_loss_requirement
            ),
        )
        budget = Budget.resolve(self.config, asked)
        adapt = None
        if target_scales is not None and target_patch_size is not None:
            adapt = AdaptLayout.from_config(self.config.layout, target_scales, target_patch_size)
        if adapt is not None:
            video = cut_square_tiles(video, adapt)
        with _current(self.device):
            frames = self._decode(video, budget, coverage_ratio, state, rows == "published")
        output = GazeOutput.from_frames(self.config.layout, frames)
        return output if adapt is None else output.joined(adapt)

    def _decode(
        self,
        video: Tensor,
        budget: Budget,
        coverage: float | None,
        state: GazeState | None,
        coupled: bool,
    ) -> list[FrameGaze]:
        """Every frame's gaze."""
        tokens = budget.each_frame(video.shape[1])
        video = square(video.to(self.device), self.config.input_img_size).to(self.dtype)
        # Clips that cannot stop early end together, and one alone has no others.
        coupled = coupled and len(video) > 1 and budget.task_loss_requirement is not None
        plain = state is None and coverage is None and not coupled
        if plain and (gpu := self._gpu_decoder(len(video), tokens)):
            embedded, _ = self.network.gazing_model.embed_video(video, None)
            return gpu.clip(embedded, tokens, budget.task_loss_requirement)
        if state is None:
            capacity = self._capacity(budget, tokens)
            state = GazeState(self._decoder.new_caches(len(video), capacity))
        if len(state.caches) != len(video):
            raise ConfigError(f"the state has {len(state.caches)} streams, the video {len(video)}")
        if state.horizon_frames is not None:
            for cache in state.caches:
                cache.move_back(self._decoder.weights.frequencies)
        embedded, state.conv = self.network.gazing_model.embed_video(video, state.conv)
        return [
            self._decoder.frame(
                state.caches,
                embedded[:, t],
                coverage_budget(n, coverage, self.config.layout, self.config.num_multi_token_pred),
                budget.task_loss_requirement,
                coverage,
                state.horizon_frames,
                coupled,
            )
            for t, n in enumerate(tokens)
        ]

    def _gpu_decoder(self, clips: int, tokens: tuple[int, ...]) -> CudaDecoder | None:
        """The decode loop of ``cuda.py``, where there is a CUDA GPU and it serves this model."""
        c = self.config
        if (
            self.device.type != "cuda"
            or c.num_key_value_heads != c.num_attention_heads
            or c.head_dim not in (16, 32, 64, 128)  # what the kernels' blocks can hold
        ):
            return None
        try:
            from autogaze_cli.model.cuda import CudaDecoder
        except ImportError:  # PyTorch came without Triton
            return None
        size = (clips, len(tokens), max(tokens))
        if self._gpu is None or not self._gpu.fits(*size):
            self._gpu = None  # give its memory back first
            with _CAPTURING:
                self._gpu = CudaDecoder(self._decoder.weights, *size)
        return self._gpu

    def _capacity(self, budget: Budget, tokens: tuple[int, ...]) -> int:
        """Cache size to start with: all a clip can need, or little when it is likely to stop."""
        if budget.task_loss_requirement is not None:
            return 2 * self.config.num_tokens
        return sum(self.config.num_tokens + n for n in tokens)

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
    """Makes a GPU the one that kernels and graphs go to; otherwise it is the first."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def load_model(
    name_or_folder: str | Path | Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
    *,
    weights: str | Path | bytes | Mapping[str, Tensor] | None = None,
    preprocessor: str | Path | Mapping[str, Any] | None = None,
    strict: bool = True,
) -> AutoGaze:
    """Load a checkpoint, or a configuration and weights that are kept apart.

    Args:
        name_or_folder: A bundled model's name, a folder with ``config.json``,
            ``model.safetensors`` and ``preprocessor_config.json``, or a Hub id (``owner/name``,
            ``owner/name@revision``) that is in the local cache. A ``Path`` is always a folder.
            None = the default among the bundled models. With ``weights``: the path of a
            ``config.json``, its folder, or its parsed content.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` (untested) or ``auto``.
        dtype: Precision of weights and arithmetic; tokens are exact in ``float32``.
        weights: The path of a safetensors file, its content as ``bytes``, or tensors by their
            published names.
        preprocessor: With ``weights``: the path of a ``preprocessor_config.json``, or its parsed
            content. None = the file beside the configuration, and without one the published
            checkpoint's settings.
        strict: Refuse weights in which a tensor is missing, and ignore tensors of other names.
            Otherwise both are reported as a warning, and a missing tensor becomes that of a layer
            which adds nothing (1 for the weight of a normalisation, 0 for all else); nothing is
            random. A tensor of another shape is refused in any case.

    Raises:
        ModelError: It is missing, incomplete, not an AutoGaze checkpoint, a bundled one that was
            changed, or none was named and none is bundled.
        ConfigError: The content of a configuration contradicts itself, or there are no weights for
            it.
        DeviceError: This machine has no such device.
    """
    place = choose_device(device)
    if dtype not in ("float32", "bfloat16"):
        raise ConfigError(f"dtype must be float32 or bfloat16, not {dtype!r}")
    if weights is None and (preprocessor is not None or isinstance(name_or_folder, Mapping)):
        raise ConfigError("a configuration needs weights", hint="give weights=")
    if name_or_folder is None:
        if weights is not None:
            raise ConfigError("weights need a configuration", hint="name a config.json")
        name_or_folder = default_model()
        if name_or_folder is None:
            raise ModelError("no model was named, and none is bundled", hint="name a folder")
    if weights is not None:
        config, preprocessing = read_config(name_or_folder, preprocessor)
        tensors = read_weights(weights)
        name = tensors.source
    else:
        assert not isinstance(name_or_folder, Mapping)  # such a one has weights
        config, preprocessing, tensors = read_checkpoint(find_checkpoint(name_or_folder))
        name = str(name_or_folder)
    network = build_network(config, tensors, strict=strict)
    network.to(place, getattr(torch, dtype))
    return AutoGaze(network, config, preprocessing, name=name, sha256=tensors.sha256)
