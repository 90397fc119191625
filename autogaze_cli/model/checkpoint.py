"""Reading checkpoints: configuration, weights and preprocessor settings.

Source: inference spec 1.3 to 1.5. Nothing that is read here can run code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from autogaze_cli.errors import ModelError
from autogaze_cli.model.catalog import CONFIG, FILES, MODELS, PREPROCESSOR, WEIGHTS, find
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How frames become model input; the defaults are the published checkpoint's.

    Attributes:
        size: ``{"shortest_edge": n}`` keeps the aspect ratio; ``(height, width)`` stretches.
        mean: Subtracted from values in -1..1, a channel.
        std: Divides the result, a channel.
    """

    size: dict[str, int] | tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_file(cls, path: Path) -> Preprocessing:
        """Read ``preprocessor_config.json``; refuses what the published processor never does."""
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            size: dict[str, int] | tuple[int, int] = raw["size"]
            if isinstance(size, dict) and "shortest_edge" not in size:
                size = (int(size["height"]), int(size["width"]))
            wanted = {"do_rescale": True, "offset": True, "do_normalize": True, "resample": 2}
            for key, value in wanted.items():
                if raw.get(key, value) != value:
                    raise ModelError(f"{path}: {key} is {raw[key]}, only {value} is known")
            if abs(float(raw.get("rescale_factor", 1 / 127.5)) - 1 / 127.5) > 1e-9:
                raise ModelError(f"{path}: rescale_factor is {raw['rescale_factor']}, not 1/127.5")
            mean, std = (tuple(float(v) for v in raw[key]) for key in ("image_mean", "image_std"))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: is not a preprocessor configuration ({error})") from error
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ModelError(f"{path}: image_mean and image_std must be three numbers each")
        return cls(size=size, mean=mean, std=std)


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
                f"{folder}: holds no {name}",
                hint="a checkpoint is config, weights and preprocessor",
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
                raise ModelError(f"{path}: lacks {len(missing)} tensors: {_some(missing)}")
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
