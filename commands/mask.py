"""``autogaze mask``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.live import draw_live, drawn_live


@click.command("mask", cls=options.Command, short_help="Draw the gazed cells of a video as a mask.")
@options.inputs
@options.from_trace
@options.store
@options.sampling_options()
@options.preset
@options.gaze_options()
@options.compute
@drawn_live
@options.drawing_options()
@options.side_by_side
@options.output_options("gif", "mp4", "webm", "png", "apng", "webp")
@options.report
@options.batch
@options.always
def mask(**values: Any) -> None:
    """Draw the gazed cells of a video as a mask.

    Writes STEM.mask.gif (or .mp4, .webm, .apng, .webp, or PNG images in the folder
    STEM.mask) and the metrics, STEM.mask.json, for each input.
    """
    if values["live"]:
        draw_live("mask", values)
        return
    from autogaze_cli.cli.printing import run_command

    run_command("mask", values)
