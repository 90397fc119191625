"""Attention over sequences of different lengths that lie one after another in one tensor.

A sequence is what attends to itself: a frame or a clip. Within it every token has a rank, and sees
the tokens whose rank is at most its own. That one rule makes every pattern:

=================  =======================================================
``frame``          sequences are frames, all ranks are 0
``clip``           sequences are clips, all ranks are 0
``block-causal``   sequences are clips, the rank is the frame
``causal``         sequences are clips, the rank is the position
=================  =======================================================

Everything but the product of queries and keys works on the tokens as they lie, so that nothing is
computed for padding. For that product sequences of like length are put side by side: of equal
length on a CPU, of nearly equal length on a GPU, where a few filled places cost less than a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.gaze.settings import Attend as Attend

ATTEND = get_args(Attend)

Ints = NDArray[np.int64]

_UNSEEN = np.iinfo(np.int32).max
"""Rank of a filled place: above all others, so that no token sees it."""

_MAX_MASK = 1 << 26
"""Elements of a mask at most, unless one sequence needs more."""

_GPU_STEP = 32
"""Lengths that differ by less are put side by side on a GPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """Sequences of like length, side by side.

    Attributes:
        sequences: Which sequences these are, ``int64 [s]``, on the host.
        index: The tokens of each, int64 ``[s, n]``; a filled place holds the sequence's first.
        mask: Which keys a query sees, bool ``[s, 1, n, n]``; None = all.
        seen: Which places are tokens, bool ``[s, 1, 1, n]``; None = all.
    """

    sequences: Ints
    index: Tensor
    mask: Tensor | None
    seen: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """How the tokens of many sequences attend to each other.

    Attributes:
        buckets: All sequences with a token, in buckets.
        order: Where each token lies in the buckets, one bucket after the other, int64 ``[n]``.
        sequences: How many sequences there are, empty ones included.
    """

    buckets: tuple[Bucket, ...]
    order: Tensor
    sequences: int

    def attend(self, qkv: Tensor, heads: int) -> Tensor:
        """Attention of every token within its sequence.

        Args:
            qkv: Queries, keys and values of every token, ``[n, 3 * d]``.
            heads: How many heads share ``d``.

        Returns:
            ``[n, d]``.
        """
        width = qkv.shape[1] // 3
        parts = []
        for bucket in self.buckets:
            s, n = bucket.index.shape
            part = qkv[bucket.index.view(-1)].view(s, n, 3, heads, width // heads)
            q, k, v = part.permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bucket.mask)
            parts.append(mixed.transpose(1, 2).reshape(s * n, width))
        return torch.cat(parts)[self.order]

    def attend_from(self, query: Tensor, kv: Tensor, heads: int) -> Tensor:
        """Attention of one query to the tokens of each sequence.

        Args:
            query: ``[d]``.
            kv: Keys and values of every token, ``[n, 2 * d]``.
            heads: How many heads share ``d``.

        Returns:
            ``[sequences, d]``; 0 for a sequence without tokens.
        """
        width = len(query)
        out = kv.new_zeros(self.sequences, width)
        for bucket in self.buckets:
            s, n = bucket.index.shape
            part = kv[bucket.index.view(-1)].view(s, n, 2, heads, width // heads)
            k, v = part.permute(2, 0, 3, 1, 4)
            q = query.view(1, heads, 1, -1).expand(s, -1, -1, -1)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bucket.seen)
            out[torch.from_numpy(bucket.sequences).to(out.device)] = mixed.reshape(s, width)
        return out

    @property
    def shape(self) -> tuple[object, ...]:
        """What two packings must have in common for a captured graph to serve both."""
        return len(self.order), *((b.index.shape, b.mask is None) for b in self.buckets)


def pack(
    sequence: Ints, rank: Ints, sequences: int, device: torch.device, *, step: int | None = None
) -> Packing:
    """Pack sequences that lie one after another.

    Args:
        sequence: Number of the sequence of each token, ascending, ``[n]``.
        rank: Rank of each token in its sequence, ``[n]``.
        sequences: How many sequences there are.
        device: Where the tokens are.
        step: Lengths that differ by less share a bucket; None = what suits the device.
    """
    step = step or (_GPU_STEP if device.type == "cuda" else 1)
    lengths = np.bincount(sequence, minlength=sequences)
    starts = np.cumsum(lengths) - lengths
    classes = -(-lengths // step)
    order, buckets, done = np.empty(len(sequence), np.int64), [], 0
    for like in np.unique(classes[lengths > 0]):
        members = np.flatnonzero(classes == like)
        longest = int(lengths[members].max())
        at_once = max(1, _MAX_MASK // longest**2)
        for first in range(0, len(members), at_once):
            part = members[first : first + at_once]
            place = np.arange(longest)
            real = place < lengths[part, None]
            index = starts[part, None] + np.where(real, place, 0)
            order[index[real]] = done + np.flatnonzero(real)
            done += index.size
            ranks = np.where(real, rank[index], _UNSEEN)
            buckets.append(_bucket(part, index, ranks, real, device))
    return Packing(tuple(buckets), torch.from_numpy(order).to(device), sequences)


def _bucket(
    members: Ints, index: Ints, ranks: Ints, real: NDArray[np.bool_], device: torch.device
) -> Bucket:
    mask = seen = None
    if (ranks != ranks[:, :1]).any():
        on_device = torch.from_numpy(ranks).to(device)
        mask = (on_device[:, None, :] <= on_device[:, :, None])[:, None]
    if not real.all():
        seen = torch.from_numpy(real).to(device)[:, None, None]
    return Bucket(members, torch.from_numpy(index).to(device), mask, seen)


def means(hidden: Tensor, which: Ints, count: int) -> Tensor:
    """Means of tokens ``[n, d]`` by group: ``[count, d]``, 0 where there are none."""
    at = torch.from_numpy(which).to(hidden.device)
    sums = hidden.new_zeros(count, hidden.shape[1], dtype=torch.float32)
    sums.index_add_(0, at, hidden.float())
    sizes = torch.from_numpy(np.bincount(which, minlength=count).clip(min=1)).to(sums)
    return (sums / sizes[:, None]).to(hidden.dtype)
