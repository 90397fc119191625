"""Finding and reading checkpoints: configuration, weights and preprocessor settings.

Source: inference spec 1.3 to 1.5. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from autogaze_cli.errors import ModelError
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
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


def find_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint.

    Args:
        name: A folder, or a Hub id (``owner/name``) that is in the local Hub cache.

    Raises:
        ModelError: There is none; the message says where it was looked for.
    """
    folder = Path(name).expanduser()
    looked = [str(folder)]
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{name}: is a file", hint=f"give the folder that holds {WEIGHTS}")
    if str(name).count("/") == 1 and not str(name).startswith((".", "~", "/")):
        cache = _hub_cache() / ("models--" + str(name).replace("/", "--"))
        looked.append(str(cache))
        try:
            revision = (cache / "refs" / "main").read_text(encoding="utf-8").strip()
        except OSError:
            revision = ""
        snapshot = cache / "snapshots" / revision
        if revision and snapshot.is_dir():
            return snapshot
    raise ModelError(
        f"{name}: no such model, looked for {' and '.join(looked)}",
        hint=f"give a folder that holds {CONFIG}, {WEIGHTS} and {PREPROCESSOR}",
    )


def _hub_cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "huggingface"
    )
    return Path(home) / "hub"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_network(folder: Path) -> tuple[AutoGazeNetwork, GazeConfig, Preprocessing]:
    """Build the network of a checkpoint folder, float32, on the CPU, in evaluation mode.

    Raises:
        ModelError: A file is missing or unreadable, or a tensor is missing, mis-shaped or of
            another type than F32, F16 or BF16; the message names it.
    """
    for name in (CONFIG, WEIGHTS, PREPROCESSOR):
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
