"""The C code of the page, compiled for this processor, or run as the WebAssembly of the package."""

from __future__ import annotations

import ctypes
import json
import math
import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

HEAD_DIM = 32
_TYPES = {"F32": 0, "F16": 1, "BF16": 2}
_VISION = "gazing_model.vision_model."
_DECODER = "gazing_model.gaze_decoder."
_LAYER = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    "input_layernorm",
    "post_attention_layernorm",
)


class Machine(Protocol):
    """Something that runs the compiled code: its functions take addresses of its own memory."""

    def call(self, name: str, *values: int | float) -> int:
        """The result of a function."""

    def store(self, content: bytes) -> int:
        """The address of new memory with this content."""

    def load(self, address: int, size: int) -> bytes:
        """What lies at an address."""

    def free(self, address: int) -> None:
        """Give memory back."""

    @property
    def pointer(self) -> str:
        """How ``struct`` packs an address."""


class Native:
    """The code as a library of this process."""

    pointer = "Q"

    def __init__(self, path: Path) -> None:
        self._code = ctypes.CDLL(str(path))
        self._kept: dict[int, Any] = {}

    def call(self, name: str, *values: int | float) -> int:
        function = getattr(self._code, name)
        function.restype = ctypes.c_void_p if name != "gaze_frame" else ctypes.c_int
        given = [ctypes.c_float(v) if isinstance(v, float) else ctypes.c_void_p(v) for v in values]
        return function(*given) or 0

    def store(self, content: bytes) -> int:
        buffer = ctypes.create_string_buffer(content, len(content))
        self._kept[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def free(self, address: int) -> None:
        del self._kept[address]

    def load(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)


class Wasm:
    """The code as WebAssembly, in wasmtime."""

    pointer = "I"

    def __init__(self, path: Path) -> None:
        import wasmtime

        self._store = wasmtime.Store()
        module = wasmtime.Module(self._store.engine, path.read_bytes())
        exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._exports: Any = exports
        self.call("_initialize")

    @property
    def pages(self) -> int:
        """The size of the memory."""
        size: int = self._exports["memory"].size(self._store)
        return size

    def free(self, address: int) -> None:
        self.call("free", address)

    def call(self, name: str, *values: int | float) -> int:
        found: int = self._exports[name](self._store, *values) or 0
        return found

    def store(self, content: bytes) -> int:
        address = self.call("malloc", len(content))
        self._exports["memory"].write(self._store, content, address)
        return address

    def load(self, address: int, size: int) -> bytes:
        found: bytes = bytes(self._exports["memory"].read(self._store, address, address + size))
        return found


class Portable:
    """A checkpoint in a machine, and streams of it."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        raw = json.loads((folder / "config.json").read_text())
        gaze = raw["gaze_model_config"]
        vision, decoder = gaze["vision_model_config"], gaze["gaze_decoder_config"]
        processor = json.loads((folder / "preprocessor_config.json").read_text())
        self.side = gaze["input_img_size"]
        self.ids = raw["num_vision_tokens_each_frame"]
        self.chunk = decoder["num_multi_token_pred"]
        sizes = [self.side, vision["kernel_size"], vision["hidden_dim"], vision["depth"]]
        sizes += [vision["trunk_temporal_kernel_size"], vision["trunk_spatial_kernel_size"]]
        sizes += [decoder["hidden_size"], decoder["intermediate_size"]]
        sizes += [decoder["num_hidden_layers"], decoder["num_attention_heads"]]
        sizes += [self.ids + 1, self.chunk, processor["size"]["shortest_edge"]]
        numbers = [decoder["rms_norm_eps"], *processor["image_mean"], *processor["image_std"]]
        numbers += frequencies(decoder).tolist()
        config = struct.pack(f"<{len(sizes)}i{len(numbers)}f", *sizes, *numbers)
        names = tensor_names(vision["depth"], decoder["num_hidden_layers"])
        tensors = [self._tensor(*one) for one in _read(folder / "model.safetensors", names)]
        addresses = struct.pack(f"<{len(tensors)}{machine.pointer}", *tensors)
        self._model = machine.call("new_model", machine.store(config), machine.store(addresses))
        self._input = machine.store(bytes(4 * 3 * self.side**2))
        outputs = self.chunk * (self.ids + 2)
        self._ids, self._confidences = (machine.store(bytes(4 * self.ids)) for _ in range(2))
        self._scores = machine.store(bytes(4 * outputs))
        self._outputs = outputs

    def _tensor(self, content: bytes, kind: str, count: int) -> int:
        raw = self.machine.store(content)
        tensor = self.machine.call("expand", raw, _TYPES[kind], count)
        self.machine.free(raw)
        return tensor

    def stream(self) -> int:
        """A new stream."""
        return self.machine.call("new_stream", self._model)

    def put(self, frame: NDArray[np.uint8]) -> None:
        """Make a frame, RGB ``[h, w, 3]``, the input of ``gaze``."""
        height, width, _ = frame.shape
        self._put("input_whole", frame, width, height)

    def input(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The input that ``put`` makes, ``[3, side, side]``."""
        self.put(frame)
        return self._array(self._input, 3 * self.side**2).reshape(3, self.side, self.side)

    def tile(
        self, frame: NDArray[np.uint8], canvas: tuple[int, int], left: int, top: int, tile: int
    ) -> NDArray[np.float32]:
        """A tile, as ``input`` does the whole; ``canvas`` is width and height, or zeros."""
        height, width, _ = frame.shape
        self._put("input_tile", frame, width, height, *canvas, left, top, tile)
        return self._array(self._input, 3 * self.side**2).reshape(3, self.side, self.side)

    def _put(self, name: str, frame: NDArray[np.uint8], *values: int) -> None:
        rgba = self.machine.store(np.dstack([frame, frame[..., 0]]).tobytes())
        self.machine.call(name, self._model, rgba, *values, self._input)
        self.machine.free(rgba)

    def gaze(
        self, stream: int, most: int, horizon: int = 0, requirement: float = math.nan
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Ids, confidences, and the first step's scores, at the input stored last."""
        outputs = self._ids, self._confidences, self._scores
        count = self.machine.call(
            "gaze_frame", self._model, stream, self._input, most, horizon, requirement, *outputs
        )
        ids = np.frombuffer(self.machine.load(self._ids, 4 * count), np.int32)
        return ids, self._array(self._confidences, count), self._array(self._scores, self._outputs)

    def _array(self, address: int, count: int) -> NDArray[np.float32]:
        return np.frombuffer(self.machine.load(address, 4 * count), np.float32)


def frequencies(decoder: dict[str, Any]) -> NDArray[np.float32]:
    """Angle per position of each rotary pair, as the page computes it."""
    scaling = decoder["rope_scaling"]
    powers = decoder["rope_theta"] ** -(np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    original = scaling["original_max_position_embeddings"]
    waves = original * powers / (2 * np.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = np.clip((waves - low) / (high - low), 0, 1)
    scaled = (1 - smooth) * powers / scaling["factor"] + smooth * powers
    return np.asarray(scaled, np.float32)


def tensor_names(depth: int, layers: int) -> list[str]:
    """The tensors in the order in which the code reads them."""
    both = ("weight", "bias")
    names = [f"{_VISION}{part}.{kind}" for part in ("temporal_conv", "norm") for kind in both]
    names += [f"{_VISION}blocks.{i}.conv3d.{kind}" for i in range(depth) for kind in both]
    names += [f"{_VISION}out_proj.{kind}" for kind in both]
    names += ["gazing_model.connector.pos_embed", f"{_DECODER}model.embed_tokens.weight"]
    names += [f"{_DECODER}model.layers.{n}.{p}.weight" for n in range(layers) for p in _LAYER]
    ends = ("model.norm", "lm_head", "task_loss_prediction_head")
    return names + [f"{_DECODER}{end}.weight" for end in ends]


def _read(path: Path, names: list[str]) -> list[tuple[bytes, str, int]]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    found = []
    for name in names:
        about = header[name]
        start, end = about["data_offsets"]
        found.append((data[start:end], about["dtype"], math.prod(about["shape"])))
    return found
