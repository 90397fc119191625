"""The sizes and defaults of a checkpoint, read from its ``config.json``.

Source: inference spec 1.1. Generic Hugging Face fields are ignored; values that upstream derives
are derived here too, and a file that states another value is refused.

A value that the file leaves out is the published configuration class's default, because that is
what its own files leave out; only ``gaze_model_config`` itself, which marks the file as one of this
model, must be there. Two kinds of size are taken from elsewhere: the class's decoder sizes are
those of a language model, which fit no gaze model, so the published checkpoint's stand in for them;
and the number of ids follows from the scales. The shape of every tensor is compared with what these
sizes give, so that a wrong one is noticed; the number of heads alone shows in no shape.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.budget import ratio_budget
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.files import read_json, without_nulls
from autogaze_cli.reading import checked

_Size = Annotated[int, Meta(ge=1, le=1 << 16)]
_Few = Annotated[int, Meta(ge=1, le=1 << 10)]
_Pixels = Annotated[int, Meta(ge=1, le=1 << 12)]
_Positive = Annotated[float, Meta(gt=0, le=1e30)]
_Number = Annotated[float, Meta(ge=0, le=1e30)]

_MOST_TOKENS = 1 << 20
"""Of a frame."""


class _Vision(Struct):
    kernel_size: _Pixels = 16
    temporal_patch_size: _Few = 1
    hidden_dim: _Size = 192
    out_dim: _Size = 192
    depth: Annotated[int, Meta(ge=0, le=1 << 8)] = 1
    trunk_temporal_kernel_size: _Few = 3
    trunk_spatial_kernel_size: _Few = 3


class _Decoder(Struct):
    hidden_size: _Size = 192
    intermediate_size: _Size = 384
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1 << 8)] = 4
    num_attention_heads: _Few = 6
    num_key_value_heads: _Few | None = None
    head_dim: _Size | None = None
    rms_norm_eps: _Positive = 1e-6
    attention_bias: bool = False
    mlp_bias: bool = False
    num_multi_token_pred: _Few = 1
    rope_theta: _Positive = 10000.0
    rope_scaling: dict[str, Any] = {}
    vocab_size: int | None = None
    eos_token_id: int | None = None
    hidden_act: str | None = None


class _Llama3(Struct):
    factor: _Positive
    low_freq_factor: _Positive
    high_freq_factor: _Positive
    original_max_position_embeddings: Annotated[int, Meta(ge=1, le=1 << 24)]


class _Connector(Struct):
    num_tokens: int | None = None


class _Gaze(Struct):
    input_img_size: _Pixels = 224
    num_vision_tokens_each_frame: int | None = None
    vision_model_config: _Vision = field(default_factory=_Vision)
    gaze_decoder_config: _Decoder = field(default_factory=_Decoder)
    connector_config: _Connector = field(default_factory=_Connector)


class _Fixed(Struct):
    gazing_ratio: _Number = 0.5
    task_loss_requirement: _Number = 0.7


class _Setting(Struct):
    sample_strategy_during_inference: str = "fixed"
    fixed: _Fixed = field(default_factory=_Fixed)


class ConfigFile(Struct):
    """What is read of ``config.json``; an entry that is null counts as absent."""

    gaze_model_config: _Gaze
    scales: (
        Annotated[str, Meta(max_length=1000)]
        | _Size
        | Annotated[list[_Size], Meta(min_length=1, max_length=64)]
    ) = "224"
    num_vision_tokens_each_frame: Annotated[int, Meta(ge=1, le=_MOST_TOKENS)] | None = None
    max_num_frames: Annotated[int, Meta(ge=1, le=1 << 14)] = 16
    gazing_ratio_config: _Setting = field(default_factory=_Setting)
    task_loss_requirement_config: _Setting = field(default_factory=_Setting)
    has_task_loss_requirement_during_inference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary embedding: base frequency and, where present, the llama3 stretching of long waves."""

    theta: float = 10000.0
    llama3: bool = False
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class GazeConfig:
    """Sizes and defaults of one checkpoint; the names are the file's own.

    ``gazing_ratio`` is None when the file's inference strategy is not ``fixed``;
    ``task_loss_requirement`` is None when inference has none.
    """

    layout: ScaleLayout
    max_num_frames: int = 16
    gazing_ratio: float | None = 0.75
    task_loss_requirement: float | None = None
    # vision
    input_img_size: int = 224
    kernel_size: int = 16
    temporal_patch_size: int = 1
    vision_hidden_dim: int = 192
    vision_out_dim: int = 192
    vision_depth: int = 1
    trunk_temporal_kernel_size: int = 3
    trunk_spatial_kernel_size: int = 3
    # decoder
    hidden_size: int = 192
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 6
    num_key_value_heads: int = 6
    head_dim: int = 32
    rms_norm_eps: float = 1e-5
    attention_bias: bool = False
    mlp_bias: bool = False
    num_multi_token_pred: int = 10
    rope: RopeConfig = RopeConfig()

    @property
    def num_vision_tokens_each_frame(self) -> int:
        """Gaze ids per frame, ``N``; valid ids are ``0..N-1``."""
        return self.layout.num_tokens

    @property
    def scales(self) -> str:
        """The scales as the file writes them, for example ``32+64+112+224``."""
        return "+".join(str(scale) for scale in self.layout.scales)

    @property
    def eos_token_id(self) -> int:
        """The id of padding, always ``N``."""
        return self.num_vision_tokens_each_frame

    @property
    def vocab_size(self) -> int:
        """Ids the decoder knows: ``N`` cells and the padding id."""
        return self.num_vision_tokens_each_frame + 1

    @property
    def vision_grid(self) -> int:
        """Vision tokens per side."""
        return self.input_img_size // self.kernel_size

    @property
    def num_tokens(self) -> int:
        """Vision tokens per frame that the decoder reads."""
        return self.vision_grid**2

    @property
    def default_budget(self) -> int:
        """Tokens per frame when nothing else is asked for. Source: inference spec 8.1."""
        if self.gazing_ratio is None:
            return self.num_multi_token_pred
        return ratio_budget(self.gazing_ratio, self.num_vision_tokens_each_frame)

    @classmethod
    def from_file(cls, path: Path) -> GazeConfig:
        """Read ``config.json``.

        Raises:
            ModelError: The file is missing, not JSON, or states sizes that contradict each other or
                cannot be run.
        """
        raw = read_json(path)
        try:
            return cls.from_mapping(raw)
        except ConfigError as error:
            raise ModelError(
                f"{path}: is not an AutoGaze configuration: {error}",
                hint="give the folder of an AutoGaze checkpoint",
            ) from error

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> GazeConfig:
        """Build from the parsed file.

        Raises:
            ConfigError: ``gaze_model_config`` is missing, or a value is of the wrong type, out of
                range, or contradicts another.
        """
        root = checked(without_nulls(raw), ConfigFile, "the file", error=ConfigError)
        gaze = root.gaze_model_config
        vision, decoder = gaze.vision_model_config, gaze.gaze_decoder_config
        kernel, heads = vision.kernel_size, decoder.num_attention_heads
        num_tokens = root.num_vision_tokens_each_frame
        if num_tokens is None:
            num_tokens = ScaleLayout.count_ids(root.scales, kernel)
        config = cls(
            layout=ScaleLayout.from_config(root.scales, num_tokens, kernel),
            max_num_frames=root.max_num_frames,
            gazing_ratio=_fixed(root.gazing_ratio_config, "gazing_ratio"),
            task_loss_requirement=(
                _fixed(root.task_loss_requirement_config, "task_loss_requirement")
                if root.has_task_loss_requirement_during_inference
                else None
            ),
            input_img_size=gaze.input_img_size,
            kernel_size=kernel,
            temporal_patch_size=vision.temporal_patch_size,
            vision_hidden_dim=vision.hidden_dim,
            vision_out_dim=vision.out_dim,
            vision_depth=vision.depth,
            trunk_temporal_kernel_size=vision.trunk_temporal_kernel_size,
            trunk_spatial_kernel_size=vision.trunk_spatial_kernel_size,
            hidden_size=decoder.hidden_size,
            intermediate_size=decoder.intermediate_size,
            num_hidden_layers=decoder.num_hidden_layers,
            num_attention_heads=heads,
            num_key_value_heads=decoder.num_key_value_heads or heads,
            head_dim=decoder.head_dim or max(1, decoder.hidden_size // heads),
            rms_norm_eps=decoder.rms_norm_eps,
            attention_bias=decoder.attention_bias,
            mlp_bias=decoder.mlp_bias,
            num_multi_token_pred=decoder.num_multi_token_pred,
            rope=_rope(decoder),
        )
        _check(config)
        for name, stated, derived in (
            ("num_vision_tokens_each_frame", gaze.num_vision_tokens_each_frame, num_tokens),
            ("gaze_decoder_config.vocab_size", decoder.vocab_size, config.vocab_size),
            ("gaze_decoder_config.eos_token_id", decoder.eos_token_id, config.eos_token_id),
            ("gaze_decoder_config.hidden_act", decoder.hidden_act, "silu"),
            ("connector_config.num_tokens", gaze.connector_config.num_tokens, config.num_tokens),
        ):
            if stated not in (None, derived):
                raise ConfigError(
                    f"gaze_model_config.{name} must be {derived!r}, not {reprlib.repr(stated)}"
                )
        return config


def _check(c: GazeConfig) -> None:
    """Refuse sizes that fit no network, or none that the decode loop can run."""
    for wrong, problem in (
        (c.temporal_patch_size != 1, f"temporal_patch_size {c.temporal_patch_size}, not 1"),
        (c.kernel_size > c.input_img_size, "kernel_size larger than input_img_size"),
        (c.trunk_spatial_kernel_size % 2 == 0, "an even trunk_spatial_kernel_size"),
        (c.vision_out_dim != c.hidden_size, "vision out_dim and decoder hidden_size that differ"),
        (c.head_dim % 2 == 1, f"an odd head_dim, {c.head_dim}"),
        (
            c.num_attention_heads % c.num_key_value_heads != 0,
            f"{c.num_attention_heads} attention heads for {c.num_key_value_heads} key-value heads",
        ),
        (
            c.num_tokens < c.num_multi_token_pred,
            f"{c.num_tokens} vision tokens per frame, fewer than the {c.num_multi_token_pred} "
            "tokens that one step predicts (num_multi_token_pred)",
        ),
        (c.layout.scales[-1] > 1 << 14, f"a scale of {c.layout.scales[-1]} pixels"),
        (c.vocab_size > _MOST_TOKENS, f"{c.vocab_size - 1} token ids per frame"),
    ):
        if wrong:
            raise ConfigError(f"{problem}: not supported")


def _fixed(setting: _Setting, name: str) -> float | None:
    """A setting of inference; None when its strategy is not ``fixed``."""
    fixed = setting.sample_strategy_during_inference == "fixed"
    return getattr(setting.fixed, name) if fixed else None


def _rope(decoder: _Decoder) -> RopeConfig:
    theta, scaling = decoder.rope_theta, decoder.rope_scaling
    kind = scaling.get("rope_type", scaling.get("type", None if scaling else "default"))
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind != "llama3":
        raise ConfigError(f"rope_scaling type {reprlib.repr(kind)} is not known, only 'llama3'")
    found = checked(scaling, _Llama3, "rope_scaling", "rope_scaling.", ConfigError)
    low, high = found.low_freq_factor, found.high_freq_factor
    if low >= high:
        raise ConfigError(f"rope_scaling low_freq_factor {low} must be below high_freq_factor")
    return RopeConfig(theta=theta, llama3=True, **asdict(found))
