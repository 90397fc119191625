"""``autogaze readout``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from autogaze_cli import options
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inputs import Input, open_inputs
from autogaze_cli.option_types import Real, Sides, Whole, Words
from autogaze_cli.values import Values, input_names

if TYPE_CHECKING:
    from autogaze_cli.batch.report import OnEvent, Report
    from autogaze_cli.readout import ReadoutSettings

_OF_THE_TRACE = "  [default: the frames' own]"


@click.command(
    "readout",
    cls=options.Command,
    short_help="Turn gaze into the rectangles, tokens and coordinates that a model consumes.",
)
@options.inputs
@click.option(
    "--trace",
    "traces",
    type=click.Path(),
    multiple=True,
    help="A saved trace; may repeat. The same as naming it among INPUTS.",
)
@click.option(
    "--emit",
    type=Words(["rects", "tokens", "coords", "gazing-info"]),
    default="rects,tokens,coords",
    help="What to write: rectangles of each frame, token ids of each frame and of the clip, "
    "coordinates (batch, temporal, row, col), and the model's own ids as upstream has them.",
)
@click.option("--patch-size", type=Sides(), default="16", help="The consumer's patches, in pixels.")
@click.option(
    "--tubelet-size", type=Whole(), default=1, help="Frames that the consumer takes together."
)
@click.option(
    "--clip-height",
    type=Whole(),
    help="Height of the consumer's clip, in pixels." + _OF_THE_TRACE,
)
@click.option(
    "--clip-width",
    type=Whole(),
    help="Width of the consumer's clip, in pixels." + _OF_THE_TRACE,
)
@click.option(
    "--image-grid", type=Sides(), help="Tokens of a frame.  [default: the patches of a frame]"
)
@click.option(
    "--min-confidence", type=Real(0, 1), default=0, help="Drop fixations that are not above this."
)
@click.option(
    "--max-fixations-per-frame", type=Whole(0), help="Most rectangles of a frame.  [default: all]"
)
@click.option("--dilation", type=Whole(0), default=0, help="Tokens added on all sides of a cell.")
@click.option(
    "--max-tokens-per-frame", type=Whole(0), help="Most tokens of a frame.  [default: all]"
)
@click.option(
    "--min-tokens", type=Whole(0), default=0, help="Fill the clip up to this many tokens."
)
@click.option("--max-tokens", type=Whole(0), help="Most tokens of the clip.  [default: all]")
@options.sampling_options()
@options.gaze_options()
@options.compute
@options.output_options("npz", "safetensors", "json", "csv")
@options.batch
@options.always
def readout(**values: Any) -> None:
    """Turn gaze into the rectangles, tokens and coordinates that a model consumes.

    Writes STEM.readout.npz (or .safetensors, .json, .csv) for each input. INPUTS are videos, or
    traces saved by the command trace: those need neither the video nor PyTorch, and of the options
    on frames only --frames.
    """
    from autogaze_cli import stdout

    settings, on_event = _settings(values), stdout.on_event(values)
    with open_inputs([*input_names(values), *values["traces"]], traces=True) as inputs:
        if _are_traces(inputs, values["traces"]):
            report = _read_traces(values, settings, inputs, on_event)
        else:
            from autogaze_cli.video_jobs import readout_all

            report = readout_all(values, settings, inputs, on_event)
    stdout.finish(report, values)


def _settings(values: Values) -> ReadoutSettings:
    from autogaze_cli.readout import (
        ReadoutSettings,
        SparseReadoutGrid,
        SparseReadoutOptions,
        SparseVideoReadoutOptions,
    )

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
    """Whether the inputs are saved traces; a mix of them and videos is an error."""
    from autogaze_cli.trace import is_trace

    traces = [item for item in inputs if item.name in named_as_traces or is_trace(item.path)]
    videos = [item for item in inputs if item not in traces]
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
    on_event: OnEvent | None,
) -> Report:
    from autogaze_cli.jobs import run_work
    from autogaze_cli.readout.job import TraceWork
    from autogaze_cli.trace import read_trace

    _refuse_options_of_videos(inputs[0].name)
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
        model_sha256=None,
        check=lambda item: read_trace(item.path),
        on_event=on_event,
    )


def _refuse_options_of_videos(name: str) -> None:
    """A saved trace has its frames and its gaze: options that choose them would do nothing."""
    context = click.get_current_context()
    of_videos = {*GazeSettings.__dataclass_fields__, "task_loss_requirement_db", "start", "fps"}
    of_videos |= {"inference_width", "inference_height"}
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name in of_videos:
            raise ConfigError(
                f"{parameter.opts[0]} says how a video is looked at, and {name} is a saved trace",
                hint="leave it out, or give the video",
            )
