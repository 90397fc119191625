"""``autogaze trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.errors import InputError
from autogaze_cli.jobs.values import gaze_settings, input_names, sampling

if TYPE_CHECKING:
    from autogaze_cli.trace import FrameTrace

_HORIZON_FRAMES = 16
"""Of a live stream, unless another is asked for: as many as the model was trained on."""


@click.command(
    "trace",
    cls=options.Command,
    short_help="Save where the model looks in each frame of a video.",
)
@options.inputs
@options.sampling_options()
@options.gaze_options()
@options.compute
@click.option(
    "--live",
    is_flag=True,
    help="Gaze at one stream as it comes (a file, - , a device or a URL) and report the latency a "
    f"frame; sets --horizon-frames to {_HORIZON_FRAMES}. With --jsonl, prints each frame's gaze at "
    "once. Ctrl-C ends it.",
)
@options.output_options("json", "npz", "safetensors", "csv")
@options.report
@options.batch
@options.always
def trace(**values: Any) -> None:
    """Save where the model looks in each frame of a video.

    Writes STEM.trace.json (or .npz, .safetensors, .csv) for each input. The commands mask and
    interframe draw from it with --trace.
    """
    if values["live"]:
        _live(values)
        return
    from autogaze_cli.cli import printing as stdout
    from autogaze_cli.jobs.video import trace_all

    stdout.finish(trace_all(values, stdout.on_event(values)), values)


def _live(values: dict[str, Any]) -> None:
    if values["json"] and values["jsonl"]:
        raise click.UsageError("give one of --json and --jsonl")
    names = input_names(values)
    if len(names) != 1:
        raise click.UsageError(f"--live takes one input, not {len(names)}")
    if "://" in names[0] and values["offline"]:
        raise InputError(f"{names[0]}: is not opened while offline", hint="leave out --offline")
    if values["horizon_frames"] is None and values["mode"] == "resize":
        values["horizon_frames"] = _HORIZON_FRAMES
    settings = gaze_settings(values)
    import logging
    from pathlib import Path

    from autogaze_cli.inference import open_source
    from autogaze_cli.jobs.live import live_stem, trace_live
    from autogaze_cli.jobs.video import announce, origin_of
    from autogaze_cli.media.video import Sampling
    from autogaze_cli.visualize.document import dump_document

    source = open_source(settings)
    announce(source, settings, origin_of(values))
    result, interrupt = trace_live(
        names[0],
        source,
        Path(values["out_dir"], live_stem(names[0])),
        sampling=sampling(values, Sampling()),
        format=values["format"],
        overwrite=values["overwrite"],
        on_gaze=_print_line if values["jsonl"] else None,
    )
    said = result.document
    logger = logging.getLogger("autogaze_cli.jobs.live")
    logger.info(
        "%d frames, %g frames/s, latency p50 %s ms, p95 %s ms",
        *(said["frames"], said["frames_per_second"], *said["latency_ms"].values()),
    )
    logger.info("wrote %s", result.files["trace"])
    if values["json"]:
        click.echo(dump_document(said), nl=False)
    if interrupt is not None:
        raise interrupt


def _print_line(gaze: FrameTrace, latency_s: float) -> None:
    from autogaze_cli.trace.text import frame_json

    start = frame_json(gaze).removeprefix("{").removesuffix("}")
    latency_ms = f"{latency_s * 1000:.3f}"
    click.echo(f'{{"event": "frame", {start}, "latency_ms": {latency_ms}}}')  # echo flushes
