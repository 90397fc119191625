"""``autogaze readout``."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from autogaze_cli.cli import options
from autogaze_cli.cli.types import Real, Sides, Whole, Words

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
    from autogaze_cli.cli import printing as stdout
    from autogaze_cli.jobs.readout_batch import run_readout

    context = click.get_current_context()
    given = {
        name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    stdout.finish(run_readout(values, given, stdout.on_event(values)), values)
