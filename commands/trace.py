"""``autogaze trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autogaze_cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from autogaze_cli.render import Job, OnFrame
    from autogaze_cli.result import Result


@click.command(
    "trace",
    cls=options.Command,
    short_help="Save where the model looks in each frame of a video.",
)
@options.inputs
@options.sampling_options()
@options.gaze_options()
@options.compute
@options.output_options("json", "npz", "safetensors", "csv")
@options.always
def trace(**values: Any) -> None:
    """Save where the model looks in each frame of a video.

    Writes STEM.trace.json (or .npz, .safetensors, .csv) for each input. The commands mask and
    interframe draw from it with --trace.
    """
    from autogaze_cli.jobs import run_jobs
    from autogaze_cli.render import trace_video

    def work(job: Job, base: Path, on_frame: OnFrame) -> Result:
        return trace_video(
            job, base, format=values["format"], overwrite=values["overwrite"], on_frame=on_frame
        )

    options.finish(run_jobs("trace", values, work), values)
