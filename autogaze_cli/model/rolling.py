"""Streams without end: rotary positions that would outgrow their precision are moved back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autogaze_cli.model.decode import RowState

MOST_DROPPED = 1 << 16
"""Positions that may have left a cache before the rest are moved back by as many.

Only differences of positions matter, but an angle is a float32 product: at position 65,536 it is
good to 0.004 radians, and a day of video further on not even to a whole turn.
"""


def move_back(rows: Sequence[RowState], frequencies: Tensor) -> None:
    """Let the positions of long streams begin at 0 again; their keys are turned back to match.

    Args:
        rows: Streams whose old frames are dropped; advanced in place.
        frequencies: Angle a position of each rotary pair, ``[d / 2]``.

    Source: inference spec 7.2 (positions are never renumbered there).
    """
    for row in rows:
        if row.dropped < MOST_DROPPED:
            continue
        angles = frequencies.double() * -row.dropped
        turn = torch.polar(torch.ones_like(angles), angles)
        live = slice(row.start // row.block, -(-row.end // row.block))
        for keys in row.keys:
            cached = keys[:, live] if row.block == 1 else keys[:, live].transpose(-1, -2)
            wide = cached.double().contiguous()  # [..., d]
            pairs = torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2))
            cached.copy_(torch.view_as_real(pairs * turn).flatten(-2))
        row.dropped = 0
