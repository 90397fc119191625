"""The compiled decoder layers, where they were built and the processor runs them: see ``native.c``.

They are built when the package is installed and a C compiler is there; without them, and for what
they do not serve (other types, devices and head sizes), PyTorch does the same work in twice the
time. Setting ``AUTOGAZE_NATIVE=0`` leaves them out.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from autogaze_cli.model.decode import Layer, Linear, RowState

HEAD_DIM = 32
BLOCK = 32
"""Keys that lie side by side in a cache ``[heads, capacity / BLOCK, head_dim, BLOCK]``."""
PANEL = 32
LANES = 16
"""Numbers of a vector register; the gated layer is a whole count of them."""


class _LayerStruct(ctypes.Structure):
    _fields_ = [
        (name + suffix, ctypes.c_void_p)
        for suffix in ("", "_bias")
        for name in ("queries", "keys_values", "out", "gate_up", "down")
    ]


class _RowStruct(ctypes.Structure):
    _fields_ = [
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("start", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("length", ctypes.c_int32),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None when it was not built, or the processor has no AVX-512."""
    if os.environ.get("AUTOGAZE_NATIVE") == "0":
        return None
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None  # with half the registers the blocks of native.c are slower than PyTorch
    for path in sorted(Path(__file__).parent.glob("_native_avx512*.so")):
        try:
            found = ctypes.CDLL(str(path))
        except OSError:
            continue
        found.run.restype = ctypes.c_int
        return found
    return None


class NativeLayers:
    """All layers of a decoder, with their weights packed for the compiled code."""

    def __init__(
        self, layers: Sequence[Layer], head: Linear, heads: int, eps: float, code: ctypes.CDLL
    ) -> None:
        self.code, self.heads, self.eps = code, heads, eps
        self.scores = len(head.weight)
        self.head = packed(head.weight)
        self.width = layers[0].down.weight.shape[0]
        self.wide = layers[0].down.weight.shape[1]
        self._kept: list[Tensor] = []
        names = ("queries", "keys_values", "out", "gate_up", "down")
        self.layers = (_LayerStruct * len(layers))()
        for struct, layer in zip(self.layers, layers, strict=True):
            for name in names:
                linear: Linear = getattr(layer, name)
                setattr(struct, name, self._keep(packed(linear.weight)))
                if linear.bias is not None:
                    setattr(struct, name + "_bias", self._keep(linear.bias.contiguous()))

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def run(
        self,
        x: Tensor,
        angles: NDArray[np.float32],
        rows: Sequence[RowState],
        lengths: Sequence[int],
    ) -> Tensor:
        """New slots through all layers, into the rows' caches: see ``Decoder.run``.

        Args:
            x: ``float32 [sum(lengths), c]``.
            angles: Of each slot's rotary pairs, ``[sum(lengths), head_dim / 2]``.
            rows: The rows; their ``end`` counts the new slots already.
            lengths: New slots of each row.
        """
        x = x.contiguous().clone()
        turns = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        depth = len(self.layers)
        structs = (_RowStruct * (depth * len(rows)))()
        for layer in range(depth):
            for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                keys, values = row.keys[layer], row.values[layer]
                structs[layer * len(rows) + i] = _RowStruct(
                    keys.data_ptr(), values.data_ptr(), values.shape[1], row.start, row.end, length
                )
        out = torch.empty(len(rows), self.width)
        failed = self.code.run(
            self.layers, depth, self.heads, self.width, self.wide, ctypes.c_float(self.eps),
            ctypes.c_void_p(x.data_ptr()), len(x), turns.ctypes.data_as(ctypes.c_void_p),
            structs, len(rows), ctypes.c_void_p(out.data_ptr()), torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("the decoder's working memory")
        return out

    def head_scores(self, hidden: Tensor) -> Tensor:
        """The heads' scores for normalised last slots ``[rows, c]``."""
        out = torch.empty(len(hidden), self.scores)
        self.code.linear(
            ctypes.c_void_p(hidden.data_ptr()), len(hidden), self.width,
            ctypes.c_void_p(self.head.data_ptr()), None, self.scores, None,
            ctypes.c_void_p(out.data_ptr()), torch.get_num_threads(),
        )  # fmt: skip
        return out


def packed(weight: Tensor) -> Tensor:
    """A weight ``[out, in]`` as panels of columns, ``[panels, in, PANEL]``, zeros past the last."""
    spare = -len(weight) % PANEL
    return (
        F.pad(weight, (0, 0, 0, spare))
        .view(-1, PANEL, weight.shape[1])
        .transpose(1, 2)
        .contiguous()
    )
