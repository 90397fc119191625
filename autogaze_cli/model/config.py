"""The sizes and defaults of a checkpoint, read from its ``config.json``.

Source: inference spec 1.1. Generic Hugging Face fields are ignored; values that upstream derives
are derived here too, and a file that states another value is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.budget import ratio_budget
from autogaze_cli.gaze.tokens import ScaleLayout


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
        """Gaze ids a frame, ``N``; valid ids are ``0..N-1``."""
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
        """Vision tokens a side."""
        return self.input_img_size // self.kernel_size

    @property
    def num_tokens(self) -> int:
        """Vision tokens a frame that the decoder reads."""
        return self.vision_grid**2

    @property
    def default_budget(self) -> int:
        """Tokens a frame when nothing else is asked for. Source: inference spec 8.1."""
        if self.gazing_ratio is None:
            return self.num_multi_token_pred
        return ratio_budget(self.gazing_ratio, self.num_vision_tokens_each_frame)

    @classmethod
    def from_file(cls, path: Path) -> GazeConfig:
        """Read ``config.json``.

        Raises:
            ModelError: The file is missing, not JSON, or states sizes that contradict each other.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ModelError(f"{path}: is not JSON ({error})") from error
        try:
            return cls.from_mapping(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ModelError(
                f"{path}: is not an AutoGaze configuration: {reason}",
                hint="give the folder of an AutoGaze checkpoint",
            ) from error

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> GazeConfig:
        """Build from the parsed file; ``KeyError``, ``TypeError`` or ``ValueError`` when off."""
        gaze = raw["gaze_model_config"]
        vision, decoder = gaze["vision_model_config"], gaze["gaze_decoder_config"]
        num_tokens = int(raw["num_vision_tokens_each_frame"])
        kernel = int(vision.get("kernel_size", 16))
        side = int(gaze.get("input_img_size", 224))
        _must_equal("gaze_model_config.num_vision_tokens_each_frame", gaze, num_tokens)
        _must_equal("gaze_decoder_config.vocab_size", decoder, num_tokens + 1)
        _must_equal("gaze_decoder_config.eos_token_id", decoder, num_tokens)
        _must_equal("connector_config.num_tokens", gaze["connector_config"], (side // kernel) ** 2)
        activation = decoder.get("hidden_act", "silu")
        if activation != "silu":
            raise ConfigError(f"hidden_act {activation!r} is not known, only 'silu'")
        heads = int(decoder["num_attention_heads"])
        hidden = int(decoder["hidden_size"])
        return cls(
            layout=ScaleLayout.from_config(raw.get("scales", "224"), num_tokens, kernel),
            max_num_frames=int(raw.get("max_num_frames", 16)),
            gazing_ratio=_fixed(raw.get("gazing_ratio_config"), "gazing_ratio", 0.5),
            task_loss_requirement=(
                _fixed(raw.get("task_loss_requirement_config"), "task_loss_requirement", 0.7)
                if raw.get("has_task_loss_requirement_during_inference", False)
                else None
            ),
            input_img_size=side,
            kernel_size=kernel,
            temporal_patch_size=int(vision.get("temporal_patch_size", 1)),
            vision_hidden_dim=int(vision.get("hidden_dim", 192)),
            vision_out_dim=int(vision.get("out_dim", 192)),
            vision_depth=int(vision.get("depth", 1)),
            trunk_temporal_kernel_size=int(vision.get("trunk_temporal_kernel_size", 3)),
            trunk_spatial_kernel_size=int(vision.get("trunk_spatial_kernel_size", 3)),
            hidden_size=hidden,
            intermediate_size=int(decoder["intermediate_size"]),
            num_hidden_layers=int(decoder["num_hidden_layers"]),
            num_attention_heads=heads,
            num_key_value_heads=int(decoder.get("num_key_value_heads") or heads),
            head_dim=int(decoder.get("head_dim") or hidden // heads),
            rms_norm_eps=float(decoder.get("rms_norm_eps", 1e-6)),
            attention_bias=bool(decoder.get("attention_bias", False)),
            mlp_bias=bool(decoder.get("mlp_bias", False)),
            num_multi_token_pred=int(decoder.get("num_multi_token_pred", 1)),
            rope=_rope(decoder),
        )


def _must_equal(name: str, section: Mapping[str, Any], derived: int) -> None:
    stated = section.get(name.rpartition(".")[2])
    if stated is not None and stated != derived:
        raise ConfigError(f"{name} is {stated}, but the other sizes give {derived}")


def _fixed(section: Mapping[str, Any] | None, key: str, default: float) -> float | None:
    section = section or {}
    if section.get("sample_strategy_during_inference", "fixed") != "fixed":
        return None
    return float((section.get("fixed") or {}).get(key, default))


def _rope(decoder: Mapping[str, Any]) -> RopeConfig:
    theta = float(decoder.get("rope_theta", 10000.0))
    scaling = decoder.get("rope_scaling")
    if not scaling:
        return RopeConfig(theta=theta)
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind != "llama3":
        raise ConfigError(f"rope_scaling type {kind!r} is not known, only 'llama3'")
    return RopeConfig(
        theta=theta,
        llama3=True,
        factor=float(scaling["factor"]),
        low_freq_factor=float(scaling["low_freq_factor"]),
        high_freq_factor=float(scaling["high_freq_factor"]),
        original_max_position_embeddings=int(scaling["original_max_position_embeddings"]),
    )
