"""The reference's trace store: fixations of several clips in one safetensors file, to be imported.

Source: inference spec 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.reading import DOCUMENT_VARIABLE, most_document_bytes
from autogaze_cli.trace.data import Trace
from autogaze_cli.trace.header import TraceHeader, expect
from autogaze_cli.version import __version__

_STOPS = "stop_probabilities"
_TENSORS = ("fixations", "scales", "confidences", _STOPS)
_MAPS = "visibility_maps"
# A fixation takes about 100 bytes while it is imported, and a cell of a map two in its file.
_FIXATION_BYTES = 16


def trace_of_store(path: Path, tensors: Mapping[str, NDArray[Any]], clip: int) -> Trace:
    """One clip of a trace store.

    The store knows neither the video nor its times: sizes are 0, frame ``i`` is at second ``i``.
    Points are square with no known token; those of confidence 0 (placeholders) are dropped, and a
    point's slot is its index among the frame's points before that. Values are clamped as the
    reference does it. Source: inference spec 5.1, 5.3, 10.

    Args:
        path: The safetensors file.
        tensors: What it holds.
        clip: Which clip, from 0.

    Raises:
        FormatError: A tensor is missing, neither F32 nor F16, of a wrong shape, or not finite; or
            there are too many points.
        ConfigError: There is no such clip.
    """
    points, scales, confidences, stops = [_tensor(tensors, name) for name in _TENSORS]
    shape = scales.shape
    expect(len(shape) == 3, "shape of scales", shape, "[clips, frames, k]")
    expect(points.shape == (*shape, 2), "shape of fixations", points.shape, str((*shape, 2)))
    expect(confidences.shape == shape, "shape of confidences", confidences.shape, str(shape))
    expect(stops.shape == shape[:2], "shape of stop_probabilities", stops.shape, str(shape[:2]))
    clips, frames, k = shape
    _expect_clip(path, clip, clips)
    confidence = confidences[clip].clip(0, 1)
    _expect_few(confidence)
    frame, slot = np.nonzero(confidence > 0)
    extent = scales[clip, frame, slot].clip(1e-6, 1)
    columns = {
        "x": points[clip, frame, slot, 0].clip(0, 1),
        "y": points[clip, frame, slot, 1].clip(0, 1),
        "width": extent,
        "height": extent,
        "confidence": confidence[frame, slot],
        "slot": slot,
    }
    counts = np.bincount(frame, minlength=frames)
    return Trace(
        header=_header(path),
        index=np.arange(frames, dtype=np.int64),
        times=tuple(map(Fraction, range(frames))),
        stop_probability=stops[clip].clip(0, 1),
        num_gazing=np.full((frames, 1), k, np.int32),
        offsets=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        fixations=Fixations.from_columns(columns),
    )


def maps_of_store(path: Path, tensors: Mapping[str, NDArray[Any]], clip: int) -> Trace:
    """The visibility maps of one clip of a trace store, a fixation for each cell above 0.

    A fixation is as large as its cell, and its confidence is the cell's value, clamped to 0..1; its
    token is the cell's number, row by row, and its grid the cells per side of a square map.
    Source: inference spec 10.

    Args:
        path: The safetensors file.
        tensors: What it holds.
        clip: Which clip, from 0.

    Raises:
        FormatError: There are no maps, or they are neither F32 nor F16, of a wrong shape, or not
            finite; or too many cells are above 0.
        ConfigError: There is no such clip.
    """
    maps = _tensor(tensors, _MAPS)
    stops = _tensor(tensors, _STOPS) if _STOPS in tensors else None
    expect(maps.ndim == 4, f"shape of {_MAPS}", maps.shape, "[clips, frames, height, width]")
    clips, frames, height, width = maps.shape
    if stops is None:
        stops = np.zeros((clips, frames), np.float32)
    expect(stops.shape == (clips, frames), f"shape of {_STOPS}", stops.shape, str((clips, frames)))
    _expect_clip(path, clip, clips)
    confidence = maps[clip].clip(0, 1)
    _expect_few(confidence)
    frame, row, col = np.nonzero(confidence > 0)
    counts = np.bincount(frame, minlength=frames)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    half, n = np.float32(0.5), len(frame)
    columns = {
        "x": (col.astype(np.float32) + half) / np.float32(width),
        "y": (row.astype(np.float32) + half) / np.float32(height),
        "width": np.full(n, np.float32(1) / np.float32(width)),
        "height": np.full(n, np.float32(1) / np.float32(height)),
        "confidence": confidence[frame, row, col],
        "grid": np.full(n, width if width == height else 0),
        "token": row * width + col,
        "slot": np.arange(n) - offsets[frame],
    }
    return Trace(
        header=_header(path),
        index=np.arange(frames, dtype=np.int64),
        times=tuple(map(Fraction, range(frames))),
        stop_probability=stops[clip].clip(0, 1),
        num_gazing=counts[:, None].astype(np.int32),
        offsets=offsets,
        fixations=Fixations.from_columns(columns),
    )


def _expect_clip(path: Path, clip: int, clips: int) -> None:
    if not 0 <= clip < clips:
        raise ConfigError(f"{path}: has no clip {clip}", hint=f"it holds {clips}, counted from 0")


def _expect_few(confidence: NDArray[np.float32]) -> None:
    count, most = np.count_nonzero(confidence), most_document_bytes() // _FIXATION_BYTES
    if count > most:
        raise FormatError(
            f"a clip of {count} fixations, more than {most}", hint=f"raise {DOCUMENT_VARIABLE}"
        )


def _header(path: Path) -> TraceHeader:
    return TraceHeader(
        source=str(path),
        source_width=0,
        source_height=0,
        width=0,
        height=0,
        fps=Fraction(1),
        mask_source="trace-store",
        model=None,
        model_sha256=None,
        scales=None,
        num_vision_tokens_each_frame=None,
        mode="resize",
        tile_size=0,
        stride=0,
        tile_count=1,
        settings={},
        tool_version=__version__,
    )


def _tensor(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    if name not in tensors:
        maps = name != _MAPS and _MAPS in tensors
        raise FormatError(
            f"neither a trace (no header) nor a trace store (no tensor {name!r})",
            hint="read its visibility maps with --trace-maps" if maps else None,
        )
    dtype = tensors[name].dtype.name
    expect(dtype in ("float32", "float16"), f"dtype of {name}", dtype, "float32 or float16")
    tensor = np.asarray(tensors[name], np.float32)
    if not np.isfinite(tensor).all():
        raise FormatError(f"{name} holds NaN or infinity")
    return tensor


def check_own(path: Path, clip: int, maps: bool) -> None:
    """Refuse what only a trace store has of a trace of this program.

    Raises:
        ConfigError: Another clip than its only one, or maps, are asked for.
    """
    if maps:
        raise ConfigError(f"{path}: is a trace, which has no visibility maps")
    if clip:
        raise ConfigError(f"{path}: has no clip {clip}", hint="a trace is one clip, number 0")
