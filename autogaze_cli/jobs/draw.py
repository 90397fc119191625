"""Draws the gaze of one video as input, mask and output files, and computes the metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.jobs.frames import QUEUE_SIZE, Job, OnFrame, gazed_frames, trace_header
from autogaze_cli.jobs.pipeline import Behind, Feed
from autogaze_cli.jobs.settings import Drawing
from autogaze_cli.jobs.timing import Timing, timed
from autogaze_cli.media.colour import BT709_TAGS, Tags
from autogaze_cli.media.hdr import is_hdr
from autogaze_cli.media.video import Frame
from autogaze_cli.media.writers import FrameWriter, Palette, open_writer
from autogaze_cli.player.page import PageWriter, open_page
from autogaze_cli.reading import brief
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.document import dump_document, metrics_document, write_document
from autogaze_cli.visualize.metrics import RenderMetrics, frame_line
from autogaze_cli.visualize.settings import Visualization

_PIXELS: dict[str, Callable[[FrameView], NDArray[np.uint8]]] = {
    "input": lambda view: view.frame,
    "mask": lambda view: view.mask_panel,
    "output": lambda view: view.output,
}


def pixels_of(role: str, drawing: Drawing) -> Callable[[FrameView], NDArray[np.uint8]]:
    """What is drawn for a role: a panel, or the input with the panel to its right."""
    panel = _PIXELS[role]
    if not drawing.side_by_side:
        return panel
    return lambda view: np.concatenate([view.frame, panel(view)[..., :3]], axis=1)


def draw(
    command: str,
    job: Job,
    base: Path,
    drawing: Drawing,
    *,
    overwrite: bool = False,
    check: bool = False,
    on_frame: OnFrame | None = None,
    report: bool = False,
) -> Result:
    """Draw one video and compute its metrics.

    Args:
        command: ``mask``, ``interframe`` or ``render-assets``, which determines what is drawn:
            input, mask, output (see ``autogaze_cli.batch.result.NAMES``).
        job: The video and its gaze.
        base: Folder and stem of the files, such as ``out/clip``.
        drawing: How it is drawn.
        overwrite: Whether existing files are replaced.
        check: Write nothing; compare with the existing files instead.
        on_frame: Called after each frame.
        report: Also write a page, with the role ``report``.

    Raises:
        AutogazeError: The video, the trace or a file is invalid; nothing is written then.
    """
    files = output_files(command, base, drawing.format, report=report)
    header = trace_header(job)
    size = drawing.file_size(*job.size)
    metrics = RenderMetrics(header.tile_size)
    drawn = {role: path for role, path in files.items() if role not in ("metrics", "report")}
    with Outputs(overwrite=overwrite, check=check) as outputs, ExitStack() as opened:
        page = None
        if report:
            add = outputs.add(files["report"])
            page = opened.enter_context(open_page(add, header, job.size, drawing.visualization))
        frames = _draw_frames(job, outputs, drawn, drawing, page, metrics, on_frame)
        document = metrics_document(
            header,
            drawing.visualization,
            frames=frames,
            gif_size=size,
            summary=metrics.summary(),
            files=drawn,
        )
        document |= job.remarks
        write_document(outputs.add(files["metrics"]), document)
        if page:
            page.close(document)
        differences = _differences(outputs, files["metrics"], document) if check else ()
    return Result(files=files, document=document, differences=differences)


def _draw_frames(
    job: Job,
    outputs: Outputs,
    drawn: Mapping[str, Path],
    drawing: Drawing,
    page: PageWriter | None,
    metrics: RenderMetrics,
    on_frame: OnFrame | None,
) -> int:
    """Gaze, compose, draw and encode in concurrent stages; return the number of frames."""
    size, on_frame = drawing.file_size(*job.size), _synchronized(on_frame)
    with ExitStack() as stack:
        branches = []
        for role, path in drawn.items():
            writer = _opened(outputs, role, path, drawing, job, size)
            write = partial(_write, writer, pixels_of(role, drawing), job.timing)
            branch = Behind(write, QUEUE_SIZE)
            branches.append(stack.enter_context(branch))
        shown = stack.enter_context(Behind(partial(_show, page), QUEUE_SIZE)) if page else None
        compose = partial(_compose, job, drawing.visualization, branches, shown, metrics, on_frame)
        composer = stack.enter_context(Behind(compose, job.queue_size))
        frames = 0
        for gazed in gazed_frames(job, on_frame):
            composer.put(gazed)
            frames += 1
    return frames


def _show(page: PageWriter, views: Feed[tuple[FrameView, FrameTrace]]) -> None:
    """Add frames to a page."""
    for view, gaze in views:
        page.add(view, gaze)


def _compose(
    job: Job,
    visualization: Visualization,
    branches: list[Behind[tuple[FrameView, Frame]]],
    shown: Behind[tuple[FrameView, FrameTrace]] | None,
    metrics: RenderMetrics,
    on_frame: OnFrame | None,
    gazed: Feed[tuple[Frame, FrameTrace]],
) -> None:
    """Compose frames, compute their metrics, and pass them to the drawing stages."""
    compositor, total = Compositor(visualization), job.total
    for done, (frame, gaze) in enumerate(gazed, 1):
        with timed(job.timing, "draw", done - 1):
            view = compositor.step(frame.rgb, gaze.fixations)
        for branch in branches:
            branch.put((view, frame))
        metrics.add(view)
        if shown:  # after the PSNR, which the page would otherwise compute again
            shown.put((view, gaze))
        if on_frame:
            on_frame(done, total, frame_line(done, total or done, view))
    for branch in branches:
        branch.end()  # without waiting, so that they finish concurrently


def _write(
    writer: FrameWriter,
    draw: Callable[[FrameView], NDArray[np.uint8]],
    timing: Timing | None,
    views: Feed[tuple[FrameView, Frame]],
) -> None:
    """Draw and encode one output."""
    with writer:
        for n, (view, frame) in enumerate(views):
            with timed(timing, "draw", n):
                drawn = draw(view)
            with timed(timing, "write", n):
                writer.write(drawn, frame.time, frame.duration)
        writer.close(views.check)


def _synchronized(on_frame: OnFrame | None) -> OnFrame | None:
    """``on_frame`` guarded by a lock, for calls from several threads."""
    if on_frame is None:
        return None
    lock = Lock()

    def locked(done: float, total: int | None, line: str | None) -> None:
        with lock:
            on_frame(done, total, line)

    return locked


def _opened(
    outputs: Outputs, role: str, path: Path, drawing: Drawing, job: Job, size: tuple[int, int]
) -> FrameWriter:
    """Open the writer of one drawn file."""
    add = outputs.add_folder if drawing.format == "png" else outputs.add
    return open_writer(
        add(path),
        format=drawing.format,
        fps=job.fps,
        width=size[0],
        height=size[1],
        palette=_palette(role, drawing),
        colours=_colours(job),
    )


def _colours(job: Job) -> Tags:
    """The colour tags of drawn files: those of HDR whose values are kept, else BT.709's."""
    kept = job.info.colours if job.sampling.tone_map == "none" else None
    return kept if kept is not None and is_hdr(kept.transfer) else BT709_TAGS


def _differences(outputs: Outputs, metrics: Path, document: Mapping[str, Any]) -> tuple[str, ...]:
    """One line per file that differs, and one with the keys that differ in the metrics."""
    lines = [str(difference) for difference in outputs.compare()]
    keys = differing_keys(metrics, document)
    return (*lines, *([f"{metrics}: keys that differ: {', '.join(keys)}"] if keys else []))


def differing_keys(metrics: Path, document: Mapping[str, Any]) -> list[str]:
    """The keys of a metrics document that are not as in a file; none if that holds no metrics."""
    try:
        old = json.loads(metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(old, dict):
        return []
    new = json.loads(dump_document(document))
    return [
        brief(key)
        for key in {**old, **new}
        if key not in old or key not in new or old[key] != new[key]
    ]


def _palette(role: str, drawing: Drawing) -> Palette:
    """``mask`` for panels that use only the five mask colours."""
    plain = drawing.visualization.mask_visualization in ("overlay", "scale-rows")
    return "mask" if role == "mask" and plain and not drawing.side_by_side else "video"
