"""The work of a command on videos, as data that a worker of any engine can open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from autogaze_cli.batch.inputs import Input, file_state
from autogaze_cli.batch.outputs import name_temporaries
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.cpus import available_cpus
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.draw import draw
from autogaze_cli.jobs.encode import encode_video
from autogaze_cli.jobs.frames import Job, OnFrame, frame_count, open_job, sampling_of
from autogaze_cli.jobs.plan import Plan, gpus_per_worker
from autogaze_cli.jobs.readout import about, read_out_trace
from autogaze_cli.jobs.request import Request
from autogaze_cli.jobs.settings import Encoding
from autogaze_cli.jobs.timing import Timing
from autogaze_cli.jobs.trace import gaze_trace, save_trace
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import VideoInfo, probe
from autogaze_cli.model import catalog
from autogaze_cli.progress import Advance
from autogaze_cli.readout import ReadoutSettings, first_frames
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import Trace

if TYPE_CHECKING:
    from autogaze_cli.encoders import Encoder

logger = logging.getLogger(__name__)


class Probed(NamedTuple):
    """What ``probe`` found when a batch was planned, and the state of the file then.

    A batch may be long: by its turn, a file that was replaced is probed again.
    """

    info: VideoInfo
    state: object


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoWork:
    """The processing of each video by a command.

    Attributes:
        request: The request.
        sampling: The frames to read from each video.
        trace: A saved trace that replaces the gaze source.
        run: The run's name in temporary files.
    """

    request: Request
    sampling: Sampling
    trace: Trace | None = None
    run: str = ""

    def of_run(self, run: str) -> Self:
        """A copy whose temporary files have that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Open the gaze source, with this worker's CPU threads and GPU."""
        name_temporaries(self.run)
        gaze: GazeSource | Trace
        encodes = self.request.encoding is not None
        settings = worker_settings(self.request.gaze, worker, workers, encodes=encodes)
        gaze = self.trace if self.trace is not None else open_source(settings)
        if worker == 0:
            announce(gaze, self.request)
        encoder = None
        if self.request.encoding is not None:
            encoder = open_encoder(self.request.encoding, settings)
            if worker == 0:
                logger.info("encoder: %s (sha256 %s)", encoder.name, encoder.sha256)
        return partial(self._one, gaze, encoder)

    def _one(
        self, gaze: GazeSource | Trace, encoder: Encoder | None, task: Task, advance: Advance
    ) -> Result:
        furthest = 0.0

        def on_frame(done: float, total: int | None, line: str | None) -> None:
            nonlocal furthest
            if line is not None:
                logger.debug("%s", line)
            furthest = max(furthest, done)  # a clip is gazed at before its frames are done
            advance(furthest, total)

        item, info = task.item, None
        if isinstance(task.found, Probed) and task.found.state == file_state(item.path):
            info = task.found.info
        job = open_job(Path(item.path), gaze, self.sampling, name=item.name, info=info)
        timing = None if self.request.timing is None else Timing()
        job = replace(job, timing=timing)
        base = self.request.batch.out_dir / item.stem
        result = make_outputs(self.request, job, base, task.overwrite, on_frame, encoder)
        return result if timing is None else replace(result, timing=timing.document())


def make_outputs(
    request: Request,
    job: Job,
    base: Path,
    overwrite: bool,
    on_frame: OnFrame,
    encoder: Encoder | None = None,
) -> Result:
    """Run the request's command on one video; ``encoder`` is that of the command ``encode``."""
    if request.encoding is not None:
        assert encoder is not None
        return encode_video(
            job,
            base,
            encoder,
            request.encoding,
            overwrite=overwrite,
            on_frame=on_frame,
            report=request.report,
        )
    if request.drawing is not None:
        return draw(
            request.command,
            job,
            base,
            request.drawing,
            overwrite=overwrite,
            check=request.batch.check,
            on_frame=on_frame,
            report=request.report,
        )
    make: Callable[..., Result] = partial(save_trace, report=request.report)
    if request.readout is not None:
        make = partial(read_out_video, settings=request.readout)
    return make(job, base, format=request.format, overwrite=overwrite, on_frame=on_frame)


def worker_settings(
    settings: GazeSettings, worker: int, workers: int, *, encodes: bool = False
) -> GazeSettings:
    """The settings of one of several workers on a machine, with its CPU threads and GPU."""
    if workers == 1 or (settings.mask_source != "autogaze" and not encodes):
        return settings
    import torch

    threads = settings.threads or max(1, available_cpus() // workers)
    gpus = torch.cuda.device_count() if settings.device in ("auto", "cuda") else 0
    device = f"cuda:{worker % gpus}" if gpus > 1 else settings.device
    return replace(settings, threads=threads, device=device)


def open_encoder(encoding: Encoding, gaze: GazeSettings) -> Encoder:
    """The encoder of a request, on the device and in the precision of the gaze model."""
    import torch

    from autogaze_cli.encoders import load_encoder

    if gaze.threads is not None:
        torch.set_num_threads(gaze.threads)
    return load_encoder(
        encoding.encoder,
        scales=encoding.scales,
        attend=encoding.attend,
        device=gaze.device,
        dtype=gaze.dtype,
    )


def open_announced(request: Request) -> GazeSource:
    """Open a request's gaze source, and log which it is."""
    source = open_source(request.gaze)
    announce(source, request)
    return source


def announce(gaze: GazeSource | Trace, request: Request) -> None:
    """Log the gaze source and the device."""
    if isinstance(gaze, Trace):
        logger.info("mask source: %s, from the trace %s", gaze.header.mask_source, request.trace)
        return
    if gaze.model is not None:
        logger.info("mask source: autogaze, model %s (sha256 %s)", gaze.model, gaze.model_sha256)
    else:
        logger.info("mask source: %s%s", gaze.mask_source, request.origin)
    chosen = logging.DEBUG if gaze.device == "cpu" else logging.INFO
    logger.log(chosen, "device: %s, %s", gaze.device, request.gaze.dtype)


def read_out_video(
    job: Job,
    base: Path,
    *,
    settings: ReadoutSettings,
    format: str = "npz",
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
) -> Result:
    """Gaze at a video and read its trace out; see ``read_out_trace``.

    Raises:
        AutogazeError: The video cannot be read, or its frames do not fit the settings.
    """
    width, height = job.size
    with about(job.name):  # as far as possible, fail before gazing, which may take long
        frames = job.sampling.frames or settings.video_options.tubelet_size
        settings.geometry(frames, height, width)
    trace = gaze_trace(job, on_frame)
    return read_out_trace(trace, job.name, base, settings, format=format, overwrite=overwrite)


def plan_of_videos(request: Request, inputs: Sequence[Input]) -> Plan:
    """The plan for videos, with gaze from a source or from the request's saved trace.

    Raises:
        ConfigError: A trace is given for several videos, or has too few frames.
        DeviceError: The device is not available.
    """
    described = request.output_settings()
    device = _device_type(request)  # one that was asked for must be there, even unneeded
    if request.encoding is not None:
        described["encoding"] |= {"sha256": _encoder_sha256(request.encoding), "device": device}
    if request.trace is None and (request.trace_clip or request.trace_maps):
        raise ConfigError(
            "trace_clip and trace_maps are for trace stores", hint="give --trace STORE"
        )
    if request.trace is None:
        described["gaze"]["device"] = device
        return Plan(
            work=VideoWork(request=request, sampling=request.sampling),
            check=partial(_probe, request.sampling),
            estimate=partial(_estimate, request, request.sampling),
            described=described,
            model_sha256=partial(_model_sha256, request),
        )
    if len(inputs) > 1:
        raise ConfigError(f"--trace takes a single input, got {len(inputs)}")
    trace, frames = request.read_trace(request.trace), request.sampling.frames
    sampling = replace(
        sampling_of(trace.header, str(request.trace)),
        limits=request.sampling.limits,
        isolate=request.sampling.isolate,
    )
    if frames is not None:
        trace, sampling = first_frames(trace, frames), replace(sampling, frames=frames)
    described["gaze"] = {"trace": catalog.sha256_of(request.trace)}
    return Plan(
        work=VideoWork(request=request, sampling=sampling, trace=trace),
        check=partial(_probe, sampling),
        estimate=partial(_estimate, request, sampling),
        described=described,
    )


def _device_type(request: Request) -> str:
    """The type of device that the work runs on.

    Raises:
        DeviceError: The device is not available.
    """
    if request.batch.engine == "ray":  # the device may exist only on other machines
        gpus = gpus_per_worker(request)
        return "cuda" if gpus and request.gaze.device != "cpu" else "cpu"
    without = request.trace is not None or request.gaze.mask_source != "autogaze"
    if without and request.encoding is None:
        return "cpu"  # neither needs PyTorch
    from autogaze_cli.model.devices import choose_device

    return choose_device(request.gaze.device).type


def _probe(sampling: Sampling, item: Input) -> Probed:
    state = file_state(item.path)
    return Probed(probe(Path(item.path), sampling), state)


def _estimate(request: Request, sampling: Sampling, found: Probed) -> dict[str, Any]:
    """Frames of a video, their size, and the number of tile-frames to process."""
    info = found.info
    width, height = sampling.size(info.width, info.height)
    frames, s = frame_count(sampling, info), request.gaze
    tiles = 1
    if s.mask_source == "autogaze" and request.trace is None:
        tiles = len(
            TileLayout(
                mode=s.mode, height=height, width=width, tile_size=s.tile_size, stride=s.stride
            )
        )
    return {
        "frames": frames,
        "width": width,
        "height": height,
        "tile_frames": None if frames is None else frames * tiles,
    }


def _encoder_sha256(encoding: Encoding) -> str:
    """Of the encoder's weights, which must be there before a gaze model is loaded."""
    from autogaze_cli.encoders.checkpoint import encoder_sha256, find_encoder

    return encoder_sha256(find_encoder(encoding.encoder))


def _model_sha256(request: Request) -> str | None:
    """SHA-256 of the model's weights; None without weights, which is reported on opening them."""
    settings = request.gaze
    if settings.mask_source != "autogaze" or settings.model is None:
        return None
    folder = catalog.find(settings.model).folder
    weights = None if folder is None else folder / catalog.WEIGHTS
    return catalog.sha256_of(weights) if weights is not None and weights.is_file() else None
