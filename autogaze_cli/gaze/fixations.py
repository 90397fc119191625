"""Fixations: the gazed cells of one frame (or of many) as a struct of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fixations:
    """``n`` gazed cells; every array has shape ``[n]``, and index ``i`` refers to the same cell.

    Attributes:
        x: Centre, as a fraction of the frame's width, float32 in 0..1.
        y: Centre, as a fraction of the frame's height, downwards, float32 in 0..1.
        width: Extent of the cell, as a fraction of the frame's width, float32 in 1e-6..1.
        height: Extent of the cell, as a fraction of the frame's height, float32 in 1e-6..1.
        confidence: float32 in 0..1. A fixation is active if and only if this is above 0.
        grid: Native grid of the token (2, 4, 7, 14), tile-local in tiled modes; 0 = unknown. int32.
        token: Token id within its frame and tile (0..264 for the published model), or the cell's
            row-major index for the patch-difference source; -1 = unknown. int32.
        tile: Index of the tile in row-major order, 0 when there is one. int32.
        slot: Position in the sequence of its tile and frame, from 0, counting padding. int32.
    """

    x: Floats
    y: Floats
    width: Floats
    height: Floats
    confidence: Floats
    grid: Ints
    token: Ints
    tile: Ints
    slot: Ints

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def empty(cls) -> Fixations:
        """No fixations."""
        return cls.from_columns(dict.fromkeys(("x", "y", "width", "height"), ()))

    @classmethod
    def from_columns(cls, columns: dict[str, Any]) -> Fixations:
        """Fixations from array-likes; missing optional columns get default values.

        Args:
            columns: ``x``, ``y``, ``width``, ``height`` are required; ``confidence`` defaults to 1,
                ``grid`` to 0, ``token`` to -1, ``tile`` to 0, ``slot`` to 0, 1, 2, ...
        """
        n = len(columns["x"])
        defaults: dict[str, Any] = {
            "confidence": np.ones(n),
            "grid": np.zeros(n),
            "token": np.full(n, -1),
            "tile": np.zeros(n),
            "slot": np.arange(n),
        }
        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(columns.get(name, defaults.get(name)), dtype)
            for name, dtype in COLUMNS.items()
        }
        return cls(**arrays)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the order of ``COLUMNS``."""
        return {name: getattr(self, name) for name in COLUMNS}

    def select(self, index: slice | NDArray[Any]) -> Fixations:
        """The fixations at a slice, at an array of indices, or where a boolean array is true."""
        return Fixations(**{name: column[index] for name, column in self.columns().items()})

    def active(self) -> Fixations:
        """Only the fixations whose confidence is above 0 (a NaN confidence is not)."""
        return self.select(self.confidence > 0)

    def of_whole(self, left: float, top: float, width: float, height: float) -> Fixations:
        """These cells of a part of the frame, placed in the whole frame.

        Args:
            left: Where the part begins, as a fraction of the frame's width.
            top: The same of its height.
            width: Extent of the part, as a fraction of the frame's width.
            height: The same of its height.
        """
        across, down = np.float32(width), np.float32(height)
        return replace(
            self,
            x=np.float32(left) + self.x * across,
            y=np.float32(top) + self.y * down,
            width=self.width * across,
            height=self.height * down,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Fixations]) -> Fixations:
        """All fixations of ``parts``, in that order."""
        if not parts:
            return cls.empty()
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
        )


COLUMNS: dict[str, type[np.float32 | np.int32]] = {
    field.name: np.float32 if field.type == "Floats" else np.int32 for field in fields(Fixations)
}
"""Maps column names to dtypes, in order; names are the same in memory, files and documents."""
