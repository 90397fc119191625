"""From the values of a command over videos to a batch, and its report."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from autogaze_cli.batch.inputs import Input, open_inputs
from autogaze_cli.batch.outputs import name_temporaries
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.pages import write_pages
from autogaze_cli.jobs.readout import about, readout_file
from autogaze_cli.jobs.render import (
    Drawing,
    Job,
    OnFrame,
    frame_count,
    gaze_trace,
    render,
    sampling_of,
    trace_video,
)
from autogaze_cli.jobs.values import Values, gaze_settings, input_names, sampling, visualization
from autogaze_cli.jobs.work import gpus_per_worker, run_work
from autogaze_cli.media.video import Sampling, probe
from autogaze_cli.model import catalog
from autogaze_cli.model.devices import choose_device
from autogaze_cli.progress import Advance
from autogaze_cli.readout import ReadoutSettings
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import Trace, read_trace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoWork:
    """A command's work for one video, which a worker of any engine can do.

    Attributes:
        do: Called with a ``Job`` and the folder and stem of its outputs, and with ``overwrite`` and
            ``on_frame`` by name.
        settings: Which gaze source runs.
        sampling: Which frames are taken.
        out_dir: Where outputs go.
        trace: Gaze made earlier, which stands for the source.
        origin: What is said of where the gaze comes from.
        run: Names the run's temporary files.
    """

    do: Callable[..., Result]
    settings: GazeSettings
    sampling: Sampling
    out_dir: Path
    trace: Trace | None = None
    origin: str = ""
    run: str = ""

    def of_run(self, run: str) -> Self:
        """The same, with temporary files of that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Open the gaze source, on this worker's share of the machine."""
        name_temporaries(self.run)
        gaze = self.trace or open_source(shared(self.settings, worker, workers))
        if worker == 0:
            announce(gaze, self.settings, self.origin)
        return partial(self._one, gaze)

    def _one(self, gaze: GazeSource | Trace, task: Task, advance: Advance) -> Result:
        furthest = 0.0

        def on_frame(done: float, total: int | None, line: str | None) -> None:
            nonlocal furthest
            if line is not None:
                logger.debug("%s", line)
            furthest = max(furthest, done)  # a clip is gazed at before its frames are done
            advance(furthest, total)

        item = task.item
        job = Job(video=Path(item.path), sampling=self.sampling, gaze=gaze, name=item.name)
        base = Path(self.out_dir, item.stem)
        return self.do(job, base, overwrite=task.overwrite, on_frame=on_frame)


def shared(settings: GazeSettings, worker: int, workers: int) -> GazeSettings:
    """The settings of one of several workers on a machine: its share of the cores, its GPU."""
    if workers == 1:
        return settings
    import torch

    threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)
    gpus = torch.cuda.device_count() if settings.device in ("auto", "cuda") else 0
    device = f"cuda:{worker % gpus}" if gpus > 1 else settings.device
    return replace(settings, threads=threads, device=device)


def run_jobs(
    command: str,
    values: Values,
    do: Callable[..., Result],
    *,
    inputs: Sequence[Input] | None = None,
    on_event: OnEvent | None = None,
) -> Report:
    """Do a command's work for each input.

    What can be refused is refused before a model is loaded: settings, inputs, outputs that exist.

    Args:
        command: Its name.
        values: Its values.
        do: What it does for one input, see ``VideoWork``; it must be possible to pickle it.
        inputs: The inputs, where they are open already; None = open those of ``values``.
        on_event: Told of each event.

    Returns:
        What became of each input.

    Raises:
        AutogazeError: Nothing can be done, or the only input failed.
    """
    trace = read_trace(values["trace"]) if values.get("trace") else None
    settings = gaze_settings(values)
    device = _device(values, settings)  # one that was asked for must be there, even unneeded
    with ExitStack() as stack:
        if inputs is None:
            inputs = stack.enter_context(open_inputs(input_names(values)))
        if trace and len(inputs) > 1:
            raise ConfigError(f"--trace is of one video, not of {len(inputs)}")
        work = VideoWork(
            do=do,
            settings=settings,
            sampling=sampling(values, sampling_of(trace.header) if trace else Sampling()),
            out_dir=Path(values["out_dir"]),
            trace=trace,
            origin=origin_of(values),
        )
        described = asdict(settings) | {"device": device, "threads": None}
        if trace:
            described = {"trace": catalog.sha256_of(Path(values["trace"]))}
        report = run_work(
            command,
            values,
            work,
            inputs,
            about=described,
            model_sha256=lambda: None if trace else _model_sha256(settings),
            check=lambda item: probe(Path(item.path)),
            estimate=partial(_estimate, work),
            on_event=on_event,
        )
        writes = report.results and not (values.get("check") or values["dry_run"])
        if values.get("report") and len(inputs) > 1 and writes:
            pages = write_pages(Path(values["out_dir"]), lambda page: nullcontext(_untold))
            logger.info("wrote %s", pages.index)
        return report


def _device(values: Values, settings: GazeSettings) -> str:
    """The kind of device that the work runs on.

    Raises:
        DeviceError: It is not there.
    """
    if values["engine"] == "ray":  # which this machine may lack
        gpus = gpus_per_worker(values)
        return "cuda" if gpus and settings.device != "cpu" else "cpu"
    return choose_device(settings.device).type


def draw(command: str, values: Values, on_event: OnEvent | None = None) -> Report:
    """Do a drawing command's work for each input; see ``run_jobs``."""
    drawing = Drawing(
        visualization=visualization(values),
        format=values.get("format", "gif"),
        width=values["gif_width"],
        height=values["gif_height"],
    )
    do = partial(
        render,
        command,
        drawing=drawing,
        check=values.get("check", False),
        report=values["report"],
    )
    return run_jobs(command, values, do, on_event=on_event)


def trace_all(values: Values, on_event: OnEvent | None = None) -> Report:
    """Save the gaze of each input; see ``run_jobs``."""
    do = partial(trace_video, format=values["format"], report=values["report"])
    return run_jobs("trace", values, do, on_event=on_event)


def readout_all(
    values: Values,
    settings: ReadoutSettings,
    inputs: Sequence[Input],
    on_event: OnEvent | None = None,
) -> Report:
    """Read the gaze of each video out; see ``run_jobs``."""
    do = partial(_readout_video, settings=settings, format=values["format"])
    return run_jobs("readout", values, do, inputs=inputs, on_event=on_event)


def _readout_video(
    job: Job,
    base: Path,
    *,
    settings: ReadoutSettings,
    format: str,
    overwrite: bool,
    on_frame: OnFrame,
) -> Result:
    name, info = str(job.name), probe(job.video)
    width, height = job.sampling.size(info.width, info.height)
    with about(name):  # before an hour of gazing, as far as it can be known
        settings.geometry(job.sampling.frames or settings.video_options.tubelet_size, height, width)
    trace = gaze_trace(job, on_frame)
    return readout_file(trace, name, base, settings, format=format, overwrite=overwrite)


def announce(gaze: GazeSource | Trace, settings: GazeSettings, origin: str) -> None:
    """Say where the gaze comes from, and on which device."""
    if isinstance(gaze, Trace):
        logger.info("mask source: %s%s", gaze.header.mask_source, origin)
        return
    if gaze.model is not None:
        logger.info("mask source: autogaze, model %s (sha256 %s)", gaze.model, gaze.model_sha256)
    else:
        logger.info("mask source: patch-diff%s", origin)
    chosen = logging.DEBUG if gaze.device == "cpu" else logging.INFO
    logger.log(chosen, "device: %s, %s", gaze.device, settings.dtype)


def origin_of(values: Values) -> str:
    """What is said of where the gaze comes from, beside the source's name."""
    if values.get("trace"):
        return f", from the trace {values['trace']}"
    return "" if values["mask_source"] else ", for no --model is given"


def _untold(done: float, total: int | None, line: str | None) -> None:
    """A listener that does not listen."""


def _estimate(work: VideoWork, item: Input) -> dict[str, Any]:
    """Frames of a video, their size, and how many squares of it the model would see."""
    info = probe(Path(item.path))
    width, height = work.sampling.size(info.width, info.height)
    frames, s = frame_count(work.sampling, info), work.settings
    tiles = len(
        TileLayout(mode=s.mode, height=height, width=width, tile_size=s.tile_size, stride=s.stride)
    )
    gazed = 1 if s.mask_source == "patch-diff" or work.trace else tiles
    return {
        "frames": frames,
        "width": width,
        "height": height,
        "tile_frames": None if frames is None else frames * gazed,
    }


def _model_sha256(settings: GazeSettings) -> str | None:
    """Of the weights that would run; None where there are none, which opening them will say."""
    if settings.mask_source != "autogaze" or settings.model is None:
        return None
    folder = catalog.find(settings.model).folder
    weights = None if folder is None else folder / catalog.WEIGHTS
    return catalog.sha256_of(weights) if weights is not None and weights.is_file() else None
