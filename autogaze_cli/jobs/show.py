"""Draws a live stream as it arrives, in a window or on stdout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from autogaze_cli.errors import OutputError
from autogaze_cli.jobs.draw import pixels_of
from autogaze_cli.jobs.frames import open_job
from autogaze_cli.jobs.live import WAITING, Run, gaze_live
from autogaze_cli.jobs.pipeline import Behind, Feed
from autogaze_cli.jobs.settings import Drawing
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.streaming import StreamWriter
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.compositor import Compositor

_ROLES = {"mask": "mask", "interframe": "output"}

_PLAYER = "ffplay"
_PLAYER_OPTIONS = (
    *("-loglevel", "error", "-fflags", "nobuffer", "-flags", "low_delay", "-autoexit"),
    *("-i", "-"),
)

_PLAYER_ENDS = (0, 123)
"""Its exit codes at the end of the video or when the window is closed, and at Ctrl-C."""

_ELSEWHERE = "redirect it to a file or a player: autogaze mask --live INPUT > live.mp4"


def show_live(
    command: str,
    name: str,
    source: GazeSource,
    drawing: Drawing,
    sampling: Sampling,
    file: BinaryIO,
) -> tuple[dict[str, Any], BaseException | None]:
    """Draw a stream until it ends, nobody watches any more, or Ctrl-C; memory does not grow.

    Args:
        command: ``mask`` or ``interframe``.
        name: The stream, as for ``media.live.read_live``.
        source: The gaze source.
        drawing: How it is drawn; its format does not matter.
        sampling: The frames to read.
        file: Where the video goes: H.264 in fragmented MP4.

    Returns:
        Frames, rate and latency, and the interrupt that ended the stream, if any.

    Raises:
        AutogazeError: The stream cannot be read, or the video cannot be written.
    """
    run, drawing = Run(), replace(drawing, format="mp4")
    info, gazed = gaze_live(name, source, sampling)
    job = open_job(Path(name), source, sampling, name=name, info=info)
    width, height = drawing.file_size(*job.size)
    run.start = run.end = time.perf_counter()
    try:
        writer = StreamWriter(file, fps=job.fps, width=width, height=height)
        with Behind(partial(_show, command, writer, drawing, run), WAITING) as behind:
            try:
                for item in gazed:
                    behind.put(item)
            except KeyboardInterrupt as interrupt:
                run.interrupt = interrupt
    except BrokenPipeError:
        pass  # the window was closed, or the reader of stdout has ended
    return run.summary(), run.interrupt


def _show(
    command: str,
    writer: StreamWriter,
    drawing: Drawing,
    run: Run,
    gazed: Feed[tuple[Frame, FrameTrace, float]],
) -> None:
    """Compose, draw and write frames."""
    compositor, pixels = Compositor(drawing.visualization), pixels_of(_ROLES[command], drawing)
    with writer:
        for frame, gaze, latency_s in gazed:
            writer.write(pixels(compositor.step(frame.rgb, gaze.fixations)), frame.time)
            run.add(gaze, latency_s)


@contextmanager
def open_screen(title: str) -> Iterator[BinaryIO]:
    """Where a live video goes: stdout where that is redirected, otherwise a window of ffplay.

    Raises:
        OutputError: Neither is there.
    """
    if sys.stdout is not None and not sys.stdout.isatty():
        yield sys.stdout.buffer
        return
    player = shutil.which(_PLAYER) if _has_display() else None
    if player is None:
        missing = f"{_PLAYER} is not installed" if _has_display() else "there is no display"
        raise OutputError(
            f"the live video can be shown nowhere: {missing}",
            hint=_ELSEWHERE,
        )
    command = [player, "-window_title", title, *_PLAYER_OPTIONS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        try:
            yield process.stdin  # type: ignore[misc]  # a buffered writer of bytes
        except BaseException:
            process.terminate()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
    if process.returncode not in _PLAYER_ENDS:
        raise OutputError(
            f"{_PLAYER} cannot show the live video (exit code {process.returncode})",
            hint=_ELSEWHERE,
        )


def _has_display() -> bool:
    """Whether windows can be shown."""
    of_others = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(of_others)
