"""One video through inference, drawing and encoders: what each command does for one input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.errors import InputError
from autogaze_cli.jobs.pipeline import Behind, Feed, ahead
from autogaze_cli.media.video import Frame, Sampling, VideoInfo, probe, read_frames
from autogaze_cli.media.writers import Format, FrameWriter, Palette, open_writer
from autogaze_cli.player.page import PAGE_VIEW, PageWriter, draw_frames, open_page
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader, open_trace_writer
from autogaze_cli.version import __version__
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.document import dump_document, metrics_document, write_document
from autogaze_cli.visualize.metrics import RenderMetrics, frame_line
from autogaze_cli.visualize.settings import Visualization

OnFrame = Callable[[float, int | None, str | None], None]
"""Called after each frame: how many are done, how many there will be if known, a line about it.

And while a clip is gazed at, before any of its frames is done: how far that is, and no line.
Not always from the caller's thread, but never from two at a time.
"""

MAX_GIF_WIDTH = 640
"""Pixels of width a GIF has at most, unless a size is asked for."""

_WAITING = 3
"""Frames between two stages at most, save that those of a model's clip come all at once."""

_PIXELS: dict[str, Callable[[FrameView], NDArray[np.uint8]]] = {
    "input": lambda view: view.frame,
    "mask": lambda view: view.mask_panel,
    "output": lambda view: view.output,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video, which of its frames, and where their gaze comes from.

    Attributes:
        video: The file, or an image pattern.
        sampling: Its frames. Fewer than ``sampling.frames`` are an error.
        gaze: A source, or a trace made earlier of the same frames.
        name: How outputs and messages name the video; None = its path.
    """

    video: Path
    sampling: Sampling
    gaze: GazeSource | Trace
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What is drawn, and into which kind of file.

    Attributes:
        visualization: How masks and outputs are composed.
        format: ``gif``, ``mp4``, ``webm`` or ``png``.
        width: Of the files, in pixels; None = from the height, or the frames' own (a GIF's at most
            ``MAX_GIF_WIDTH``).
        height: Likewise.
    """

    visualization: Visualization
    format: Format = "gif"
    width: int | None = None
    height: int | None = None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the files for frames of that size."""
        wanted = self.width
        if self.format == "gif" and wanted is None and self.height is None:
            wanted = min(width, MAX_GIF_WIDTH)
        return Sampling(width=wanted, height=self.height).size(width, height)


def trace_video(
    job: Job,
    base: Path,
    *,
    format: str = "json",
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
    report: bool = False,
) -> Result:
    """Save where the gaze goes, ``<base>.trace.<format>``.

    Args:
        job: The video and its gaze.
        base: Folder and stem of the files, such as ``out/clip``.
        format: Of the trace, see ``autogaze_cli.trace.FORMATS``.
        overwrite: Whether files that exist are replaced.
        on_frame: Called after each frame.
        report: Write a page too, ``<base>.report.html``, drawn with ``PAGE_VIEW``.

    Raises:
        AutogazeError: The video, the model's answer or the file is not what it should be; nothing
            has been written then.
    """
    files = output_files("trace", base, format, report=report)
    info = probe(job.video)
    header = trace_header(job, info)
    frames = fixations = 0
    total = frame_count(job.sampling, info)
    with (
        Outputs(overwrite=overwrite) as outputs,
        open_trace_writer(outputs.add(files["trace"]), header, format) as writer,
        ExitStack() as stack,
    ):
        page = None
        if report:
            size = job.sampling.size(info.width, info.height)
            making = partial(draw_frames, outputs.add(files["report"]), header, size, PAGE_VIEW)
            page = stack.enter_context(Behind(making, _waiting(job.gaze)))
        for frame, gaze in gazed_frames(job, total, on_frame):
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
    }
    return Result(files=files, document=document)


def gaze_trace(job: Job, on_frame: OnFrame | None = None) -> Trace:
    """The gaze of all frames, in memory.

    Raises:
        InputError: The video cannot be read, or has too few frames.
    """
    info = probe(job.video)
    total = frame_count(job.sampling, info)
    frames = []
    for _, gaze in gazed_frames(job, total, on_frame):
        frames.append(gaze)
        if on_frame:
            points = len(gaze.fixations.active())
            line = f"frame {len(frames):02}/{total or '?'}: points={points}"
            on_frame(len(frames), total, line)
    return Trace.from_frames(trace_header(job, info), frames)


def render(
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
    """Draw one video, measured on the way.

    Args:
        command: ``mask``, ``interframe`` or ``render-assets``, which says what is drawn: the input,
            the mask, the output (see ``autogaze_cli.batch.result.NAMES``).
        job: The video and its gaze.
        base: Folder and stem of the files, such as ``out/clip``.
        drawing: How it is drawn.
        overwrite: Whether files that exist are replaced.
        check: Write nothing; compare with what is there instead.
        on_frame: Called after each frame.
        report: Write a page to look at too, the role ``report``.

    Raises:
        AutogazeError: The video, the trace or a file is not what it should be; nothing has been
            written then.
    """
    files = output_files(command, base, drawing.format, report=report)
    info = probe(job.video)
    header = trace_header(job, info)
    frame_size = job.sampling.size(info.width, info.height)
    size = drawing.size(*frame_size)
    metrics = RenderMetrics(header.tile_size)
    drawn = {role: path for role, path in files.items() if role not in ("metrics", "report")}
    total = frame_count(job.sampling, info)
    on_frame = _in_turn(on_frame)
    with Outputs(overwrite=overwrite, check=check) as outputs, ExitStack() as opened:
        page = None
        if report:
            add = outputs.add(files["report"])
            page = opened.enter_context(open_page(add, header, frame_size, drawing.visualization))
        with ExitStack() as stack:
            branches = []
            for role, path in drawn.items():
                writer = _opened(outputs, role, path, drawing, header.fps, size)
                branch = Behind(partial(_write, writer, _PIXELS[role]), _WAITING)
                branches.append(stack.enter_context(branch))
            shown = stack.enter_context(Behind(partial(_show, page), _WAITING)) if page else None
            compose = partial(
                _compose, drawing.visualization, branches, shown, metrics, total, on_frame
            )
            composer = stack.enter_context(Behind(compose, _waiting(job.gaze)))
            frames = 0
            for gazed in gazed_frames(job, total, on_frame):
                composer.put(gazed)
                frames += 1
        document = metrics_document(
            header,
            drawing.visualization,
            frames=frames,
            gif_size=size,
            summary=metrics.summary(),
            files=drawn,
        )
        write_document(outputs.add(files["metrics"]), document)
        if page:
            page.close(document)
        differences = _differences(outputs, files["metrics"], document) if check else ()
    return Result(files=files, document=document, differences=differences)


def _show(page: PageWriter, views: Feed[tuple[FrameView, FrameTrace]]) -> None:
    """Add frames to a page."""
    for view, gaze in views:
        page.add(view, gaze)


def _compose(
    visualization: Visualization,
    branches: list[Behind[FrameView]],
    shown: Behind[tuple[FrameView, FrameTrace]] | None,
    metrics: RenderMetrics,
    total: int | None,
    on_frame: OnFrame | None,
    gazed: Feed[tuple[Frame, FrameTrace]],
) -> None:
    """Compose frames, measure them, and hand them to those that draw and encode them."""
    compositor = Compositor(visualization)
    for done, (frame, gaze) in enumerate(gazed, 1):
        view = compositor.step(frame.rgb, gaze.fixations)
        for branch in branches:
            branch.put(view)
        metrics.add(view)
        if shown:  # after the PSNR, which it would else compute a second time
            shown.put((view, gaze))
        if on_frame:
            on_frame(done, total, frame_line(done, total or done, view))
    for branch in branches:
        branch.end()  # they finish side by side


def _write(
    writer: FrameWriter, draw: Callable[[FrameView], NDArray[np.uint8]], views: Feed[FrameView]
) -> None:
    """Draw and encode one output."""
    with writer:
        for view in views:
            writer.write(draw(view))
        writer.close(views.check)


def _waiting(gaze: GazeSource | Trace) -> int:
    """How many frames may wait for or after a gaze source: all that it looks at together."""
    if not isinstance(gaze, GazeSource) or gaze.mask_source == "patch-diff":
        return _WAITING
    return max(_WAITING, 0 if gaze.settings.horizon_frames else gaze.settings.clip_len)


def _in_turn(on_frame: OnFrame | None) -> OnFrame | None:
    """``on_frame`` for several threads: one waits for the other."""
    if on_frame is None:
        return None
    lock = Lock()

    def told(done: float, total: int | None, line: str | None) -> None:
        with lock:
            on_frame(done, total, line)

    return told


def gazed_frames(
    job: Job, total: int | None = None, on_frame: OnFrame | None = None
) -> Iterator[tuple[Frame, FrameTrace]]:
    """The frames of a job with their gaze, one at a time; they are decoded ahead.

    Args:
        job: The video and its gaze.
        total: How many frames will come, if known.
        on_frame: Told how far the gaze is.

    Raises:
        InputError: The video cannot be read, has too few frames, or is not the trace's.
    """
    frames = ahead(read_frames(job.video, job.sampling, require=True), _waiting(job.gaze))
    if on_frame:
        on_frame(0, total, None)
    if isinstance(job.gaze, GazeSource):
        on_gazed = (lambda done: on_frame(done, total, None)) if on_frame else None
        yield from job.gaze.trace(frames, on_gazed)
        return
    trace, done = job.gaze, 0
    for frame in frames:
        if done == len(trace) or trace.index[done] != frame.index:
            raise _not_the_trace(job, f"frame {frame.index} is not in the trace")
        yield frame, trace.frame(done)
        done += 1
    if done < len(trace):
        raise _not_the_trace(job, f"it has {done} frames, the trace {len(trace)}")


def sampling_of(header: TraceHeader) -> Sampling:
    """The frames that a trace was made of."""
    settings = header.settings
    fps = settings.get("fps")
    return Sampling(
        start=Fraction(settings.get("start", 0)),
        frames=settings.get("frames"),
        fps=None if fps is None else Fraction(fps),
        width=header.width or None,
        height=header.height or None,
    )


def trace_header(job: Job, info: VideoInfo) -> TraceHeader:
    """What a trace of the job says once; of a trace made earlier, what that one says.

    Raises:
        InputError: The job's trace is of frames of another size.
    """
    width, height = job.sampling.size(info.width, info.height)
    if isinstance(job.gaze, Trace):
        header = job.gaze.header
        if (header.width or width, header.height or height) != (width, height):
            sizes = f"frames of {width}x{height}, the trace is of {header.width}x{header.height}"
            raise _not_the_trace(job, sizes)
        return replace(header, source=job.name or str(job.video))
    source, sampling = job.gaze, job.sampling
    settings = asdict(source.settings) | {
        "max_gaze_tokens_each_frame": source.max_gaze_tokens_each_frame,
        "task_loss_requirement": source.task_loss_requirement,
        "device": source.device.partition(":")[0],  # which of several GPUs says nothing
        "start": str(sampling.start),
        "frames": sampling.frames,
        "fps": None if sampling.fps is None else str(sampling.fps),
    }
    del settings["threads"]  # says nothing about the result
    return TraceHeader(
        source=job.name or str(job.video),
        source_width=info.width,
        source_height=info.height,
        width=width,
        height=height,
        fps=sampling.fps or info.fps or Fraction(25),
        mask_source=source.mask_source,
        model=source.model,
        model_sha256=source.model_sha256,
        scales=source.scales,
        num_vision_tokens_each_frame=source.num_vision_tokens_each_frame,
        mode=source.settings.mode,
        tile_size=source.settings.tile_size,
        stride=source.settings.stride or source.settings.tile_size,
        tile_count=source.tile_count(width, height),
        settings=settings,
        tool_version=__version__,
    )


def frame_count(sampling: Sampling, info: VideoInfo) -> int | None:
    """How many frames will come, as far as the container tells."""
    if sampling.frames is not None:
        return sampling.frames
    if sampling.fps is not None and info.duration is not None:
        return max(1, round((info.duration - sampling.start) * sampling.fps))
    if info.frames is None or info.fps is None:
        return info.frames
    return max(1, info.frames - round(sampling.start * info.fps))


def _opened(
    outputs: Outputs, role: str, path: Path, drawing: Drawing, fps: Fraction, size: tuple[int, int]
) -> FrameWriter:
    """A writer of one drawn file."""
    add = outputs.add_folder if drawing.format == "png" else outputs.add
    return open_writer(
        add(path),
        format=drawing.format,
        fps=fps,
        width=size[0],
        height=size[1],
        palette=_palette(role, drawing.visualization),
    )


def _differences(outputs: Outputs, metrics: Path, document: Mapping[str, Any]) -> tuple[str, ...]:
    """A line for each file that is not as it was; of the metrics, also which keys."""
    lines = [str(difference) for difference in outputs.compare()]
    try:
        old = json.loads(metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return tuple(lines)  # what compare has said is all there is to say
    if not isinstance(old, dict):
        return tuple(lines)
    new = json.loads(dump_document(document))
    keys = [
        key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]
    ]
    return (*lines, *([f"{metrics}: keys that differ: {', '.join(keys)}"] if keys else []))


def _palette(role: str, visualization: Visualization) -> Palette:
    """The five mask colours where a panel has no others."""
    plain = visualization.mask_visualization in ("overlay", "scale-rows")
    return "mask" if role == "mask" and plain else "video"


def _not_the_trace(job: Job, what: str) -> InputError:
    return InputError(
        f"{job.name or job.video}: not the video of the trace: {what}",
        hint="give the trace's own video, without other sampling options",
    )
