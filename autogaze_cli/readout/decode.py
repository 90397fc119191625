"""Generated ids to points: the form in which a model returns its gaze, decoded.

``generated`` is what a model returned, an object or a mapping with ``gazing_pos``,
``if_padded_gazing``, ``num_gazing_each_frame`` and, if it has them, ``confidences``: lists, arrays
or tensors. ``config`` is a ``ReadoutConfig``, a loaded model's config, or the published package's
own configuration, an object or a mapping with ``scales`` and ``num_vision_tokens_each_frame``.

Source: readout spec 3.3, 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.readout.grids import check_whole
from autogaze_cli.readout.points import FixationSet
from autogaze_cli.readout.ragged import offsets_of


class HasLayout(Protocol):
    """A model's configuration, as far as decoding needs it."""

    @property
    def layout(self) -> ScaleLayout:
        """How ids are shared out among the scales."""


class PublishedConfig(Protocol):
    """The published package's configuration, as far as decoding needs it."""

    @property
    def scales(self) -> str:
        """Such as ``32+64+112+224``."""

    @property
    def num_vision_tokens_each_frame(self) -> int:
        """Ids per frame."""


Config = HasLayout | PublishedConfig | Mapping[str, Any]
"""A configuration that gives ids a meaning."""


def layout_of(config: Config) -> ScaleLayout:
    """How a configuration shares out ids among its scales.

    Raises:
        ConfigError: It has neither a ``layout`` nor the two fields that make one.

    Examples:
        >>> layout_of({"scales": "32+64+112+224", "num_vision_tokens_each_frame": 265}).grids
        (2, 4, 7, 14)
    """
    layout = getattr(config, "layout", None)
    if isinstance(layout, ScaleLayout):
        return layout
    names = ("scales", "num_vision_tokens_each_frame")
    fields = config if isinstance(config, Mapping) else {n: getattr(config, n, None) for n in names}
    scales, tokens = (fields.get(name) for name in names)
    if isinstance(scales, list | tuple):
        scales = "+".join(map(str, scales))
    if not isinstance(scales, str) or not isinstance(tokens, int):
        raise ConfigError(
            f"a configuration of type {type(config).__name__} does not say how ids are shared out",
            hint="give scales and num_vision_tokens_each_frame, such as a ReadoutConfig has",
        )
    return ReadoutConfig(scales=scales, num_vision_tokens_each_frame=tokens).layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """The three values of a checkpoint's configuration that give its ids a meaning.

    Attributes:
        scales: Such as ``32+64+112+224``, in the order of the ids.
        num_vision_tokens_each_frame: Ids per frame: the value that belongs to the ids, which may be
            another than the checkpoint's where the resolution was adapted.
        kernel_size: Side of a patch in pixels.

    Raises:
        ConfigError: A count is not a whole number of at least 0.
    """

    scales: str
    num_vision_tokens_each_frame: int
    kernel_size: int = 16

    def __post_init__(self) -> None:
        """Refuse what is no count."""
        check_whole(
            num_vision_tokens_each_frame=self.num_vision_tokens_each_frame,
            kernel_size=self.kernel_size,
        )

    @property
    def layout(self) -> ScaleLayout:
        """How ids are shared out; parts of ``scales`` that are no numbers are left out.

        Source: readout spec 5.1.

        Examples:
            >>> ReadoutConfig(scales="112+32+x", num_vision_tokens_each_frame=53).layout.grids
            (7, 2)
        """
        parts = [part.strip() for part in self.scales.split("+")]
        sides = [int(part) for part in parts if re.fullmatch("[0-9]+", part)]
        return ScaleLayout.in_order(
            sides, self.num_vision_tokens_each_frame, max(self.kernel_size, 1)
        )


class DecodedRow(NamedTuple):
    """One sequence of a batch, decoded.

    Attributes:
        points: Those of all frames, in the order generated.
        offsets: Where each frame's begin, int64 ``[t + 1]``.
        stop_probability: float32 ``[t]``, 1 for frames with padding.
    """

    points: Fixations
    offsets: NDArray[np.int64]
    stop_probability: NDArray[np.float32]


def decode_row(generated: Any, config: Config, batch: int) -> DecodedRow:
    """The points of one sequence. Positions that are padded, missing or without a cell give none.

    Raises:
        ConfigError: There is no such row.

    Source: readout spec 5.2.
    """
    layout, slots = layout_of(config), slots_each_frame(generated)
    row = _row(generated, "gazing_pos", batch)
    if row is None:
        count = batch_size(generated)
        raise ConfigError(f"batch index {batch} is out of range: gazing_pos has {count} rows")
    total = int(slots.sum())
    ids = _fit(row, total, np.int64(-1))
    padded = _fit(_row(generated, "if_padded_gazing", batch), total, np.bool_(True))
    confidence = _fit(_row(generated, "confidences", batch), total, np.float32(1))
    frame = np.repeat(np.arange(len(slots)), slots)
    local = np.concatenate([ids[:0], *layout.local_ids(ids, padded, slots)])
    named = (local >= 0) & (local < layout.num_tokens)
    stops = frame[padded & (np.arange(total) < len(row))]  # a missing position is not padding
    return DecodedRow(
        layout.fixations(local, confidence, slot=np.arange(total) - offsets_of(slots)[frame]),
        offsets_of(np.bincount(frame[named], minlength=len(slots))),
        (np.bincount(stops, minlength=len(slots)) > 0).astype(np.float32),
    )


def batch_size(generated: Any) -> int:
    """Number of sequences in ``gazing_pos``."""
    return len(_field(generated, "gazing_pos"))


def slots_each_frame(generated: Any) -> NDArray[np.int64]:
    """Token positions of each frame, padding included, int64 ``[t]``."""
    slots = _array(_field(generated, "num_gazing_each_frame")).reshape(-1).astype(np.int64)
    if (slots < 0).any():
        raise ConfigError(f"num_gazing_each_frame holds {slots.min()}: counts are at least 0")
    return slots


def frame_points_of(generated: Any, config: Config, batch: int, frame: int) -> Fixations:
    """The points of one frame of one row.

    Raises:
        ConfigError: There is no such row, or no such frame.
    """
    row = decode_row(generated, config, batch)
    frames = len(row.offsets) - 1
    if not 0 <= frame < frames:
        raise ConfigError(f"frame index {frame} is out of range: there are {frames} frames")
    return row.points.select(slice(row.offsets[frame], row.offsets[frame + 1]))


def generated_to_fixation_sets(
    generated: Any, config: Config, batch: int, min_len: int = 1
) -> list[FixationSet]:
    """One sequence as the points of each frame, padded to at least ``min_len`` each.

    Raises:
        ConfigError: There is no such row.
    """
    points, offsets, stops = decode_row(generated, config, batch)
    return [
        FixationSet.with_min_len(points.select(slice(start, end)), float(stop), min_len)
        for start, end, stop in zip(offsets[:-1], offsets[1:], stops, strict=True)
    ]


def generated_to_readout_points(generated: Any, config: Config) -> list[list[Fixations]]:
    """The points of all rows, frame by frame, without placeholders."""
    rows = [decode_row(generated, config, batch) for batch in range(batch_size(generated))]
    return [
        [points.select(slice(*ends)) for ends in pairwise(offsets.tolist())]
        for points, offsets, _ in rows
    ]


def traces(generated: Any, config: Config, min_len: int) -> list[list[FixationSet]]:
    """Every sequence as a trace: ``generated_to_fixation_sets`` of each."""
    return [
        generated_to_fixation_sets(generated, config, batch, min_len)
        for batch in range(batch_size(generated))
    ]


def scale_token_layouts(config: Config) -> list[tuple[int, int]]:
    """Number of ids and grid size of each scale, in the order of the ids.

    Source: readout spec 5.1.

    Examples:
        >>> scale_token_layouts(ReadoutConfig(scales="32+64", num_vision_tokens_each_frame=20))
        [(4, 2), (16, 4)]
    """
    layout = layout_of(config)
    return list(zip(layout.counts, layout.grids, strict=True))


def scale_token_masks(generated: Any, config: Config) -> list[NDArray[np.bool_]]:
    """Which cells were gazed at: for each scale bool ``[b, t, count]``, row-major in its grid.

    Unlike upstream's masks, an id that lies outside its own frame's range is in none of them.

    Source: readout spec 5.2, last table.
    """
    layout = layout_of(config)
    shape = (batch_size(generated), len(slots_each_frame(generated)), layout.num_tokens)
    mask = np.zeros(shape, bool)
    for batch in range(shape[0]):
        points, offsets, _ = decode_row(generated, config, batch)
        mask[batch, np.repeat(np.arange(shape[1]), np.diff(offsets)), points.token] = True
    return np.split(mask, layout.offsets[1:], axis=2)


def _field(generated: Any, name: str) -> Any:
    if isinstance(generated, Mapping):
        value = generated.get(name)
    else:
        value = getattr(generated, name, None)
    if value is None and name != "confidences":
        raise ConfigError(f"the generated output has no {name}")
    return value


def _array(value: Any) -> NDArray[Any]:
    # A tensor may be on a device, and this module must not know PyTorch.
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _row(generated: Any, name: str, batch: int) -> NDArray[Any] | None:
    rows = _field(generated, name)
    return _array(rows[batch]) if rows is not None and 0 <= batch < len(rows) else None


def _fit(row: NDArray[Any] | None, total: int, missing: np.generic) -> NDArray[Any]:
    """The first ``total`` elements of ``row``; ``missing`` where it is shorter, or None."""
    fitted = np.full(total, missing)
    if row is not None:
        fitted[: len(row)] = row[:total]
    return fitted
