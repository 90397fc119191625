"""Reading an encoder: a folder with ``config.json`` and weights in the safetensors format.

The weights go straight into ``VisionTransformer``, so no other library runs, and nothing that is
read can run code.
"""

from __future__ import annotations

import hashlib
import reprlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from autogaze_cli.encoders.config import ProcessorFile, VisionFile, read_as
from autogaze_cli.encoders.families import FAMILIES, Family
from autogaze_cli.encoders.network import VisionTransformer
from autogaze_cli.errors import ConfigError, FormatError, ModelError
from autogaze_cli.model.catalog import CONFIG, PREPROCESSOR, WEIGHTS, find, sha256_of
from autogaze_cli.model.files import read_json
from autogaze_cli.model.weights import is_finite
from autogaze_cli.reading import brief, require_unique_names

INDEX = WEIGHTS + ".index.json"

_TYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """How an encoder's processor turns pixels 0..255 into its input.

    Attributes:
        mean: Subtracted from pixels in 0..1, per channel.
        std: Divides the result, per channel.
        resample: Pillow's number of the filter that resizes frames.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int


def find_encoder(name: str | Path) -> Path:
    """The folder of an encoder.

    Args:
        name: A folder, or the id of a model in the Hub cache (``owner/name``,
            ``owner/name@revision``). A ``Path`` is a folder.

    Raises:
        ModelError: There is none.
    """
    try:
        folder = find(name).folder
    except ModelError as error:
        message = str(error).replace("no such model", "no such encoder")
        hint = f"give a folder with {CONFIG} and {WEIGHTS}, or an id that is in the Hub cache"
        raise ModelError(message, hint=hint) from error
    assert folder is not None  # what is found is here
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder.

    Raises:
        ModelError: There is none, or the index of several is damaged.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"{folder}: {WEIGHTS} is missing",
            hint=f"an encoder's folder contains {CONFIG} and {WEIGHTS}",
        )
    raw = read_json(folder / INDEX)
    names = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise ModelError(f"{folder / INDEX}: has no weight_map")
    # A name with a folder in it could lead out of this one.
    files = [folder / Path(name).name for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file():
            raise ModelError(
                f"{folder / INDEX}: names {reprlib.repr(file.name)}, which is no file there",
                hint="download the encoder again",
            )
    return files


def encoder_sha256(folder: Path) -> str:
    """The SHA-256 of an encoder's weights; of several files, that of their SHA-256 in a row."""
    hashes = [sha256_of(path) for path in weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_encoder(folder: Path) -> tuple[VisionTransformer, Processing]:
    """Build the network of a folder, float32, on the CPU, in evaluation mode.

    Raises:
        ModelError: A file is missing or damaged, the family is unknown, or the weights are not
            those of a vision model that ``config.json`` describes.
    """
    config, kind = _read_config(folder / CONFIG)
    family = FAMILIES[kind]
    with ExitStack() as stack:
        weights = _Weights(folder, family, stack)
        try:
            sizes = family.sizes(config, weights)
        except ConfigError as error:
            raise ModelError(f"{folder / CONFIG}: {error}", hint=error.hint) from error
        with torch.device("meta"):
            network = VisionTransformer(sizes)
        tensors = _fitted(dict(family.weights(weights, sizes)), network, folder)
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False), _read_processing(folder / PREPROCESSOR, family)


def _read_config(path: Path) -> tuple[VisionFile, str]:
    """The part of ``config.json`` about the vision model, and its ``model_type``."""
    if not path.is_file():
        raise ModelError(
            f"{path.parent}: {CONFIG} is missing",
            hint=f"an encoder's folder contains {CONFIG} and {WEIGHTS}",
        )
    whole = read_json(path)
    kind = whole.get("model_type") if isinstance(whole, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        what = f"is of model_type {reprlib.repr(kind)}"
        if isinstance(whole, dict) and "gaze_model_config" in whole:
            what = "is a gaze model"
        known = ", ".join(name for name in FAMILIES if not name.endswith("_vision_model"))
        raise ModelError(f"{path}: {what}, not an encoder", hint=f"encoders are {known}")
    part = whole.get("vision_config") or whole  # of a model that reads text too
    try:
        return read_as(VisionFile, part), kind
    except ConfigError as error:
        raise ModelError(f"{path}: is not the configuration of an encoder: {error}") from error


class _Weights:
    """The tensors of a vision model, by their names within it; see ``families.Weights``."""

    def __init__(self, folder: Path, family: Family, stack: ExitStack) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        for path in weight_files(folder):
            try:
                require_unique_names(path)
                file = stack.enter_context(safe_open(str(path), framework="pt"))
            except (SafetensorError, FormatError, OSError) as error:
                why = brief(error)
                raise ModelError(f"{path}: is not a readable safetensors file ({why})") from error
            names = dict.fromkeys(file.keys(), file)
            if twice := sorted(self._files.keys() & names.keys()):
                raise ModelError(f"{path}: has {brief(twice[0])}, as another file does")
            self._files |= names
        found = [name for name in self._files if f".{name}".endswith(f".{family.first}")]
        if not found:
            raise ModelError(
                f"{folder}: has no vision weights ({family.first})",
                hint="give the folder of a model with a vision transformer",
            )
        vision = [name for name in found if "vision" in name]
        self._prefix = min(vision or found, key=len).removesuffix(family.first)

    def __contains__(self, name: object) -> bool:
        return f"{self._prefix}{name}" in self._files

    def __getitem__(self, name: str) -> Tensor:
        full = self._prefix + name
        if full not in self._files:
            raise ModelError(f"{self.folder}: the tensor {full} is missing")
        tensor: Tensor = self._files[full].get_tensor(full)
        if tensor.dtype not in _TYPES:
            raise ModelError(f"{self.folder}: the tensor {full} is {tensor.dtype}, not a float")
        if not is_finite(tensor):
            raise ModelError(f"{self.folder}: the tensor {full} has values that are not finite")
        return tensor.float()


def _fitted(
    tensors: dict[str, Tensor], network: VisionTransformer, folder: Path
) -> dict[str, Tensor]:
    """The tensors in the shapes of the network; those of convolutions become matrices."""
    for name, like in network.state_dict().items():
        tensor = tensors[name]
        if name == "patch.weight":
            tensor = tensor.flatten(1)
        if tensor.shape != like.shape:
            raise ModelError(
                f"{folder}: {name} is {list(tensor.shape)}, and {CONFIG} asks for "
                f"{list(like.shape)}"
            )
        tensors[name] = tensor.contiguous()
    return tensors


def _read_processing(path: Path, family: Family) -> Processing:
    """The processor's numbers, or the family's own where there is no file."""
    try:
        file = read_as(ProcessorFile, read_json(path)) if path.is_file() else ProcessorFile()
        if abs(file.rescale_factor - 1 / 255) > 1e-9:
            raise ConfigError(f"rescale_factor is {file.rescale_factor}, not 1/255")
    except ConfigError as error:
        raise ModelError(f"{path}: is not a processor's configuration: {error}") from error
    return Processing(
        mean=file.image_mean or family.mean,
        std=file.image_std or family.std,
        resample=family.resample if file.resample is None else file.resample,
    )
