"""``AutoGaze`` with the published interface, on this project's engine.

Source: upstream interface 2.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any, Self, cast, get_args

import torch
from torch import Tensor

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.model.autogaze import AutoGaze as Engine
from autogaze_cli.model.autogaze import Rows
from autogaze_cli.model.checkpoint import Preprocessing, find_checkpoint, read_network
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.output import GazeOutput
from autogaze_cli.upstream.config import AutoGazeConfig
from autogaze_cli.upstream.loading import device_of_map, dtype_of
from autogaze_cli.upstream.scores import SCORES, given_gaze, score
from autogaze_cli.upstream.stream import as_past, opened, values_of

ROWS = "AUTOGAZE_UPSTREAM_ROWS"
"""The environment variable that chooses the rows where ``rows`` is not given."""


class AutoGaze(AutoGazeNetwork):
    """The published model, a module with the published ``state_dict`` keys.

    Attributes:
        config: Its ``config.json``.
        rows: Whether the rows of a batch are decoded independently, or coupled as in the published
            code.
        scales: Sides of the scales in pixels, ascending.
        num_vision_tokens_each_frame: Ids per frame.
        num_vision_tokens_each_scale_each_frame: Ids per frame of each scale.
        frame_sampling_rate: Frames per gaze, 1.
        gazing_model: The network.
    """

    def __init__(self, config: AutoGazeConfig, *, rows: Rows | None = None) -> None:
        """Build a model of untrained weights."""
        self._sizes = sizes = config.checked()
        super().__init__(sizes)
        self.config, self.rows = config, rows_of(rows)
        self.scales = list(sizes.layout.scales)
        self.num_vision_tokens_each_frame = sizes.num_vision_tokens_each_frame
        self.num_vision_tokens_each_scale_each_frame = list(sizes.layout.counts)
        self.frame_sampling_rate = sizes.temporal_patch_size
        self._built: tuple[object, Engine] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        rows: Rows | None = None,
        device_map: Any = None,
        torch_dtype: Any = None,
        dtype: Any = None,
        **ignored: Any,
    ) -> Self:
        """Load a checkpoint.

        Args:
            name: A folder, a Hub id in the local cache, or a bundled model's name.
            rows: ``"independent"`` or ``"published"``; None = what ``AUTOGAZE_UPSTREAM_ROWS``
                says, otherwise independent.
            device_map: A device, or a dictionary with one device; None = the CPU.
            torch_dtype: Of the weights; None = float32.
            dtype: The same, by its later name.
            ignored: Arguments of the published loader that mean nothing here, ``use_flash_attn``
                among them.

        Raises:
            ModelError: There is no such checkpoint on this machine, or it is damaged.
        """
        folder = find_checkpoint(name)
        network, _, _ = read_network(folder)
        with torch.device("meta"):
            model = cls(AutoGazeConfig.from_pretrained(folder), rows=rows)
        model.share(network.state_dict())
        return model.eval().to(device_of_map(device_map), dtype_of(torch_dtype or dtype))

    def share(self, weights: Mapping[str, Tensor]) -> None:
        """Use these tensors as the weights, without a copy; names that are not known are left out.

        Raises:
            ModelError: A tensor is missing, or of another shape.
        """
        wanted = self.state_dict()
        wrong = [
            name
            for name, like in wanted.items()
            if name not in weights or weights[name].shape != like.shape
        ]
        if wrong:
            raise ModelError(f"{len(wrong)} weights are missing or do not fit, {wrong[0]} first")
        self.load_state_dict({name: weights[name] for name in wanted}, assign=True)
        self._built = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    @property
    def engine(self) -> Engine:
        """The engine over the present weights, made again when they have changed."""
        weights = [(p.data_ptr(), _version(p)) for p in self.parameters()]
        if self._built is None or self._built[0] != weights:
            self._built = None  # give its memory back first
            with torch.no_grad():
                engine = Engine(self, self._sizes, _NO_PREPROCESSING)
            self._built = weights, engine
        return self._built[1]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: everything but the engine."""
        return {**self.__dict__, "_built": None}

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        target_scales: Sequence[int] | None = None,
        target_patch_size: int | None = None,
        gazing_info: Mapping[str, Any] | None = None,
        temperature: float = 1,
        gazing_ratio: float | Sequence[float] | Tensor | None = None,
        task_loss_requirement: float | None = None,
        generate_only: bool = False,
        use_cache: bool = False,
        past_key_values: Any = None,
        past_inputs_embeds: Any = None,
        past_attention_mask: Any = None,
        past_conv_values: Any = None,
    ) -> dict[str, Any]:
        """Gaze at clips ``{"video": float [b, t, 3, h, w]}``, normalised.

        ``docs/upstream.md`` lists the arguments and the entries of the result. ``temperature`` is
        not used: decoding is greedy.

        Raises:
            ConfigError: Arguments that contradict each other.
        """
        self._say_once_that_it_is_greedy()
        video = inputs["video"]
        ratio = gazing_ratio.tolist() if isinstance(gazing_ratio, Tensor) else gazing_ratio
        adapt = self._adapt(target_scales, target_patch_size)
        rows = len(video) if adapt is None else len(video) * adapt.tiles**2
        past = as_past(past_key_values, past_inputs_embeds, past_attention_mask, past_conv_values)
        if past is not None and not generate_only:
            raise ConfigError("past values can be used with generate_only=True alone")
        if gazing_info is not None and (adapt is not None or use_cache or past is not None):
            raise ConfigError("gazing_info cannot be used with target_scales, or in a stream")
        stream = opened(past, self.engine, rows) if use_cache or past else None
        with torch.autocast(self.device.type, enabled=False):  # results are of the weights' type
            if gazing_info is not None:
                gaze = given_gaze(self._sizes.layout, gazing_info)
            else:
                gaze = self.engine.generate(
                    video,
                    gazing_ratio=ratio,
                    task_loss_requirement=_given(task_loss_requirement),
                    target_scales=target_scales,
                    target_patch_size=target_patch_size,
                    state=None if stream is None else stream.state,
                    rows=self.rows,
                )
            scores: dict[str, Any] = {} if adapt is not None else dict.fromkeys(SCORES)
            if scores and not generate_only:
                scores |= score(self.engine, video, gaze, next(self.parameters()))
        requirement = self._requirement(ratio, task_loss_requirement, (rows, video.shape[1]))
        past_values = values_of(stream if use_cache else None)
        return self._published(gaze) | requirement | scores | past_values

    def _published(self, gaze: GazeOutput) -> dict[str, Any]:
        """A gaze in the published names, on the model's device."""

        def own(tensor: Tensor) -> Tensor:
            # A tensor made in inference mode could not be changed in place outside of it.
            return tensor.to(self.device, copy=True)

        return {
            "gazing_pos": own(gaze.gazing_pos),
            "if_padded_gazing": own(gaze.if_padded_gazing),
            "num_gazing_each_frame": own(gaze.num_gazing_each_frame),
            "gazing_mask": [own(mask).float() for mask in gaze.gazing_masks],
            "scales": list(self.scales),
            "frame_sampling_rate": self.frame_sampling_rate,
            "num_vision_tokens_each_frame": gaze.num_vision_tokens_each_frame,
        }

    def _requirement(
        self,
        ratio: float | Sequence[float] | None,
        requirement: float | None,
        rows_and_frames: tuple[int, int],
    ) -> dict[str, Any]:
        """The stop that applied, per row and frame."""
        if requirement is None and ratio is None:
            requirement = self._sizes.task_loss_requirement
        each = None
        if requirement is not None:
            each = torch.full(rows_and_frames, requirement, device=self.device)
        return {
            "has_task_loss_requirement": requirement is not None,
            "task_loss_requirement": each,
        }

    def _adapt(self, scales: Sequence[int] | None, patch: int | None) -> AdaptLayout | None:
        if scales is None or patch is None:
            return None
        return AdaptLayout.from_config(self._sizes.layout, scales, patch)

    def _say_once_that_it_is_greedy(self) -> None:
        global _TOLD
        if self.training and not _TOLD:
            _TOLD = True
            warnings.warn(
                "the published model samples in training mode; this one always takes the best id",
                stacklevel=4,
            )


def _given(requirement: float | None) -> float | EllipsisType:
    """What the engine is given for a requirement; None counts as left out."""
    return ... if requirement is None else requirement


_TOLD = False
_NO_PREPROCESSING = Preprocessing(size=(0, 0), mean=(0, 0, 0), std=(1, 1, 1))
"""Scripts preprocess with ``AutoGazeImageProcessor``; the engine never does."""


def rows_of(rows: str | None) -> Rows:
    """How rows are decoded: as given, or by the environment, or independently.

    Raises:
        ConfigError: It is neither ``independent`` nor ``published``.
    """
    chosen = rows or os.environ.get(ROWS) or "independent"
    if chosen not in get_args(Rows):
        raise ConfigError(f"rows must be 'independent' or 'published', not {chosen!r}")
    return cast(Rows, chosen)


def _version(parameter: Tensor) -> int:
    """How often a tensor was changed in place; made in inference mode, it does not count."""
    return 0 if parameter.is_inference() else parameter._version
