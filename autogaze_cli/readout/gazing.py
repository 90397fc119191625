"""A trace back to upstream's ``gazing_info``, for models that were made to read that.

Source: inference spec 4.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.reading import DOCUMENT_VARIABLE
from autogaze_cli.readout.cover import most_tokens
from autogaze_cli.readout.ragged import offsets_of
from autogaze_cli.trace import Trace

_EACH = 1000
"""Positions for each fixation: where there are more, nearly all are padding."""


def gazing_info(trace: Trace) -> dict[str, NDArray[np.int64 | np.bool_]]:
    """The gaze of a trace as the model that made it returned it, padding included.

    All frames of the trace are one clip. Tiles are sequences of the batch; if their lengths
    differ, the shorter are padded.

    Args:
        trace: Of a model; its ids must be known.

    Returns:
        ``gazing_pos`` int64 ``[tiles, n]``: ids raised by the frame's number times the ids per
        frame; padding holds the next frame's first id. ``if_padded_gazing`` bool ``[tiles, n]``.
        ``num_gazing_each_frame`` int64 ``[frames]``, whose sum is ``n``.

    Raises:
        ConfigError: The trace has no ids, or ids that contradict its header.
    """
    header, points = trace.header, trace.fixations
    if header.scales is None or header.num_vision_tokens_each_frame is None:
        raise ConfigError(
            f"gazing-info needs the trace of a model, not of {header.mask_source}",
            hint="emit rects, tokens or coords",
        )
    # The side of a patch changes what ids mean, and not how many there are: any will do.
    layout = ScaleLayout.from_config(header.scales, header.num_vision_tokens_each_frame, 16)
    slots = trace.num_gazing.max(axis=1).astype(np.int64)
    start, positions = offsets_of(slots), header.tile_count * int(slots.sum())
    if positions > min(max(most_tokens(), _EACH * len(points)), 4 * most_tokens()):
        raise ConfigError(
            f"gazing-info would have {positions} positions for {len(points)} fixations",
            hint=f"emit rects, tokens or coords, or raise {DOCUMENT_VARIABLE}",
        )
    frame = np.repeat(np.arange(len(trace)), np.diff(trace.offsets))
    wrong = (points.token < 0) | (points.token >= layout.num_tokens)
    wrong |= points.slot >= trace.num_gazing[frame, points.tile]
    if wrong.any():
        i = int(wrong.argmax())
        raise ConfigError(
            f"frame {trace.index[frame[i]]} has token {points.token[i]} in slot "
            f"{points.slot[i]}, of {layout.num_tokens} tokens and "
            f"{trace.num_gazing[frame[i], points.tile[i]]} slots"
        )
    padding = layout.global_ids(layout.num_tokens, np.repeat(np.arange(len(trace)), slots))
    gazing_pos = np.tile(padding, (header.tile_count, 1))
    if_padded = np.ones(gazing_pos.shape, bool)
    at = points.tile, start[frame] + points.slot
    gazing_pos[at] = layout.global_ids(points.token, frame)
    if_padded[at] = False
    if len(points) != (~if_padded).sum():
        raise ConfigError("two fixations of a frame and tile share a slot")
    return {
        "gazing_pos": gazing_pos,
        "if_padded_gazing": if_padded,
        "num_gazing_each_frame": slots,
    }
