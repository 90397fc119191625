"""The tensors of a checkpoint, and the network that is built from them.

Source: inference spec 1.4, 1.5. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from autogaze_cli.errors import FormatError, ModelError
from autogaze_cli.model.catalog import MOST_HASHED_BYTES, sha256_of
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.reading import brief, tensor_list

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a checkpoint.

    Attributes:
        tensors: By their published names.
        source: Where they are from, as messages name it.
        sha256: Of the file or bytes, hexadecimal; empty where they came as tensors.
    """

    tensors: Mapping[str, Tensor]
    source: str
    sha256: str = ""


def read_weights(given: str | Path | bytes | Mapping[str, Tensor]) -> Weights:
    """Weights from a safetensors file, from its content, or from tensors by name.

    Args:
        given: A path, the bytes of a file, or tensors by their published names, which are shared
            and not copied where they are float32 on the CPU.

    Raises:
        ModelError: It is not a readable safetensors file.
    """
    if isinstance(given, Mapping):
        return Weights(dict(given), "the weights")
    source = "the weights" if isinstance(given, bytes) else str(given)
    try:
        if isinstance(given, bytes):
            tensor_list(io.BytesIO(given))
            return Weights(load(given), source, hashlib.sha256(given).hexdigest())
        with Path(given).open("rb") as file:
            if (size := file.seek(0, os.SEEK_END)) > MOST_HASHED_BYTES:
                raise OSError(None, f"{size} bytes, more than {MOST_HASHED_BYTES}")
            file.seek(0)
            tensor_list(file)
        return Weights(load_file(given), source, sha256_of(Path(given)))
    except (SafetensorError, FormatError, OSError) as error:
        why = brief(error)
        raise ModelError(f"{source}: is not a readable safetensors file ({why})") from error


def build_network(config: GazeConfig, weights: Weights, *, strict: bool = True) -> AutoGazeNetwork:
    """A network with given weights, float32, on the CPU, in evaluation mode.

    Args:
        config: Its sizes.
        weights: Its tensors by their published names.
        strict: Refuse weights in which a tensor is missing, and ignore those of other names.
            Otherwise both are reported as a warning, and a missing tensor becomes that of a layer
            which adds nothing: 1 for the weight of a normalisation, 0 for all else. Nothing is
            random.

    Raises:
        ModelError: A tensor is missing, or one is mis-shaped, of another type than F32, F16 or
            BF16, or not finite, which no setting permits; the message names it.
    """
    with torch.device("meta"):
        network = AutoGazeNetwork(config)
    wanted, source = network.state_dict(), weights.source
    missing = [name for name in wanted if name not in weights.tensors]
    if missing and strict:
        raise ModelError(f"{source}: {len(missing)} tensors are missing: {_some(missing)}")
    found, wrong = {}, []
    for name, like in wanted.items():
        if name in missing:
            fill = torch.ones if "norm" in name and name.endswith("weight") else torch.zeros
            found[name] = fill(like.shape)
            continue
        tensor = weights.tensors[name]
        if tensor.shape != like.shape or tensor.dtype not in _DTYPES:
            wrong.append(
                f"{name} is {tensor.dtype} {list(tensor.shape)}, not float {list(like.shape)}"
            )
        found[name] = tensor.to("cpu", torch.float32)
    if wrong:
        raise ModelError(f"{source}: {len(wrong)} tensors do not fit config.json: {_some(wrong)}")
    if damaged := [name for name, tensor in found.items() if not is_finite(tensor)]:
        raise ModelError(
            f"{source}: {len(damaged)} tensors contain values that are not finite: {_some(damaged)}"
        )
    unknown = [name for name in weights.tensors if name not in wanted]
    for names, what in ((missing, "are missing, 0 or 1 instead"), (unknown, "are ignored")):
        if names and not strict:
            warnings.warn(f"{source}: {len(names)} tensors {what}: {_some(names)}", stacklevel=2)
    network.load_state_dict(found, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def is_finite(tensor: Tensor) -> bool:
    """Whether no value of a tensor of floats is infinite or no number.

    The least and the greatest are no numbers if any is none, and take a twentieth of the time of
    looking at each value.
    """
    return not tensor.numel() or all(one.isfinite() for one in tensor.aminmax())


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
