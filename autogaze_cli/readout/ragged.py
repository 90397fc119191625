"""Lists of different lengths, one per frame, as one array and the offsets of the lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Ragged(Sequence[NDArray[Any]]):
    """A sequence of arrays, stored as one: element ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: The elements one after the other, ``[n]`` or ``[n, columns]``.
        offsets: int64 ``[len + 1]``, from 0 to ``n``.

    Examples:
        >>> [part.tolist() for part in Ragged.of([[1, 2], [], [3]], np.int64)]
        [[1, 2], [], [3]]
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        """The ``index``-th array, a view; of a slice a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def of(
        cls, parts: Iterable[ArrayLike], dtype: type[np.int64 | np.float32], columns: int = 0
    ) -> Ragged:
        """Join ``parts``; a ``Ragged`` is taken as it is.

        Args:
            parts: Array-likes of one dimension, or of two with ``columns`` columns.
            dtype: Of the values.
            columns: 0 for one dimension.

        Raises:
            ConfigError: A part is of another shape, or not of whole numbers where those are meant.
        """
        if isinstance(parts, Ragged):
            return parts
        rows = [_part(part, dtype, columns, i) for i, part in enumerate(parts)]
        empty = np.empty((0, columns) if columns else 0, dtype)
        return cls(np.concatenate([empty, *rows]), offsets_of([len(row) for row in rows]))

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many each element holds, int64 ``[len]``."""
        return np.diff(self.offsets)

    def select(self, keep: NDArray[np.bool_]) -> Ragged:
        """Only the values where ``keep``, bool ``[n]``, is true."""
        if keep.all():
            return self
        kept_before = offsets_of(keep)
        return Ragged(self.values[keep], kept_before[self.offsets])

    def first(self, cap: int | None) -> Ragged:
        """At most the first ``cap`` of each element; None = all."""
        if cap is None or not len(self) or self.counts.max() <= cap:
            return self
        place = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.counts)
        return self.select(place < cap)


def offsets_of(counts: ArrayLike) -> NDArray[np.int64]:
    """Where each of some lists begins when they are joined, and at the end where the last ends."""
    counts = np.asarray(counts)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def whole_numbers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """``values`` as int64 ``[n]``.

    Raises:
        ConfigError: They are not one list of whole numbers.
    """
    array = np.asarray(values)
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ConfigError(
            f"{what} must be a list of whole numbers, not {array.dtype} {array.shape}"
        )
    return array.astype(np.int64)


def _part(part: ArrayLike, dtype: type[Any], columns: int, i: int) -> NDArray[Any]:
    if not columns:
        return whole_numbers(part, f"element {i}")
    array = np.asarray(part, dtype)
    if array.size == 0:
        return array.reshape(0, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ConfigError(f"element {i} must be of shape [n, {columns}], not {array.shape}")
    return array
