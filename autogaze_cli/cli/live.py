"""``--live``: one stream instead of files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli.command import Decorator, option, section
from autogaze_cli.errors import ConfigError, InputError

if TYPE_CHECKING:
    from autogaze_cli.jobs.request import Request

logger = logging.getLogger(__name__)

HORIZON_FRAMES = 16
"""Default for a live stream: the number of frames that the model was trained on."""

OF_FILES = (
    *("report", "timing", "dry_run", "resume", "fail_fast", "workers", "engine", "address"),
    *("gpus_per_worker", "isolate", "untrusted"),
)
"""Options that cannot be used with a live stream."""

OF_DRAWN_FILES = (
    *OF_FILES,
    *("trace", "trace_clip", "trace_maps", "out_dir", "format", "overwrite", "json", "jsonl"),
)
"""Options that cannot be used with a live stream that is drawn."""


def live_option(what: str, then: str) -> Decorator:
    """The option ``--live``.

    Args:
        what: What is done with the stream.
        then: More about it.
    """
    return section(
        "Gaze",
        option(
            "--live",
            is_flag=True,
            help=f"{what} one stream (file, -, device or URL) as it arrives. In mode resize, "
            f"{HORIZON_FRAMES} is the default of --horizon-frames; in the others frames wait until "
            f"their clip is complete. {then} Ctrl-C ends it.",
        ),
    )


drawn_live = live_option(
    "Draw",
    "No file is written: where stdout is redirected it gets the video, fragmented MP4; otherwise "
    "a window shows it (needs ffplay and a display).",
)


def draw_live(command: str, values: dict[str, Any]) -> None:
    """Draw a live stream, and exit with the command's exit code."""
    from autogaze_cli.jobs.show import open_screen, show_live
    from autogaze_cli.jobs.videos import open_announced

    request, name = stream_of(command, values, OF_DRAWN_FILES)
    assert request.drawing is not None
    with open_screen(f"autogaze {command}: {name}") as screen:
        source = open_announced(request)
        summary, interrupt = show_live(
            command, name, source, request.drawing, request.sampling, screen
        )
    log_summary(summary)
    if interrupt is not None:
        raise interrupt


def stream_of(
    command: str, values: dict[str, Any], refused: Collection[str]
) -> tuple[Request, str]:
    """The request of a command line with ``--live``, and the name of its stream.

    Raises:
        ConfigError: An option was given that cannot be used with a stream.
        InputError: The stream is at a URL, but network access is refused.
    """
    from autogaze_cli.cli.printing import request_of

    if values["horizon_frames"] is None and values["mode"] == "resize":
        values["horizon_frames"] = HORIZON_FRAMES
    request = request_of(command, values)
    given = request.given | {n for n in ("dry_run", "json", "jsonl") if values[n]}  # wherever
    inputs = request.inputs
    if len(inputs) != 1:
        raise click.UsageError(f"--live takes a single input, got {len(inputs)}")
    if not inputs[0]:
        raise InputError("an input has an empty name", hint="is a variable of the shell unset?")
    for name in refused:
        if name in given:
            raise ConfigError(
                f"--{name.replace('_', '-')} cannot be used with --live", hint="leave it out"
            )
    if "://" in inputs[0] and values["offline"]:
        from autogaze_cli.model.catalog import offline_hint

        raise InputError(f"{inputs[0]}: not opened while offline", hint=offline_hint())
    return request, inputs[0]


def log_summary(document: Mapping[str, Any]) -> None:
    """Log frames, rate and latency."""
    logger.info(
        "%d frames, %g frames/s, latency p50 %s ms, p95 %s ms",
        *(document["frames"], document["frames_per_second"], *document["latency_ms"].values()),
    )
