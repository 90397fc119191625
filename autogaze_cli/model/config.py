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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.budget import ratio_budget
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.section import Section, read_json


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
        root = Section("", raw)
        gaze = root.section("gaze_model_config")
        vision = gaze.section("vision_model_config", optional=True)
        decoder = gaze.section("gaze_decoder_config", optional=True)
        kernel, side = vision.size("kernel_size", 16), gaze.size("input_img_size", 224)
        scales = root.get("scales", "224")
        num_tokens = root.size(
            "num_vision_tokens_each_frame", ScaleLayout.count_ids(scales, kernel)
        )
        heads, hidden = decoder.size("num_attention_heads", 6), decoder.size("hidden_size", 192)
        config = cls(
            layout=ScaleLayout.from_config(scales, num_tokens, kernel),
            max_num_frames=root.size("max_num_frames", 16),
            gazing_ratio=_fixed(root, "gazing_ratio", 0.5),
            task_loss_requirement=(
                _fixed(root, "task_loss_requirement", 0.7)
                if root.get("has_task_loss_requirement_during_inference", False)
                else None
            ),
            input_img_size=side,
            kernel_size=kernel,
            temporal_patch_size=vision.size("temporal_patch_size", 1),
            vision_hidden_dim=vision.size("hidden_dim", 192),
            vision_out_dim=vision.size("out_dim", 192),
            vision_depth=vision.size("depth", 1, minimum=0),
            trunk_temporal_kernel_size=vision.size("trunk_temporal_kernel_size", 3),
            trunk_spatial_kernel_size=vision.size("trunk_spatial_kernel_size", 3),
            hidden_size=hidden,
            intermediate_size=decoder.size("intermediate_size", 384),
            num_hidden_layers=decoder.size("num_hidden_layers", 4),
            num_attention_heads=heads,
            num_key_value_heads=decoder.size("num_key_value_heads", heads),
            head_dim=decoder.size("head_dim", max(1, hidden // heads)),
            rms_norm_eps=decoder.number("rms_norm_eps", 1e-6),
            attention_bias=bool(decoder.get("attention_bias", False)),
            mlp_bias=bool(decoder.get("mlp_bias", False)),
            num_multi_token_pred=decoder.size("num_multi_token_pred", 1),
            rope=_rope(decoder),
        )
        _check(config)
        gaze.must_equal("num_vision_tokens_each_frame", num_tokens)
        decoder.must_equal("vocab_size", config.vocab_size)
        decoder.must_equal("eos_token_id", config.eos_token_id)
        decoder.must_equal("hidden_act", "silu")
        gaze.section("connector_config", optional=True).must_equal("num_tokens", config.num_tokens)
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
    ):
        if wrong:
            raise ConfigError(f"{problem}: not supported")


def _fixed(root: Section, key: str, default: float) -> float | None:
    """A setting of inference; None when its strategy is not ``fixed``."""
    section = root.section(f"{key}_config", optional=True)
    if section.get("sample_strategy_during_inference", "fixed") != "fixed":
        return None
    return section.section("fixed", optional=True).number(key, default, minimum=0.0)


def _rope(decoder: Section) -> RopeConfig:
    theta = decoder.number("rope_theta", 10000.0)
    scaling = decoder.section("rope_scaling", optional=True)
    kind = scaling.get("rope_type", scaling.get("type", "default" if not scaling.values else None))
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind != "llama3":
        raise ConfigError(f"rope_scaling type {kind!r} is not known, only 'llama3'")
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if low >= high:
        raise ConfigError(f"rope_scaling low_freq_factor {low} must be below high_freq_factor")
    return RopeConfig(
        theta=theta,
        llama3=True,
        factor=scaling.number("factor"),
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=scaling.size("original_max_position_embeddings"),
    )
