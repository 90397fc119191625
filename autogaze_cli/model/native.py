"""Fast layers for the CPU, compiled from ``native.c`` for each instruction set.

Equal to ``GazeDecoder.forward`` of ``network.py`` up to the rounding of sums, and about twice as
fast as ``packed.py``, which serves whatever these do not: other precisions, devices and head sizes.
They are built when the package is installed with a C compiler. ``AUTOGAZE_NATIVE=0`` disables them,
and the name of an instruction set forces it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.errors import ConfigError
from autogaze_cli.model.cache import KVCache
from autogaze_cli.model.layers import Linear, PackedWeights

SETS = ("avx512", "avx2", "neon", "plain")
"""Instruction sets, fastest first; ``plain`` runs on every processor."""
HEAD_DIM = 32
MAX_TOKENS = 1 << 26
"""Of one call, so that C counts a head's numbers in 32 bits."""
LANES = 16
"""``intermediate_size`` is a multiple of it: the most floats that a vector register holds."""


class _LayerStruct(ctypes.Structure):
    _fields_ = [
        (name + suffix, ctypes.c_void_p)
        for suffix in ("", "_bias")
        for name in ("queries", "keys_values", "out", "gate_up", "down")
    ]


class _CacheStruct(ctypes.Structure):
    _fields_ = [
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("start", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("length", ctypes.c_int32),
    ]


@cache
def load(name: str) -> ctypes.CDLL | None:
    """The code of an instruction set; None if it was not built or the processor lacks the set."""
    for path in sorted(Path(__file__).parent.glob(f"_native_{name}.*")):
        try:
            code = ctypes.CDLL(str(path))
        except OSError:
            continue
        if code.supported():
            return code
    return None


def instruction_set() -> str | None:
    """The instruction set of the compiled layers; None when PyTorch's own operations run instead.

    Raises:
        ConfigError: ``AUTOGAZE_NATIVE`` names one that is unknown, not built, or not had here.
    """
    found = [name for name in SETS if load(name)]
    forced = os.environ.get("AUTOGAZE_NATIVE", "")
    if forced == "0":
        return None
    if forced and forced not in found:
        raise ConfigError(
            f"AUTOGAZE_NATIVE: {forced!r} is not an instruction set of the compiled layers here",
            hint=f"set it to {', '.join([*found, '0'])}, or leave it out",
        )
    return forced or next(iter(found), None)


class NativeLayers:
    """Runs packed weights with the compiled code."""

    def __init__(self, weights: PackedWeights, code: ctypes.CDLL) -> None:
        self.code, self.frequencies = code, weights.frequencies.numpy()
        self.config = weights.config
        self.key_block: int = code.panel()
        self.head_columns = len(weights.head.weight)
        self._kept: list[Tensor] = []
        c = weights.config
        head = panels(weights.head.weight, self.key_block)
        self.head = self._keep(head, len(head), c.hidden_size, self.key_block)
        width = c.num_attention_heads * HEAD_DIM
        sizes = {  # outputs and inputs
            "queries": (width, c.hidden_size),
            "keys_values": (2 * width, c.hidden_size),
            "out": (c.hidden_size, width),
            "gate_up": (2 * c.intermediate_size, c.hidden_size),
            "down": (c.hidden_size, c.intermediate_size),
        }
        self.layers = (_LayerStruct * len(weights.layers))()
        for struct, layer in zip(self.layers, weights.layers, strict=True):
            for name, (outputs, inputs) in sizes.items():
                linear: Linear = getattr(layer, name)
                blocks = -(-outputs // self.key_block), inputs, self.key_block
                weight = panels(linear.weight, self.key_block)
                setattr(struct, name, self._keep(weight, *blocks))
                if linear.bias is not None:
                    setattr(struct, name + "_bias", self._keep(linear.bias.contiguous(), outputs))

    @classmethod
    def for_weights(cls, weights: PackedWeights) -> NativeLayers | None:
        """The compiled layers, where they are built and serve this model."""
        c, name = weights.config, instruction_set()
        if (
            name is None
            or weights.embed.device.type != "cpu"
            or weights.embed.dtype != torch.float32
            or c.head_dim != HEAD_DIM
            or c.num_key_value_heads != c.num_attention_heads
            or c.intermediate_size % LANES
        ):
            return None
        code = load(name)
        assert code is not None
        return cls(weights, code)

    def _keep(self, tensor: Tensor, *shape: int) -> int:
        """The address of a tensor that lives as long as this object."""
        self._kept.append(tensor)
        return _address(tensor, *shape)

    def run(
        self,
        x: Tensor,
        positions: NDArray[np.int64],
        caches: Sequence[KVCache],
        lengths: list[int],
    ) -> Tensor:
        """Run new tokens through all layers: see ``PackedLayers.run``.

        Raises:
            MemoryError: The working memory cannot be allocated.
            ValueError: Tokens or caches are not those of this model, or do not fit the lengths.
        """
        c = self.config
        if not len(x) == len(positions) == sum(lengths) < MAX_TOKENS or min(lengths) < 1:
            raise ValueError(f"{len(x)} tokens, {len(positions)} positions, lengths {lengths}")
        x = x.contiguous().clone()  # [n, c], overwritten
        tokens = _address(x, len(x), c.hidden_size)
        angles = positions.astype(np.float32)[:, None] * self.frequencies  # [n, d/2]
        rotations = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        depth = len(self.layers)
        structs = (_CacheStruct * (depth * len(caches)))()
        for i, (one, length) in enumerate(zip(caches, lengths, strict=True)):
            structs[i :: len(caches)] = self._cache_structs(one, length)
        out = torch.empty(len(caches), c.hidden_size)
        failed = self.code.run(
            self.layers, depth, c.num_attention_heads, c.hidden_size, c.intermediate_size,
            ctypes.c_float(c.rms_norm_eps), ctypes.c_void_p(tokens), len(x),
            rotations.ctypes.data_as(ctypes.c_void_p), structs, len(caches),
            ctypes.c_void_p(out.data_ptr()), torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"cannot allocate the decoder's working memory for {len(x)} tokens")
        return out

    def _cache_structs(self, cache: KVCache, length: int) -> list[_CacheStruct]:
        """Each layer's cache of a sequence, of whose tokens the last ``length`` are new."""
        heads, block = self.config.num_attention_heads, self.key_block
        capacity = cache.values[0].shape[1]
        if not 0 <= cache.start <= cache.end - length <= capacity - length:
            raise ValueError(f"{length} tokens at the end of {cache.start} to {cache.end}")
        if not len(cache.keys) == len(cache.values) == len(self.layers):
            raise ValueError(f"a cache of {len(cache.keys)} layers for {len(self.layers)}")
        return [
            _CacheStruct(
                _address(keys, heads, capacity // block, HEAD_DIM, block),
                _address(values, heads, capacity // block * block, HEAD_DIM),
                *(capacity, cache.start, cache.end, length),
            )
            for keys, values in zip(cache.keys, cache.values, strict=True)
        ]

    def head_scores(self, hidden: Tensor) -> Tensor:
        """Both heads' scores: see ``PackedLayers.head_scores``."""
        out = torch.empty(len(hidden), self.head_columns)
        address = _address(hidden, len(hidden), self.config.hidden_size)
        self.code.linear(
            ctypes.c_void_p(address), len(hidden), self.config.hidden_size,
            ctypes.c_void_p(self.head), None, self.head_columns, None,
            ctypes.c_void_p(out.data_ptr()), torch.get_num_threads(),
        )  # fmt: skip
        return out


def _address(tensor: Tensor, *shape: int) -> int:
    """Where a tensor lies that C reads or writes as float32 of this shape."""
    fits = tensor.shape == shape and tensor.dtype == torch.float32 and tensor.is_contiguous()
    if not fits or not tensor.is_cpu:
        found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        raise ValueError(f"{found} where contiguous float32 {list(shape)} on the CPU belongs")
    return tensor.data_ptr()


def panels(weight: Tensor, columns: int) -> Tensor:
    """A weight ``[out, in]`` as panels of columns, ``[panels, in, columns]``, padded with zeros."""
    missing = -len(weight) % columns
    return (
        F.pad(weight, (0, 0, 0, missing))
        .view(-1, columns, weight.shape[1])
        .transpose(1, 2)
        .contiguous()
    )
