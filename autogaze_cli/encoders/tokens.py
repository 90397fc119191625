"""From gaze to the tokens of an encoder: which patch of which scale, frame and clip each one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import ScaleLayout, grid_cells
from autogaze_cli.trace import FrameTrace, TraceHeader

Ints = NDArray[np.int64]

_GRIDS = (2, 4, 7, 14)
"""Cells per side of the published gaze model's scales."""


@dataclass(frozen=True, slots=True, eq=False)
class GazeTokens:
    """The tokens to encode, clip by clip, temporal position by temporal position, in gaze order.

    Attributes:
        clips: How many clips (or tiles of one clip) there are.
        frames: Frames of each.
        clip: Of each token, int64 ``[n]``, ascending.
        time: Temporal position of each token, int64 ``[n]``: the frame, or of an encoder whose
            tokens span several frames the tubelet.
        id: Id within a frame, of the encoder's layout, int64 ``[n]``.
    """

    clips: int
    frames: int
    clip: Ints
    time: Ints
    id: Ints

    def __len__(self) -> int:
        return len(self.id)

    def of_clips(self, first: int, end: int) -> GazeTokens:
        """The tokens of the clips from ``first`` to before ``end``."""
        at = slice(*np.searchsorted(self.clip, [first, end]))
        return GazeTokens(
            end - first, self.frames, self.clip[at] - first, self.time[at], self.id[at]
        )

    def in_tubelets(self, tubelet: int) -> GazeTokens:
        """The tokens of tubelets: the union of what is gazed at in their frames.

        Raises:
            ConfigError: The frames are no whole number of tubelets.
        """
        if tubelet == 1:
            return self
        if self.frames % tubelet:
            raise ConfigError(
                f"a clip of {self.frames} frames cannot be cut into tubelets of {tubelet}",
                hint=f"give a multiple of {tubelet} frames",
            )
        time = self.time // tubelet
        rows = np.stack([self.clip, time, self.id], axis=1)
        _, first = np.unique(rows, axis=0, return_index=True)
        keep = np.sort(first)
        return GazeTokens(self.clips, self.frames, self.clip[keep], time[keep], self.id[keep])


class Places:
    """Where tokens and prefix tokens lie: frame by frame, the prefix of each frame first.

    Attributes:
        own: Place of each gazed token, ``[n]``.
        prefix: Place of each prefix token, frame by frame, ``[frames * k]``.
        frame: Number of the frame of each place, clips one after another, ascending.
    """

    def __init__(self, tokens: GazeTokens, bins: int, prefix: int) -> None:
        frames = tokens.clips * bins
        frame = tokens.clip * bins + tokens.time
        counts = np.bincount(frame, minlength=frames)
        self.own: Ints = np.arange(len(frame)) + (frame + 1) * prefix
        first = np.cumsum(counts + prefix) - counts - prefix
        self.prefix: Ints = (first[:, None] + np.arange(prefix)).reshape(-1)
        self.frame: Ints = np.repeat(np.arange(frames), counts + prefix)


def encoder_layout(scales: str | int | Sequence[int] | None, image: int, patch: int) -> ScaleLayout:
    """The scales of an encoder and their ids.

    Args:
        scales: Sides of the pictures in pixels, such as ``"32+64+112+224"``; None = those with 2,
            4, 7 and 14 patches per side, or a multiple of them that is nearest to ``image``.
        image: Side of the picture that the checkpoint was made for.
        patch: Side of a patch in pixels.

    Raises:
        ConfigError: A scale is no whole number of patches, or one appears twice.
    """
    if scales is None:
        times = max(1, round(image / patch / _GRIDS[-1]))
        scales = [grid * times * patch for grid in _GRIDS]
    sides = ScaleLayout.from_config(scales, 1, patch).scales
    for side in sides:
        if side % patch:
            near = max(1, round(side / patch)) * patch
            raise ConfigError(
                f"scale {side} cannot be divided into patches of {patch} pixels",
                hint=f"{near} can, for example",
            )
    if len(set(sides)) < len(sides):
        raise ConfigError(f"scales {'+'.join(map(str, sides))} has the same scale twice")
    return ScaleLayout.in_order(sides, sum((side // patch) ** 2 for side in sides), patch)


def all_tokens(layout: ScaleLayout, clips: int, frames: int) -> GazeTokens:
    """Every patch of the finest scale, of every frame: what a dense encoder takes."""
    finest = len(layout.grids) - 1
    side = np.arange(layout.grids[finest])
    ids = layout.ids(finest, side[:, None], side).ravel()
    each = clips * frames
    return GazeTokens(
        clips=clips,
        frames=frames,
        clip=np.repeat(np.arange(clips), frames * len(ids)),
        time=np.tile(np.repeat(np.arange(frames), len(ids)), clips),
        id=np.tile(ids, each),
    )


def tokens_of_output(gaze: Any, layout: ScaleLayout, clips: int, frames: int) -> GazeTokens:
    """The tokens of a gaze output, published or ours; its padding is left out.

    Args:
        gaze: A mapping with ``gazing_pos`` ``[b, n]``, ``if_padded_gazing`` ``[b, n]`` and
            ``num_gazing_each_frame`` ``[t]``, whose ids are the encoder's; or an object with these
            attributes, and ``num_vision_tokens_each_frame`` and ``scales``, which say what its ids
            are: cells become patches as in ``tokens_of_frames``. (A published mapping names the
            gaze model's own scales even where its ids are of others.)
        layout: Of the encoder.
        clips: Clips of the pixels, ``b``.
        frames: Frames of each, ``t``.

    Raises:
        ConfigError: The gaze is of other clips, or of a model with other scales.
    """
    pos, padded, counts = (
        _host(gaze[name] if isinstance(gaze, Mapping) else getattr(gaze, name))
        for name in ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
    )
    if pos.ndim != 2 or pos.shape != padded.shape or counts.ndim != 1:
        raise ConfigError(
            "gazing_pos must be [b, n], if_padded_gazing the same and num_gazing_each_frame [t], "
            f"not {list(pos.shape)}, {list(padded.shape)} and {list(counts.shape)}"
        )
    if (len(pos), len(counts), int(counts.sum())) != (clips, frames, pos.shape[1]):
        raise ConfigError(
            f"the gaze is at {len(pos)} clips of {len(counts)} frames with {int(counts.sum())} of "
            f"{pos.shape[1]} ids, and the pixels are {clips} clips of {frames} frames"
        )
    clip, slot = np.nonzero(~padded.astype(bool))
    time = np.repeat(np.arange(frames), counts)[slot]
    own = layout
    if not isinstance(gaze, Mapping) and gaze.num_vision_tokens_each_frame != layout.num_tokens:
        own = ScaleLayout.from_config(gaze.scales, gaze.num_vision_tokens_each_frame, 16)
    ids = own.clip_ids(pos, counts.tolist())[clip, slot]
    _check_ids(ids, own)
    if own is layout:
        return GazeTokens(clips, frames, clip, time, ids)
    ids, times = _patches(own.cells(ids), own.scale_of(ids), own, layout)
    return GazeTokens(clips, frames, np.repeat(clip, times), np.repeat(time, times), ids)


def tokens_of_frames(
    gaze: Sequence[FrameTrace], header: TraceHeader, layout: ScaleLayout
) -> GazeTokens:
    """The tokens of the frames of a trace; its tiles are the clips.

    A cell becomes the patches that cover the same place: one of the same scale, or ``k * k`` where
    the encoder's scale has ``k`` times as many patches per side.

    Raises:
        ConfigError: The trace's cells are no whole patches of the encoder.
    """
    parts = [frame.fixations.active() for frame in gaze]
    time = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    tile, slot, token, grid = (
        np.concatenate([getattr(part, name) for part in parts]).astype(np.int64)
        for name in ("tile", "slot", "token", "grid")
    )
    order = np.lexsort((slot, time, tile))
    time, tile, token, grid = (column[order] for column in (time, tile, token, grid))
    if (token < 0).any() or (grid < 1).any():
        raise ConfigError(
            "the trace has fixations without ids, which no encoder's patch can be found for",
            hint="trace the video again with this program",
        )
    own = _layout_of(header)
    if own is None:
        ids, counts = _patches((grid, *grid_cells(token, grid)), None, None, layout)
    else:
        if (token >= own.num_tokens).any():
            raise ConfigError(
                f"the trace has id {int(token.max())}, and its scales {header.scales} have "
                f"{own.num_tokens}"
            )
        ids, counts = _patches(own.cells(token), own.scale_of(token), own, layout)
    return GazeTokens(
        clips=header.tile_count,
        frames=len(parts),
        clip=np.repeat(tile, counts),
        time=np.repeat(time, counts),
        id=ids,
    )


def _layout_of(header: TraceHeader) -> ScaleLayout | None:
    """The layout of a trace's ids; None where they count through one grid."""
    n, scales = header.num_vision_tokens_each_frame, header.scales
    if scales is None or n is None:
        return None
    # The side of a patch changes what ids mean, and not how many there are: any will do.
    return ScaleLayout.from_config(scales, n, 16)


def _patches(
    cells: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    scale: Ints | None,
    own: ScaleLayout | None,
    layout: ScaleLayout,
) -> tuple[Ints, Ints]:
    """The ids of the patches of each cell, one cell after the other, and how many each has.

    ``cells`` are grid, row and column; ``scale`` is their index in ``own``, None without scales.
    """
    grid, row, col = (part.astype(np.int64) for part in cells)
    target = np.full(len(grid), len(layout.grids) - 1)  # without scales of its own: the finest
    if own is not None and scale is not None:
        if len(own.grids) != len(layout.grids):
            raise _misfit(own.grids, layout)
        target = scale
    sides = np.asarray(layout.grids)[target]
    if (sides % grid).any():
        raise _misfit(own.grids if own else sorted(set(grid.tolist())), layout)
    times = sides // grid
    counts = times**2
    which = np.repeat(np.arange(len(grid)), counts)
    nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    down, right = np.divmod(nth, times[which])
    return (
        layout.ids(
            target[which],
            row[which] * times[which] + down,
            col[which] * times[which] + right,
        ),
        counts,
    )


def _misfit(grids: Sequence[int], layout: ScaleLayout) -> ConfigError:
    shown = "+".join(map(str, grids))
    return ConfigError(
        f"a trace of {shown} cells per side does not fit an encoder of "
        f"{'+'.join(map(str, layout.grids))} patches per side",
        hint="give --scales with as many scales, each a multiple of the trace's cells",
    )


def _check_ids(ids: Ints, layout: ScaleLayout) -> None:
    outside = (ids < 0) | (ids >= layout.num_tokens)
    if outside.any():
        raise ConfigError(
            f"the gaze has id {int(ids[outside.argmax()])} within a frame, and the encoder's "
            f"scales {'+'.join(map(str, layout.scales))} have {layout.num_tokens} ids, from 0 on",
            hint="load the encoder with the scales of the gaze",
        )


def _host(values: Any) -> NDArray[Any]:
    """An array on the host, from one, a tensor on any device, or a list."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def tile_layout(header: TraceHeader, height: int, width: int) -> TileLayout:
    """The tiles of a trace's frames.

    Raises:
        ConfigError: The trace has other tiles than frames of that size.
    """
    mode: Any = "resize" if header.scales is None else header.mode  # without a model: whole frames
    layout = TileLayout(
        mode=mode,
        height=height,
        width=width,
        tile_size=header.tile_size or 224,
        stride=header.stride or None,
    )
    if len(layout) != header.tile_count:
        raise ConfigError(
            f"the trace has {header.tile_count} tiles, and frames of {width}x{height} have "
            f"{len(layout)}",
            hint="give the frames that were gazed at",
        )
    return layout
