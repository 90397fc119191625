"""``autogaze interframe``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.live import draw_live, drawn_live


@click.command(
    "interframe",
    cls=options.Command,
    short_help="Rebuild a video from its gazed cells and a few keyframes.",
)
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
def interframe(**values: Any) -> None:
    """Rebuild a video from its gazed cells and a few keyframes.

    Writes STEM.interframe.gif (or .mp4, .webm, .apng, .webp, or PNG images in the folder
    STEM.interframe) and the metrics, STEM.interframe.json, for each input.
    """
    if values["live"]:
        draw_live("interframe", values)
        return
    from autogaze_cli.cli.printing import run_command

    run_command("interframe", values)
