"""``autogaze readout``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option
from autogaze_cli.cli.types import Real, Sides, Whole, Words

_FRAMES_OWN = "  [default: the frames' own]"

_readout_options = options.section(
    "Readout",
    option(
        "--emit",
        type=Words(["rects", "tokens", "coords", "gazing-info", "keep-indices"]),
        default="rects,tokens,coords",
        help="What to write: rectangles per frame, token ids per frame and per clip, coordinates "
        "(batch, temporal, row, col), the model's own ids in the published layout, and which "
        "merged tokens a vision tower is to keep.",
    ),
    option(
        "--merge",
        type=Whole(),
        default=1,
        help="Patches on each side of a group of keep-indices; 2 for Qwen's vision towers.",
    ),
    option("--patch-size", type=Sides(), default="16", help="The consumer's patch size in pixels."),
    option(
        "--tubelet-size", type=Whole(), default=1, help="Frames per temporal token of the consumer."
    ),
    option(
        "--clip-height",
        type=Whole(),
        help="Height of the consumer's clip, in pixels." + _FRAMES_OWN,
    ),
    option(
        "--clip-width",
        type=Whole(),
        help="Width of the consumer's clip, in pixels." + _FRAMES_OWN,
    ),
    option(
        "--image-grid",
        type=Sides(),
        help="Token grid of a frame.  [default: the patches of a frame]",
    ),
    option(
        "--min-confidence",
        type=Real(0, 1),
        default=0,
        help="Drop fixations whose confidence is not above this.",
    ),
    option(
        "--max-fixations-per-frame",
        type=Whole(0),
        help="Maximum rectangles per frame.  [default: all]",
    ),
    option(
        "--fixation-scale",
        type=Real(1e-6, 1e6),
        default=1.0,
        help="Factor on the width and height of each gazed cell.",
    ),
    option(
        "--dilation",
        type=Whole(0),
        default=0,
        help="Tokens of a frame added on all four sides of a cell.",
    ),
    option(
        "--route",
        type=click.Choice(["tokens", "rects"]),
        default="tokens",
        help="What is projected on the clip's grid: the tokens of each frame, or its rectangles, "
        "which are rounded outward only once.",
    ),
    option(
        "--video-dilation",
        type=Whole(0),
        default=0,
        help="Tokens of the clip added on all four sides of what is projected on its grid.",
    ),
    option(
        "--batch-index",
        type=Whole(0),
        default=0,
        help="The first column of the coordinates.",
    ),
    option(
        "--max-tokens-per-frame", type=Whole(0), help="Maximum tokens per frame.  [default: all]"
    ),
    option(
        "--min-tokens", type=Whole(0), default=0, help="Pad the clip to at least this many tokens."
    ),
    option("--max-tokens", type=Whole(0), help="Maximum tokens per clip.  [default: all]"),
)


@click.command(
    "readout",
    cls=options.Command,
    common=("more_inputs", "out_dir", "format", "emit", "patch_size"),
    short_help="Turn gaze into the rectangles, tokens and coordinates that a model consumes.",
)
@options.inputs
@options.section(
    "Input",
    option(
        "--trace",
        "traces",
        type=click.Path(),
        multiple=True,
        help="Saved trace; repeatable. Same as naming it among INPUTS.",
    ),
)
@options.store
@_readout_options
@options.sampling_options()
@options.preset
@options.gaze_options()
@options.compute
@options.output_options("npz", "safetensors", "json", "csv")
@options.batch
@options.always
def readout(**values: Any) -> None:
    """Turn gaze into the rectangles, tokens and coordinates that a model consumes.

    Writes STEM.readout.npz (or .safetensors, .json, .csv) for each input. INPUTS are videos, or
    traces saved by the command trace. A trace needs neither the video nor PyTorch; of the options
    that choose frames and gaze, only --frames applies to it (its first frames).
    """
    from autogaze_cli.cli.printing import run_command

    run_command("readout", values)
