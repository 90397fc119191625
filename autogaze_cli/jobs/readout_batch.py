"""From the values of ``readout`` to a batch over saved traces or videos, and its report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from autogaze_cli.batch.inputs import Input, is_named_as_trace, open_inputs
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.jobs.readout import TraceWork
from autogaze_cli.jobs.values import Values, input_names
from autogaze_cli.jobs.work import run_work
from autogaze_cli.readout import (
    ReadoutSettings,
    SparseReadoutGrid,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.trace import is_trace, read_trace

_OF_VIDEOS = (
    *GazeSettings.__dataclass_fields__,
    *("task_loss_requirement_db", "start", "fps", "inference_width", "inference_height"),
)
"""Settings that choose a video's frames and gaze, both of which a saved trace has already."""


def run_readout(values: Values, given: Collection[str], on_event: OnEvent | None = None) -> Report:
    """Read out what ``values`` name: saved traces, or videos.

    Args:
        values: The command's values.
        given: The names of those that the user gave.
        on_event: Told of each event.

    Raises:
        AutogazeError: See ``run_work``.
    """
    settings = _settings(values)
    with open_inputs([*input_names(values), *values["traces"]], traces=True) as inputs:
        if _are_traces(inputs, values["traces"]):
            return _read_traces(values, settings, inputs, given, on_event)
        from autogaze_cli.jobs.video import readout_all  # only now is PyTorch needed

        return readout_all(values, settings, inputs, on_event)


def _settings(values: Values) -> ReadoutSettings:
    grid = values["image_grid"]
    patch_h, patch_w = values["patch_size"]
    return ReadoutSettings(
        patch_h=patch_h,
        patch_w=patch_w,
        clip_height=values["clip_height"],
        clip_width=values["clip_width"],
        image_grid=None if grid is None else SparseReadoutGrid(*grid),
        readout_options=SparseReadoutOptions(
            confidence_threshold=values["min_confidence"],
            max_fixations_per_frame=values["max_fixations_per_frame"],
            dilation=values["dilation"],
            max_tokens_per_frame=values["max_tokens_per_frame"],
        ),
        video_options=SparseVideoReadoutOptions(
            tubelet_size=values["tubelet_size"],
            min_tokens=values["min_tokens"],
            max_tokens=values["max_tokens"],
        ),
        emit=values["emit"],
    )


def _are_traces(inputs: Sequence[Input], named_as_traces: Sequence[str]) -> bool:
    """Whether the inputs are saved traces; a mix of them and videos is an error.

    A damaged trace is known by its name, so that it is one that fails.
    """
    traces: list[Input] = []
    videos: list[Input] = []
    for item in inputs:
        named = item.name in named_as_traces or is_named_as_trace(item.name)
        (traces if named or is_trace(item.path) else videos).append(item)
    if traces and videos:
        raise ConfigError(
            f"{traces[0].name} is a saved trace, and {videos[0].name} is not",
            hint="read traces and videos out apart",
        )
    return bool(traces)


def _read_traces(
    values: Values,
    settings: ReadoutSettings,
    inputs: Sequence[Input],
    given: Collection[str],
    on_event: OnEvent | None,
) -> Report:
    _refuse_options_of_videos(inputs[0].name, given)
    stems = [i.stem.with_suffix("") if i.stem.suffix == ".trace" else i.stem for i in inputs]
    inputs = [replace(item, stem=stem) for item, stem in zip(inputs, stems, strict=True)]
    work = TraceWork(
        settings=settings,
        out_dir=Path(values["out_dir"]),
        format=values["format"],
        frames=values["frames"],
    )
    return run_work(
        "readout",
        values,
        work,
        inputs,
        about={},
        model_sha256=lambda: None,
        check=lambda item: read_trace(item.path),
        on_event=on_event,
    )


def _refuse_options_of_videos(name: str, given: Collection[str]) -> None:
    for setting in _OF_VIDEOS:
        if setting in given:
            raise ConfigError(
                f"--{setting.replace('_', '-')} says how a video is looked at, and {name} is a "
                "saved trace",
                hint="leave it out, or give the video",
            )
