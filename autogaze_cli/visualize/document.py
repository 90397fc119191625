"""The metrics document: the settings and metrics of one render, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from autogaze_cli.trace import TraceHeader
from autogaze_cli.trace.header import expect
from autogaze_cli.version import __version__
from autogaze_cli.visualize.metrics import MASK_PALETTE
from autogaze_cli.visualize.settings import Visualization

_MOST = 1 << 53


_CHUNKING = {"tiled": "anyres-resized-grid", "tiled-full": "full-resolution"}


def metrics_document(
    header: TraceHeader,
    visualization: Visualization,
    *,
    frames: int,
    gif_size: tuple[int, int],
    summary: Mapping[str, Any],
    files: Mapping[str, Path],
) -> dict[str, Any]:
    """The metrics document, its keys in the order of the file.

    Args:
        header: The trace's header: the video, the gaze source and its settings.
        visualization: How it was drawn.
        frames: Number of drawn frames.
        gif_size: Width and height of the drawn files.
        summary: Summary of the drawn frames, see ``RenderMetrics.summary``.
        files: The drawn files by role: ``input``, ``mask``, ``output``.

    Raises:
        FormatError: Settings of the trace are not numbers.

    Source: visualization spec 6.7; the keys from ``mask_source`` on are this program's own.
    """
    settings = header.settings
    budget = _number_of(header, "max_gaze_tokens_each_frame")
    return {
        "source_video": header.source,
        "model_dir": header.model,
        "backend": str(settings.get("device", "cpu")).partition(":")[0],
        "inference_mode": _inference_mode(header),
        "visualization_mode": visualization.visualization_mode,
        "inference_width": header.width,
        "inference_height": header.height,
        "gif_width": gif_size[0],
        "gif_height": gif_size[1],
        "fps": _number(header.fps),
        "frames": frames,
        "clip_len": settings.get("clip_len"),
        "top_k": settings.get("top_k"),
        "max_gaze_tokens_each_frame": budget,
        "task_loss_requirement": _single(_number_of(header, "task_loss_requirement")),
        "clip_chunking": _CHUNKING.get(header.mode, header.mode),
        "tile_count": header.tile_count,
        "tile_batch_size": settings.get("tile_batch_size"),
        "fixation_budget_each_frame": (
            None if budget is None else max(1, budget) * header.tile_count
        ),
        "scales": header.scales,
        "num_vision_tokens_each_frame": header.num_vision_tokens_each_frame,
        "mask_cell_scale": _single(visualization.mask_cell_scale),
        "blend_alpha": _single(visualization.blend_alpha),
        "keyframe_duration": visualization.keyframe_duration,
        **summary,
        "mask_palette": MASK_PALETTE,
        "output_files": {role: str(path) for role, path in files.items()},
        **{name: getattr(header, name) for name in ("mask_source", "model", "model_sha256")},
        **{n: getattr(visualization, n) for n in ("mask_geometry", "mask_visualization")},
        "version": __version__,
    }


def dump_document(document: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """The text of the document: two spaces, one array element per line, a newline at the end.

    Undecodable bytes of a file name become JSON escapes.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` as UTF-8; see ``dump_document``."""
    path.write_text(dump_document(document), encoding="utf-8")


def _inference_mode(header: TraceHeader) -> str:
    if header.mode == "tiled":
        return f"anyres-tile-{header.tile_size}"
    if header.mode == "tiled-full":
        return f"tiled-full-{header.tile_size}-stride-{header.stride}"
    return header.mode


def _number_of(header: TraceHeader, name: str) -> Any:
    """A setting that is a number or None; a saved trace may have any JSON there."""
    value = header.settings.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = value is None or (is_number and abs(value) < _MOST)
    expect(fits, f"{header.source}: in its trace, {name}", value, "a number or null")
    return value


def _single(value: float | None) -> float | None:
    """The float64 whose shortest decimal is that of ``value`` as float32.

    >>> _single(0.550000011920929)
    0.55
    """
    return None if value is None else float(str(np.float32(value)))


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
