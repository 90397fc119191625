"""What the commands share: from the values of a command line to one job an input, and a report."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from autogaze_cli import options
from autogaze_cli.errors import ConfigError, OutputError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import GazeSource, open_source
from autogaze_cli.inputs import Input, open_inputs, refuse_collisions
from autogaze_cli.media.video import Sampling, probe
from autogaze_cli.model.autogaze import choose_device
from autogaze_cli.progress import Advance
from autogaze_cli.render import Drawing, Job, OnFrame, render, sampling_of
from autogaze_cli.report import Report
from autogaze_cli.result import Result, output_files
from autogaze_cli.trace import Trace, read_trace

logger = logging.getLogger(__name__)

Work = Callable[[Job, Path, OnFrame], Result]
"""One input's work: the job, the folder and stem of its outputs, and whom to tell of each frame."""


def run_jobs(
    command: str,
    values: options.Values,
    work: Work,
    *,
    folders: bool = True,
    inputs: Sequence[Input] | None = None,
) -> Report[Result]:
    """Do a command's work for each input, its gaze source opened once.

    What can be refused is refused before that: settings, inputs, outputs that exist.

    Args:
        command: Its name.
        values: Its values.
        work: What it does for one input.
        folders: Whether an input may be a folder.
        inputs: The inputs, where they are open already; None = open those of ``values``.

    Returns:
        What became of each input.

    Raises:
        AutogazeError: Nothing can be done, or the only input failed.
    """
    trace = read_trace(values["trace"]) if values.get("trace") else None
    settings = options.gaze_settings(values)
    choose_device(settings.device)  # one that was asked for must be there, even if it is not needed
    sampling = options.sampling(values, sampling_of(trace.header) if trace else Sampling())
    with ExitStack() as stack:
        if inputs is None:
            names = options.input_names(values)
            inputs = stack.enter_context(open_inputs(names, folders=folders))
        if trace and len(inputs) > 1:
            raise ConfigError(f"--trace is of one video, not of {len(inputs)}")
        refuse_collisions(inputs)
        report: Report[Result] = Report(inputs)
        if not report.check(lambda item: _check(command, item, values)):
            return report
        gaze = trace or open_source(settings)
        announce(gaze, settings, values)

        def one(item: Input, advance: Advance) -> Result:
            furthest = 0.0

            def on_frame(done: float, total: int | None, line: str | None) -> None:
                nonlocal furthest
                if line is not None:
                    logger.debug("%s", line)
                furthest = max(furthest, done)  # a clip is gazed at before its frames are done
                advance(furthest, total)

            video = Path(item.path)
            job = Job(video=video, sampling=sampling, gaze=gaze, name=item.name)
            result = work(job, Path(values["out_dir"], item.stem), on_frame)
            if not values.get("check"):
                for path in result.files.values():
                    logger.info("wrote %s", path)
            return result

        report.run(one)
    return report


def draw(command: str, values: options.Values, *, folders: bool = True) -> Report[Result]:
    """Do a drawing command's work for each input; see ``run_jobs``."""
    drawing = Drawing(
        visualization=options.visualization(values),
        format=values.get("format", "gif"),
        width=values["gif_width"],
        height=values["gif_height"],
    )

    def work(job: Job, base: Path, on_frame: OnFrame) -> Result:
        overwrite, check = values["overwrite"], values.get("check", False)
        return render(
            command, job, base, drawing, overwrite=overwrite, check=check, on_frame=on_frame
        )

    return run_jobs(command, values, work, folders=folders)


def announce(gaze: GazeSource | Trace, settings: GazeSettings, values: options.Values) -> None:
    """Say where the gaze comes from, and on which device."""
    if isinstance(gaze, Trace):
        logger.info("mask source: %s, from the trace %s", gaze.header.mask_source, values["trace"])
        return
    if gaze.model is not None:
        logger.info("mask source: autogaze, model %s (sha256 %s)", gaze.model, gaze.model_sha256)
    elif values["mask_source"] is None:
        logger.info("mask source: patch-diff, for no --model is given")
    else:
        logger.info("mask source: patch-diff")
    chosen = logging.DEBUG if gaze.device == "cpu" else logging.INFO
    logger.log(chosen, "device: %s, %s", gaze.device, settings.dtype)


def _check(command: str, item: Input, values: options.Values) -> None:
    """Refuse an input that is no video, or whose outputs exist, before a model is loaded."""
    probe(Path(item.path))
    if values["overwrite"] or values.get("check"):
        return
    base = Path(values["out_dir"], item.stem)
    for path in output_files(command, base, values.get("format", "gif")).values():
        if os.path.lexists(path):
            raise OutputError(f"{path}: exists already", hint="give --overwrite to replace it")
