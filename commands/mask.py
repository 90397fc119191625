"""``autogaze mask``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autogaze_cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from autogaze_cli.render import Job, OnFrame
    from autogaze_cli.result import Result


@click.command("mask", cls=options.Command, short_help="Draw the gazed cells of a video as a mask.")
@options.inputs
@options.from_trace
@options.sampling_options()
@options.gaze_options()
@options.compute
@options.drawing_options(mask_visualization="overlay")
@options.output_options("gif", "mp4", "webm", "png")
@options.always
def mask(**values: Any) -> None:
    """Draw the gazed cells of a video as a mask.

    Writes STEM.mask.gif (or .mp4, .webm, or PNG images in the folder STEM.mask) and the metrics,
    STEM.mask.json, for each input.
    """
    from autogaze_cli.jobs import drawing, run_jobs
    from autogaze_cli.render import render_mask

    how = drawing(values)

    def work(job: Job, base: Path, on_frame: OnFrame) -> Result:
        return render_mask(job, base, how, overwrite=values["overwrite"], on_frame=on_frame)

    options.finish(run_jobs("mask", values, work), values)
