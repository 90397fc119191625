"""``autogaze render-assets``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options


@click.command(
    "render-assets",
    cls=options.Command,
    short_help="Write the input, mask and output GIFs of a video, and their metrics.",
)
@options.inputs
@options.sampling_options(fps=8, frames=16, inference_width=1920, inference_height=1080)
@options.gaze_options(mode="tiled", top_k=10)
@options.compute
@options.drawing_options(
    mask_visualization="overlay",
    blend_alpha=0.55,
    keyframe_duration=12,
    min_keyframe_duration=1,
    gif_size=(384, 216),
)
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
