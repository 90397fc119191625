"""The arithmetic of gazing: additions and multiplications, as this program does them.

A product of ``[m, k]`` and ``[k, n]`` counts ``2 * m * k * n``. Everything else
(normalisation, activation, rotation, selection) is not counted: it is a few per cent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autogaze_cli.model.config import GazeConfig
    from autogaze_cli.model.output import GazeOutput


def vision_operations(config: GazeConfig, frames: int) -> int:
    """Operations to embed ``frames`` square frames: patches, convolutions, projection.

    Source: inference spec 3.2.
    """
    c = config
    patch = 3 * c.temporal_patch_size * c.kernel_size**2 * c.vision_hidden_dim
    window = c.trunk_temporal_kernel_size * c.trunk_spatial_kernel_size**2
    blocks = c.vision_depth * window * c.vision_hidden_dim**2
    out = c.vision_hidden_dim * c.vision_out_dim
    return 2 * frames // c.temporal_patch_size * c.num_tokens * (patch + blocks + out)


def decode_operations(
    config: GazeConfig, slots: NDArray[np.int64], tails: NDArray[np.int64]
) -> int:
    """Operations to choose tokens.

    A frame's first call processes the tail of the previous frame and the vision tokens, each later
    call the tokens chosen last. A position attends to the cached ones and, within its call, to
    those up to itself. The last layer computes keys and values for every position, and the rest
    for the last position of a call only, because no other is read.

    Args:
        config: The model's sizes.
        slots: Tokens chosen per sequence and frame, padding included, ``[sequences, frames]``.
        tails: The valid tokens of each frame's last call, ``[sequences, frames]``.

    Source: inference spec 3.4, 3.6.
    """
    c, k = config, config.num_multi_token_pred
    queries, pairs = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    keys_values = 2 * c.hidden_size * 2 * pairs
    rest = 2 * 2 * c.hidden_size * queries + 2 * 3 * c.hidden_size * c.intermediate_size
    visit = 2 * 2 * queries  # of one key by one position: its score, and its weighted value
    head = 2 * c.hidden_size * (c.vocab_size * k + k)
    lower = c.num_hidden_layers - 1
    total = 0
    for row_slots, row_tails in zip(slots.tolist(), tails.tolist(), strict=True):
        cached = tail = 0
        for chosen, next_tail in zip(row_slots, row_tails, strict=True):
            calls = [tail + c.num_tokens, *[k] * (-(-chosen // k) - 1)]
            for n in calls:
                visits = n * cached + n * (n + 1) // 2
                total += lower * (n * (keys_values + rest) + visits * visit)
                total += n * keys_values + rest + (cached + n) * visit + head
                cached += n
            tail = next_tail
    return total


def gaze_operations(config: GazeConfig, output: GazeOutput) -> int:
    """Operations to choose the tokens of ``output`` from an empty cache."""
    k = config.num_multi_token_pred
    slots = output.num_gazing_each_row.numpy()
    valid = ~output.if_padded_gazing.numpy()
    starts = np.cumsum(output.num_gazing_each_frame.numpy()) - output.num_gazing_each_frame.numpy()
    tails = np.zeros_like(slots)
    for (row, t), chosen in np.ndenumerate(slots):
        last = (chosen - 1) // k * k
        tails[row, t] = valid[row, starts[t] + last : starts[t] + chosen].sum()
    return decode_operations(config, slots, tails)
