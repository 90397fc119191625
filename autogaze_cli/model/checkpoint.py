"""Reading checkpoints: configuration, weights and preprocessor settings.

Source: inference spec 1.3 to 1.5. Nothing that is read here can run code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.model.catalog import CONFIG, FILES, MODELS, PREPROCESSOR, WEIGHTS, find
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.section import Section, read_json

MAX_EDGE = 1 << 14
"""Pixels; no frame is resized to more."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How frames become model input; the defaults are the published checkpoint's.

    Attributes:
        size: ``{"shortest_edge": n}`` keeps the aspect ratio; ``(height, width)`` stretches.
        mean: Subtracted from values in -1..1, per channel.
        std: Divides the result, per channel.
    """

    size: dict[str, int] | tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_file(cls, path: Path) -> Preprocessing:
        """Read ``preprocessor_config.json``.

        Raises:
            ModelError: The file cannot be read, or asks for what the published processor never
                does.
        """
        try:
            raw = Section("", read_json(path))
            for key, value in (
                ("do_resize", True),
                ("do_center_crop", False),
                ("do_rescale", True),
                ("offset", True),
                ("do_normalize", True),
                ("resample", 2),
            ):
                raw.must_equal(key, value)
            factor = raw.number("rescale_factor", 1 / 127.5)
            if abs(factor - 1 / 127.5) > 1e-9:
                raise ConfigError(f"rescale_factor is {factor}, not 1/127.5")
            return cls(
                size=_size(raw),
                mean=_three(raw, "image_mean"),
                std=_three(raw, "image_std", minimum=1e-6),
            )
        except ConfigError as error:
            raise ModelError(f"{path}: is not a preprocessor configuration: {error}") from error


def _size(raw: Section) -> dict[str, int] | tuple[int, int]:
    """The size of a processor; ``224`` is its shortest edge, ``[224, 224]`` height and width."""
    value = raw.get("size", None)
    if isinstance(value, list):
        if len(value) != 2:
            raise ConfigError(f"size must be two numbers, height and width, not {value}")
        value = dict(zip(("height", "width"), value, strict=True))
    elif not isinstance(value, Mapping):
        return {"shortest_edge": raw.size("size", maximum=MAX_EDGE)}
    size = Section("size", value)
    if "shortest_edge" in size.values:
        return {"shortest_edge": size.size("shortest_edge", maximum=MAX_EDGE)}
    return size.size("height", maximum=MAX_EDGE), size.size("width", maximum=MAX_EDGE)


def _three(raw: Section, key: str, *, minimum: float = -math.inf) -> tuple[float, float, float]:
    """A number for each of red, green and blue."""
    values = raw.get(key, None)
    if not isinstance(values, list) or len(values) != 3:
        raise ConfigError(f"{key} must be three numbers")
    red, green, blue = (
        Section(key, {"value": value}).number("value", minimum=minimum) for value in values
    )
    return red, green, blue


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

    Raises:
        ModelError: A file is missing or unreadable, or a tensor is missing, mis-shaped or of
            another type than F32, F16 or BF16; the message names it.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: {name} is missing",
                hint=f"a checkpoint folder contains {', '.join(FILES)}",
            )
    config = GazeConfig.from_file(folder / CONFIG)
    preprocessing = Preprocessing.from_file(folder / PREPROCESSOR)
    with torch.device("meta"):
        network = AutoGazeNetwork(config)
    weights = _read_weights(folder / WEIGHTS, network.state_dict())
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False), config, preprocessing


def _read_weights(path: Path, wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The wanted tensors as float32; others in the file are left alone."""
    weights, wrong = {}, []
    try:
        with safe_open(str(path), framework="pt") as file:
            present = set(file.keys())
            missing = [name for name in wanted if name not in present]
            if missing:
                raise ModelError(f"{path}: {len(missing)} tensors are missing: {_some(missing)}")
            for name, like in wanted.items():
                tensor = file.get_tensor(name)
                if tensor.shape != like.shape or tensor.dtype not in _DTYPES:
                    wrong.append(
                        f"{name} is {tensor.dtype} {list(tensor.shape)}, "
                        f"not float {list(like.shape)}"
                    )
                weights[name] = tensor.float()
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: is not a readable safetensors file ({error})") from error
    if wrong:
        raise ModelError(f"{path}: {len(wrong)} tensors do not fit config.json: {_some(wrong)}")
    return weights


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
