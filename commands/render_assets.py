"""``autogaze render-assets``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.jobs.presets import PRESETS

_OWN = PRESETS["assets"]


@click.command(
    "render-assets",
    cls=options.Command,
    short_help="Write the input, mask and output GIFs of a video, and their metrics.",
)
@options.inputs
@options.sampling_options(_OWN)
@options.gaze_options(_OWN)
@options.compute
@options.drawing_options(_OWN, min_keyframe_duration=1)
@options.output_options()
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing: render, compare with existing outputs, exit 1 if anything differs.",
)
@options.report
@options.batch
@options.always
def render_assets(**values: Any) -> None:
    """Write the input, mask and output GIFs of a video, and their metrics.

    Writes autogaze_STEM_input.gif, _mask.gif, _output.gif and autogaze_STEM_metrics.json. The same
    settings give the same bytes, so --check shows whether they are up to date.
    """
    from autogaze_cli.cli.printing import run_command

    run_command("render-assets", values)
