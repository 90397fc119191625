"""Reading checkpoints: finding the folder, its configuration and its preprocessor settings.

Source: inference spec 1.3 to 1.5. Nothing that is read here can run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec import field as entry
from torch import Tensor

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.model.catalog import (
    CONFIG,
    FILES,
    MODELS,
    PREPROCESSOR,
    WEIGHTS,
    find,
)
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.files import read_json, without_nulls
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.preprocess import (
    IMAGE_MEAN,
    IMAGE_STD,
    Frames,
    center_crop,
    resize_shortest,
    target_size,
)
from autogaze_cli.model.resize import resize_bilinear
from autogaze_cli.model.weights import Weights, build_network, read_weights
from autogaze_cli.reading import checked

MAX_EDGE = 1 << 14
"""Pixels; no frame is resized to more."""

_Edge = Annotated[int, Meta(ge=1, le=MAX_EDGE)]
# A list of two and no tuple, which msgspec 0.22 cannot have beside a number: its collector crashes.
_Size = _Edge | Annotated[list[_Edge], Meta(min_length=2, max_length=2)] | dict[str, _Edge]
_Mean = Annotated[float, Meta(ge=-1e6, le=1e6)]
_Std = Annotated[float, Meta(ge=1e-6, le=1e6)]


class PreprocessorFile(Struct):
    """What is read of ``preprocessor_config.json``; an entry that is null counts as absent."""

    image_mean: tuple[_Mean, _Mean, _Mean]
    image_std: tuple[_Std, _Std, _Std]
    size: _Size | None = None
    crop_size: _Size = entry(default_factory=lambda: [224, 224])
    do_resize: bool = True
    do_center_crop: bool = False
    do_rescale: bool = True
    do_normalize: bool = True
    offset: bool = True
    resample: Annotated[int, Meta(ge=0, le=5)] = 2
    rescale_factor: float = 1 / 127.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How frames become model input; the defaults are the published checkpoint's.

    Attributes:
        size: ``{"shortest_edge": n}`` keeps the aspect ratio; ``(height, width)`` stretches; None =
            frames keep their size (``do_resize`` is false).
        crop: Height and width of the middle that is kept after that; None = the whole frame.
        mean: Subtracted from values in -1..1, per channel.
        std: Divides the result, per channel.
    """

    size: dict[str, int] | tuple[int, int] | None = field(
        default_factory=lambda: {"shortest_edge": 224}
    )
    crop: tuple[int, int] | None = None
    mean: tuple[float, float, float] = IMAGE_MEAN
    std: tuple[float, float, float] = IMAGE_STD

    @classmethod
    def from_file(cls, path: Path) -> Preprocessing:
        """Read ``preprocessor_config.json``.

        Raises:
            ModelError: The file cannot be read, or asks for what the published processor never
                does.
        """
        raw = read_json(path)
        try:
            return cls.from_mapping(raw)
        except ConfigError as error:
            raise ModelError(f"{path}: is not a preprocessor configuration: {error}") from error

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from the parsed file.

        Raises:
            ConfigError: A value is missing, of the wrong type, or not what the published processor
                does.
        """
        raw = checked(without_nulls(values), PreprocessorFile, "the file", error=ConfigError)
        for name in ("do_rescale", "offset", "do_normalize"):
            if not getattr(raw, name):
                raise ConfigError(f"{name} must be True, not False")
        if raw.resample != 2:
            raise ConfigError(f"resample must be 2, not {raw.resample}")
        if abs(raw.rescale_factor - 1 / 127.5) > 1e-9:
            raise ConfigError(f"rescale_factor is {raw.rescale_factor}, not 1/127.5")
        crop = _size("crop_size", raw.crop_size) if raw.do_center_crop else None
        if isinstance(crop, dict):  # one number is a square here
            crop = (crop["shortest_edge"], crop["shortest_edge"])
        return cls(
            size=_size("size", raw.size) if raw.do_resize else None,
            crop=crop,
            mean=raw.image_mean,
            std=raw.image_std,
        )

    def pixels(
        self,
        frames: Frames,
        size: Mapping[str, int] | tuple[int, int] | None = None,
    ) -> Frames:
        """Resize and crop frames.

        Args:
            frames: RGB, uint8 ``[..., h, w, 3]``, an array, or a tensor on any device.
            size: In place of this one's.

        Raises:
            ConfigError: The frames are smaller than the crop.

        Source: inference spec 1.3, 2.1.
        """
        size = size or self.size
        resized = frames
        if size is not None:
            if isinstance(frames, Tensor):
                height, width = frames.shape[-3:-1]
                resized = resize_bilinear(frames, *target_size(height, width, size))
            else:
                resized = resize_shortest(frames, size)
        return resized if self.crop is None else center_crop(resized, self.crop)

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of a frame that the model sees: left, top, width and height as fractions."""
        if self.crop is None:
            return 0.0, 0.0, 1.0, 1.0
        if self.size is not None:
            height, width = target_size(height, width, self.size)
        down, across = self.crop
        return (
            (width - across) // 2 / width,
            (height - down) // 2 / height,
            across / width,
            down / height,
        )


def _size(
    name: str, value: int | list[int] | dict[str, int] | None
) -> dict[str, int] | tuple[int, int]:
    """A size of a processor; ``224`` is its shortest edge, ``[224, 224]`` height and width."""
    if isinstance(value, list):
        return value[0], value[1]
    sides = {"shortest_edge": value} if isinstance(value, int) else value or {}
    if "shortest_edge" in sides:
        return {"shortest_edge": sides["shortest_edge"]}
    if not {"height", "width"} <= sides.keys():
        raise ConfigError(f"{name} has neither shortest_edge nor height and width")
    return sides["height"], sides["width"]


def find_checkpoint(name: str | Path, models: Path = MODELS) -> Path:
    """The folder of a checkpoint; the weights of a bundled one must be those that were shipped.

    Args:
        name: A bundled model's name, a folder, or a Hub id; see ``catalog.find``.
        models: The bundled models.

    Raises:
        ModelError: There is none, or its weights have another SHA-256 than the recorded one.
    """
    model = find(name, models)
    assert model.folder is not None  # what is found is here
    if model.kind == "bundled":
        model.verify()
    return model.folder


def read_network(folder: Path) -> tuple[AutoGazeNetwork, GazeConfig, Preprocessing]:
    """Build the network of a checkpoint folder, float32, on the CPU, in evaluation mode.

    Raises: as ``read_checkpoint`` and ``build_network`` do.
    """
    config, preprocessing, weights = read_checkpoint(folder)
    return build_network(config, weights), config, preprocessing


def read_checkpoint(folder: Path) -> tuple[GazeConfig, Preprocessing, Weights]:
    """Read the three files of a checkpoint folder.

    Raises:
        ModelError: A file is missing or unreadable; the message names it.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: {name} is missing",
                hint=f"a checkpoint folder contains {', '.join(FILES)}",
            )
    config = GazeConfig.from_file(folder / CONFIG)
    preprocessing = Preprocessing.from_file(folder / PREPROCESSOR)
    return config, preprocessing, read_weights(folder / WEIGHTS)


def read_config(
    config: str | Path | Mapping[str, Any],
    preprocessor: str | Path | Mapping[str, Any] | None = None,
) -> tuple[GazeConfig, Preprocessing]:
    """Read a configuration whose weights are elsewhere.

    Args:
        config: The path of a ``config.json``, its folder, or its content.
        preprocessor: The path of a ``preprocessor_config.json``, or its content; None = the file
            beside ``config``, and without one the published checkpoint's settings.

    Raises:
        ModelError: A file is missing, unreadable or contradicts itself.
        ConfigError: A content does.
    """
    if not isinstance(config, Mapping):
        path = Path(config).expanduser()
        path = path / CONFIG if path.is_dir() else path
        beside = path.parent / PREPROCESSOR
        if preprocessor is None and beside.is_file():
            preprocessor = beside
    sizes = (
        GazeConfig.from_mapping(config)
        if isinstance(config, Mapping)
        else GazeConfig.from_file(path)
    )
    if preprocessor is None:
        return sizes, Preprocessing()
    if isinstance(preprocessor, Mapping):
        return sizes, Preprocessing.from_mapping(preprocessor)
    return sizes, Preprocessing.from_file(Path(preprocessor).expanduser())
