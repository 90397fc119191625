"""``autogaze trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.errors import ConfigError, InputError, OutputError

if TYPE_CHECKING:
    from autogaze_cli.trace import FrameTrace

_HORIZON_FRAMES = 16
"""Default for a live stream: the number of frames that the model was trained on."""

_OF_FILES = (
    *("report", "dry_run", "resume", "fail_fast", "workers", "engine", "address"),
    "gpus_per_worker",
)
"""Options that cannot be used with a live stream."""


@click.command(
    "trace",
    cls=options.Command,
    short_help="Save where the model looks in each frame of a video.",
)
@options.inputs
@options.sampling_options()
@options.gaze_options()
@options.compute
@options.section(
    "Gaze",
    options.option(
        "--live",
        is_flag=True,
        help="Gaze at one stream as it arrives (file, -, device or URL) and report the latency "
        f"per frame; in mode resize, --horizon-frames defaults to {_HORIZON_FRAMES}. With "
        "--jsonl, print each frame's gaze at once. Ctrl-C ends it.",
    ),
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
    from autogaze_cli.cli.printing import run_command

    run_command("trace", values)


def _live(values: dict[str, Any]) -> None:
    import logging

    from autogaze_cli.cli.printing import refuse_json_twice, request_of
    from autogaze_cli.cli.streams import outputs_kept, print_document
    from autogaze_cli.inference import open_source
    from autogaze_cli.jobs.live import live_stem, trace_live
    from autogaze_cli.jobs.videos import announce
    from autogaze_cli.visualize.document import dump_document

    refuse_json_twice(values)
    if values["horizon_frames"] is None and values["mode"] == "resize":
        values["horizon_frames"] = _HORIZON_FRAMES
    request = request_of("trace", values)
    given = request.given | ({"dry_run"} if values["dry_run"] else set())  # wherever it stands
    name = _stream(request.inputs, given, values["offline"])
    source = open_source(request.gaze)
    announce(source, request)
    printed = _PrintedFrames()
    result, interrupt = trace_live(
        name,
        source,
        request.batch.out_dir / live_stem(name),
        sampling=request.sampling,
        format=request.format,
        overwrite=request.batch.overwrite,
        on_gaze=printed if values["jsonl"] else None,
    )
    document = result.document
    logger = logging.getLogger("autogaze_cli.jobs.live")
    logger.info(
        "%d frames, %g frames/s, latency p50 %s ms, p95 %s ms",
        *(document["frames"], document["frames_per_second"], *document["latency_ms"].values()),
    )
    logger.info("wrote %s", result.files["trace"])
    with outputs_kept():
        if values["json"]:
            print_document(dump_document(document))
        if printed.error is not None:
            raise printed.error
    if interrupt is not None:
        raise interrupt


def _stream(inputs: tuple[str, ...], given: frozenset[str], offline: bool) -> str:
    """The one stream to gaze at.

    Raises:
        ConfigError: An option was given that cannot be used with a stream.
        InputError: The stream is at a URL, but network access is refused.
    """
    if len(inputs) != 1:
        raise click.UsageError(f"--live takes a single input, got {len(inputs)}")
    if not inputs[0]:
        raise InputError("an input has an empty name", hint="is a variable of the shell unset?")
    for name in _OF_FILES:
        if name in given:
            raise ConfigError(
                f"--{name.replace('_', '-')} cannot be used with --live", hint="leave it out"
            )
    if "://" in inputs[0] and offline:
        raise InputError(
            f"{inputs[0]}: not opened while offline",
            hint="leave out --offline, and unset AUTOGAZE_OFFLINE",
        )
    return inputs[0]


class _PrintedFrames:
    """Prints an event for each frame; what stdout does not take costs no frame of the trace.

    Attributes:
        error: Why nothing more is printed; None while printing.
    """

    def __init__(self) -> None:
        self.error: OutputError | None = None

    def __call__(self, gaze: FrameTrace, latency_s: float) -> None:
        from autogaze_cli.cli.streams import print_line
        from autogaze_cli.trace.text import frame_json

        if self.error is not None:
            return
        start = frame_json(gaze).removeprefix("{").removesuffix("}")
        latency_ms = f"{latency_s * 1000:.3f}"
        try:
            print_line(f'{{"event": "frame", {start}, "latency_ms": {latency_ms}}}')
        except OutputError as error:
            self.error = error
