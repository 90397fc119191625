"""``autogaze trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.live import live_option
from autogaze_cli.errors import OutputError

if TYPE_CHECKING:
    from autogaze_cli.trace import FrameTrace


@click.command(
    "trace",
    cls=options.Command,
    short_help="Save where the model looks in each frame of a video.",
)
@options.inputs
@options.sampling_options()
@options.preset
@options.gaze_options()
@options.compute
@live_option(
    "Gaze at",
    "The latency per frame is reported. With --jsonl, print each frame's gaze at once.",
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

    from autogaze_cli.cli.live import OF_FILES, log_summary, stream_of
    from autogaze_cli.cli.printing import refuse_json_twice
    from autogaze_cli.cli.streams import outputs_kept, print_document
    from autogaze_cli.jobs.live import live_stem, trace_live
    from autogaze_cli.jobs.videos import open_announced
    from autogaze_cli.visualize.document import dump_document

    refuse_json_twice(values)
    request, name = stream_of("trace", values, OF_FILES)
    printed = _PrintedFrames()
    result, interrupt = trace_live(
        name,
        open_announced(request),
        request.batch.out_dir / live_stem(name),
        sampling=request.sampling,
        format=request.format,
        overwrite=request.batch.overwrite,
        on_gaze=printed if values["jsonl"] else None,
    )
    log_summary(result.document)
    logging.getLogger("autogaze_cli.jobs.live").info("wrote %s", result.files["trace"])
    with outputs_kept():
        if values["json"]:
            print_document(dump_document(result.document))
        if printed.error is not None:
            raise printed.error
    if interrupt is not None:
        raise interrupt


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
