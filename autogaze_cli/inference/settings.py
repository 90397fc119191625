"""The settings of pipelines, by name and type: those of the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.budget import requirement_from_db
from autogaze_cli.gaze.settings import MODES, GazeSettings, MaskSource
from autogaze_cli.model.catalog import default_model

if TYPE_CHECKING:
    from autogaze_cli.readout.pyramid import ImagePyramidLevel


class ClipSettings(TypedDict, total=False):
    """Settings that each call may change; ``GazeSettings`` describes them.

    Attributes:
        task_loss_requirement_db: ``task_loss_requirement`` in dB; overrides it.
    """

    mode: str
    tile_size: int
    stride: int | None
    tile_batch_size: int
    clip_len: int
    horizon_frames: int | None
    target_scales: str | None
    target_patch_size: int | None
    top_k: int
    max_gaze_tokens_each_frame: int | None
    gazing_ratio: float | None
    coverage_ratio: float | None
    task_loss_requirement: float | Literal["model"] | None
    task_loss_requirement_db: float
    exact: bool
    pruning_rate: float | None
    patch_diff_grid: int
    patch_diff_threshold: float
    rlt_threshold: float
    rlt_tubelet: int
    codec_threshold: float
    seed: int


class PipelineSettings(ClipSettings, total=False):
    """Settings of a pipeline: also what is decided once.

    Attributes:
        mask_source: ``autogaze`` (the default), or a source that loads no model, such as
            ``patch-diff``.
        threads: CPU threads; None = PyTorch's own choice. Never changes a result.
    """

    mask_source: MaskSource
    threads: int | None


class PacketSettings(ClipSettings, total=False):
    """Settings of packets: what they hold. All are off by default; what is off is not computed.

    Attributes:
        emit_traces: ``traces``, each frame padded to the token budget with placeholders.
        emit_readout_points: ``readout_points``; with ``emit_traces`` those of the traces.
        emit_generated: ``generated``, the model's own output (mode ``resize`` only).
        emit_mask: ``masks``.
        emit_pyramid: ``pyramid``.
        pyramid_levels: Grids of the pyramid; left out, 2, 4, 7 and 14 tokens per side.
    """

    emit_traces: bool
    emit_readout_points: bool
    emit_generated: bool
    emit_mask: bool
    emit_pyramid: bool
    pyramid_levels: Sequence[ImagePyramidLevel]


def new_settings(
    folder_or_name: str | os.PathLike[str] | None,
    device: str,
    dtype: Literal["float32", "bfloat16"],
    given: Mapping[str, Any],
) -> GazeSettings:
    """The settings of a new pipeline.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    model = None
    if given.get("mask_source", "autogaze") == "autogaze":
        model = default_model() if folder_or_name is None else os.fspath(folder_or_name)
    start = {"mask_source": "autogaze", "model": model, "device": device, "dtype": dtype}
    return _made(start, given, PipelineSettings.__annotations__)


def changed_settings(settings: GazeSettings, given: Mapping[str, Any]) -> GazeSettings:
    """``settings`` with those of one call.

    Raises:
        ConfigError: A setting is unknown, fixed since the pipeline was made, or out of range.
    """
    start = asdict(settings)
    budgets = ("max_gaze_tokens_each_frame", "gazing_ratio")
    if any(given.get(name) is not None for name in budgets):  # each replaces the other
        start |= dict.fromkeys(budgets)
    return _made(start, given, ClipSettings.__annotations__)


def _made(
    start: Mapping[str, Any], given: Mapping[str, Any], known: Mapping[str, Any]
) -> GazeSettings:
    for name in given:
        if name not in known:
            raise ConfigError(
                f"there is no setting {name!r} here", hint=f"one of {', '.join(known)}"
            )
    values = {**start, **given}
    # Traces keep settings as JSON, which does not know NumPy's numbers.
    values = {n: v.item() if isinstance(v, np.generic) else v for n, v in values.items()}
    if (db := values.pop("task_loss_requirement_db", None)) is not None:
        if not db > -math.inf:  # nor NaN
            raise ConfigError(f"task_loss_requirement_db must be a number of decibels, not {db}")
        values["task_loss_requirement"] = requirement_from_db(db)
    mode = str(values.get("mode", "resize")).strip().lower()
    values["mode"] = next((name for name, others in MODES.items() if mode in others), mode)
    return GazeSettings(**values)
