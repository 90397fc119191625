"""What is read of an encoder's ``config.json`` and ``preprocessor_config.json``.

Both name much that has no part here, and leave out what their family's class has by default; a
value that is null counts as absent.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from autogaze_cli.encoders.network import Activation
from autogaze_cli.errors import ConfigError
from autogaze_cli.model.files import without_nulls
from autogaze_cli.reading import checked

File = TypeVar("File", bound=Struct)

_Size = Annotated[int, Meta(ge=1, le=1 << 16)]
_Few = Annotated[int, Meta(ge=1, le=1 << 8)]
_Eps = Annotated[float, Meta(gt=0, le=1)]
_Side = _Size | Annotated[list[_Size], Meta(min_length=2, max_length=2)]
_Mean = Annotated[float, Meta(ge=-1e6, le=1e6)]
_Std = Annotated[float, Meta(ge=1e-6, le=1e6)]


class VisionFile(Struct):
    """The part of ``config.json`` about the vision model; None = the family's default."""

    hidden_act: Activation | None = None
    hidden_size: _Size = 768
    intermediate_size: _Size = 3072
    num_hidden_layers: _Few = 12
    num_attention_heads: _Few = 12
    image_size: _Side = 224
    patch_size: _Side | None = None
    num_channels: Annotated[int, Meta(ge=3, le=3)] = 3
    layer_norm_eps: _Eps | None = None
    mlp_ratio: _Few = 4
    use_swiglu_ffn: bool = False
    num_register_tokens: Annotated[int, Meta(ge=0, le=1 << 8)] = 4
    tubelet_size: _Few = 2
    use_mean_pooling: bool = True


class ProcessorFile(Struct):
    """What is read of ``preprocessor_config.json``; None = the family's default."""

    image_mean: tuple[_Mean, _Mean, _Mean] | None = None
    image_std: tuple[_Std, _Std, _Std] | None = None
    resample: Annotated[int, Meta(ge=0, le=5)] | None = None
    rescale_factor: float = 1 / 255


def read_as(kind: type[File], values: Any) -> File:
    """What was parsed of a file, as its type.

    Raises:
        ConfigError: A value is of another type, or out of range.
    """
    return checked(without_nulls(values), kind, "the file", error=ConfigError)
