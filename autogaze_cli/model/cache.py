"""The key-value cache of one sequence.

It holds only tokens that a later query may see, so a token's rotary position is its index in the
cache plus the number of tokens dropped before it; except for the chunks within a frame, which all
take the positions of the frame's last ``K`` vision tokens. Source: inference spec 3.6, 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_DROPPED = 1 << 16
"""Positions that may be dropped before ``move_back`` renumbers the rest from 0.

Only differences of positions matter, but an angle is a float32 product: at position 65,536 it is
accurate to 0.004 radians, and a day of video further on not even to a whole turn.
"""


@dataclass(slots=True)
class KVCache:
    """Keys and values of one sequence, for all layers, and its place in the stream.

    Attributes:
        keys: Rotated keys of each layer, ``[heads, capacity, d]``; with ``block`` above 1
            ``[heads, capacity / block, d, block]``, the layout of the compiled layers.
        values: Values of each layer, ``[heads, capacity, d]``.
        block: Tokens whose keys lie side by side.
        start: Index of the first visible token.
        end: One past the last token.
        dropped: Tokens that have left the cache; index ``i`` has position ``dropped + i``.
        chunk_position: First position of the present frame's chunks.
        pending: Valid ids of the last chunk, which enters with the next call, ``int64 [<= K]``.
        frames: Number of tokens of each remembered frame, oldest first.
    """

    keys: list[Tensor]
    values: list[Tensor]
    block: int
    start: int = 0
    end: int = 0
    dropped: int = 0
    chunk_position: int = 0
    pending: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    frames: list[int] = field(default_factory=list)

    @property
    def next_position(self) -> int:
        """The rotary position of the next token."""
        return self.dropped + self.end

    def reserve(self, count: int) -> None:
        """Make room for ``count`` more tokens: grow, or move the visible ones to the front."""
        capacity = self.values[0].shape[1]
        if self.end + count <= capacity:
            return
        first = self.start // self.block * self.block
        live = self.end - first
        larger = capacity if live + count <= capacity else max(2 * capacity, live + count)
        larger += -larger % self.block
        for buffers, unit in ((self.keys, self.block), (self.values, 1)):
            for i, old in enumerate(buffers):
                new = old.new_empty(old.shape[0], larger // unit, *old.shape[2:])
                kept = -(-live // unit)
                new[:, :kept] = old[:, first // unit : first // unit + kept]
                buffers[i] = new
        self.dropped += first
        self.start, self.end = self.start - first, live

    def extend(self, count: int) -> None:
        """Add ``count`` tokens, whose keys and values each layer then writes.

        ``append`` writes them, or the compiled layers do.
        """
        self.end += count

    def append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Write one layer's keys and values ``[n, heads, d]`` of the last ``n`` tokens."""
        new = slice(self.end - len(keys), self.end)
        self.keys[layer][:, new] = keys.transpose(0, 1)
        self.values[layer][:, new] = values.transpose(0, 1)

    def keep_of_last(self, keep: NDArray[np.bool_]) -> None:
        """Take some of the last ``n`` tokens out of the cache again.

        Args:
            keep: Which of them stay, ``bool [n]``.
        """
        first = self.end - len(keep)
        old = first + np.flatnonzero(keep)
        new = first + np.arange(len(old))
        for keys, values in zip(self.keys, self.values, strict=True):
            if self.block == 1:
                keys[:, new] = keys[:, old]
            else:
                keys[:, new // self.block, :, new % self.block] = keys[
                    :, old // self.block, :, old % self.block
                ]
            values[:, new] = values[:, old]
        self.end = first + len(old)

    def visible(self, layer: int) -> tuple[Tensor, Tensor]:
        """One layer's keys and values that a query may see, ``[heads, n, d]`` each."""
        seen = slice(self.start, self.end)
        return self.keys[layer][:, seen], self.values[layer][:, seen]

    def forget(self, horizon: int) -> None:
        """Drop the oldest frames until fewer than ``horizon`` remain.

        Source: inference spec 7.2.
        """
        while len(self.frames) >= horizon:
            self.start += min(self.frames.pop(0), self.end - self.start)

    def move_back(self, frequencies: Tensor) -> None:
        """Renumber the positions of a long stream from 0, and rotate its keys back to match.

        Does nothing until more than ``MAX_DROPPED`` tokens were dropped.

        Args:
            frequencies: Angle per position of each rotary pair, ``[d / 2]``.

        Source: inference spec 7.2 (positions are never renumbered there).
        """
        if self.dropped < MAX_DROPPED:
            return
        angles = frequencies.cpu().double() * -self.dropped
        rotations = torch.polar(torch.ones_like(angles), angles)
        live = slice(self.start // self.block, -(-self.end // self.block))
        for keys in self.keys:
            cached = keys[:, live] if self.block == 1 else keys[:, live].transpose(-1, -2)
            exact = cached.cpu().double().contiguous()  # [..., d]; not every device has float64
            pairs = torch.view_as_complex(exact.view(*exact.shape[:-1], -1, 2))
            cached.copy_(torch.view_as_real(pairs * rotations).flatten(-2))
        self.dropped = 0
