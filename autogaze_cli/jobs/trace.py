"""Traces one video."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.jobs.frames import Job, OnFrame, gazed_frames, trace_header
from autogaze_cli.jobs.pipeline import Behind
from autogaze_cli.jobs.timing import timed
from autogaze_cli.player.page import PAGE_VIEW, draw_frames
from autogaze_cli.trace import Trace, open_trace_writer


def save_trace(
    job: Job,
    base: Path,
    *,
    format: str = "json",
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
    report: bool = False,
) -> Result:
    """Save the gaze of a video as ``<base>.trace.<format>``.

    Args:
        job: The video and its gaze.
        base: Folder and stem of the files, such as ``out/clip``.
        format: Format of the trace, see ``autogaze_cli.trace.FORMATS``.
        overwrite: Whether existing files are replaced.
        on_frame: Called after each frame.
        report: Also write a page, ``<base>.report.html``, drawn with ``PAGE_VIEW``.

    Raises:
        AutogazeError: The video or the model's output is invalid, or a file cannot be written;
            nothing is written then.
    """
    files = output_files("trace", base, format, report=report)
    header, total = trace_header(job), job.total
    frames = fixations = 0
    with (
        Outputs(overwrite=overwrite) as outputs,
        open_trace_writer(outputs.add(files["trace"]), header, format) as writer,
        ExitStack() as stack,
    ):
        page = None
        if report:
            path = outputs.add(files["report"])
            making = partial(draw_frames, path, header, job.size, PAGE_VIEW)
            page = stack.enter_context(Behind(making, job.queue_size))
        for frame, gaze in gazed_frames(job, on_frame):
            with timed(job.timing, "write", frames):
                writer.write(gaze)
            if page:
                page.put((frame, gaze))
            frames += 1
            active = len(gaze.fixations.active())
            fixations += active
            if on_frame:
                on_frame(frames, total, f"frame {frames:02}/{total or '?'}: points={active}")
    document = header.to_mapping() | {
        "frames": frames,
        "positive_fixations": fixations,
        "output_files": {role: str(path) for role, path in files.items()},
        **job.remarks,
    }
    return Result(files=files, document=document)


def gaze_trace(job: Job, on_frame: OnFrame | None = None) -> Trace:
    """The gaze of all frames, in memory.

    Raises:
        InputError: The video cannot be read, or has too few frames.
    """
    frames, total = [], job.total
    for _, gaze in gazed_frames(job, on_frame):
        frames.append(gaze)
        if on_frame:
            points = len(gaze.fixations.active())
            line = f"frame {len(frames):02}/{total or '?'}: points={points}"
            on_frame(len(frames), total, line)
    return Trace.from_frames(trace_header(job), frames)
