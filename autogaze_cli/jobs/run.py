"""Runs a request: opens its inputs, passes the work to an engine, and returns a report."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from autogaze_cli.batch.inputs import Input, is_named_as_trace, open_inputs
from autogaze_cli.batch.local import one_process, processes
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.batch.result import MANIFEST, output_files
from autogaze_cli.batch.run import Batch
from autogaze_cli.batch.work import Engine
from autogaze_cli.errors import ConfigError, OutputError, as_autogaze_error
from autogaze_cli.jobs.plan import Plan, gpus_per_worker
from autogaze_cli.jobs.request import Request
from autogaze_cli.jobs.timing import is_timing, timing_document
from autogaze_cli.jobs.traces import plan_of_traces
from autogaze_cli.trace import is_trace
from autogaze_cli.visualize.document import write_document

logger = logging.getLogger(__name__)

_ANOTHER = "name another file"


def run(request: Request, on_event: OnEvent | None = None) -> Report:
    """Run a command for each input.

    Settings, inputs and existing outputs are checked before a model is loaded.

    Args:
        request: The request.
        on_event: Called with each event.

    Returns:
        The outcome of each input.

    Raises:
        AutogazeError: No input can be processed, or the only input failed.
    """
    of_traces = request.command == "readout"
    pipes = request.sampling.pipes
    with open_inputs(request.inputs, traces=of_traces, pipes=pipes) as inputs:
        if of_traces and _are_traces(inputs, request.traces):
            if request.timing is not None:
                raise ConfigError(
                    "--timing is for videos, and a saved trace has none", hint="leave it out"
                )
            request.refuse_gaze_settings(inputs[0].name)
            inputs, plan = _without_trace_suffix(inputs), plan_of_traces(request)
        else:
            from autogaze_cli.jobs.videos import plan_of_videos  # only videos need PyAV

            plan = plan_of_videos(request, inputs)
        with _timing(request, inputs) as timing:
            report = _execute(request, inputs, plan, on_event)
            if timing is not None:
                frames = [
                    {"input": item.name, "frames": result.timing}
                    for item, result in report.results.items()
                ]
                write_document(timing, timing_document(request.command, frames))
    writes = report.results and not (request.batch.check or request.batch.dry_run)
    if request.report and len(inputs) > 1 and writes:
        _write_index(request, report)
    return report


@contextmanager
def _timing(request: Request, inputs: Sequence[Input]) -> Iterator[Path | None]:
    """Where to write the timing; the file is there if the block ends without an error."""
    batch = request.batch
    if request.timing is None or batch.dry_run:
        yield None
        return
    with Outputs(overwrite=batch.overwrite or batch.check) as outputs:
        try:
            _refuse_other(request, inputs, request.timing)
            temporary = outputs.add(request.timing)
        except OutputError as error:
            raise OutputError(f"timing: {error}", hint=error.hint) from error
        yield temporary
    logger.info("wrote %s", request.timing)


def _refuse_other(request: Request, inputs: Sequence[Input], timing: Path) -> None:
    """Refuse a timing that would replace an output of the same run, or anything but a timing."""
    files = [path for item in inputs if not item.problem for path in output_paths(request, item)]
    if os.path.realpath(timing) in {
        os.path.realpath(path) for path in (*files, request.batch.out_dir / MANIFEST)
    }:
        raise OutputError(f"{timing}: is an output of this run", hint=_ANOTHER)
    replaces = request.batch.overwrite or request.batch.check
    if replaces and timing.is_file() and not is_timing(timing):
        raise OutputError(f"{timing}: is not a timing, and stays", hint=_ANOTHER)


def _execute(
    request: Request, inputs: Sequence[Input], plan: Plan, on_event: OnEvent | None
) -> Report:
    batch = request.batch
    report = Report(inputs, on_event, writes=not batch.check)
    kept = (len(inputs) > 1 or batch.resume) and not batch.check
    with ExitStack() as stack:
        manifest, work = None, plan.work
        if kept:
            manifest = stack.enter_context(
                Manifest(
                    batch.out_dir,
                    request.command,
                    plan.described,
                    plan.model_sha256(),
                    write=not batch.dry_run,
                )
            )
            work = work.of_run(manifest.run)
        tasks = Batch(
            outputs=partial(output_paths, request),
            check=plan.check,
            out_dir=batch.out_dir,
            overwrite=batch.overwrite or batch.check,
            manifest=manifest,
            resume=batch.resume,
            fail_fast=batch.fail_fast,
            writes=not (batch.dry_run or batch.check),
        )
        if batch.dry_run:
            tasks.plan(report, plan.estimate)
            return report
        if waiting := tasks.tasks(report):
            tasks.run(work, waiting, engine(request), report)
        report.close()
    return report


def engine(request: Request) -> Engine:
    """The engine that the request selects."""
    batch = request.batch
    if batch.engine == "ray":
        from autogaze_cli.batch.ray_engine import ray_engine

        return ray_engine(
            workers=batch.workers,
            address=batch.address,
            cpus_per_worker=request.gaze.threads or 1,
            gpus_per_worker=gpus_per_worker(request),
        )
    return one_process if batch.workers == 1 else partial(processes, batch.workers)


def output_paths(request: Request, item: Input) -> list[Path]:
    """The paths of an input's outputs."""
    base = request.batch.out_dir / item.stem
    files = output_files(request.command, base, request.format, report=request.report)
    return list(files.values())


def _are_traces(inputs: Sequence[Input], named_as_traces: Sequence[str]) -> bool:
    """Whether the inputs are saved traces; a mix of traces and videos is an error.

    A damaged trace is recognized by its name, so that it fails as a trace.
    """
    traces: list[Input] = []
    videos: list[Input] = []
    for item in inputs:
        if item.problem is not None:
            continue
        named = item.name in named_as_traces or is_named_as_trace(item.name)
        (traces if named or is_trace(item.path) else videos).append(item)
    if traces and videos:
        raise ConfigError(
            f"{traces[0].name} is a saved trace, and {videos[0].name} is not",
            hint="run traces and videos separately",
        )
    return bool(traces)


def _without_trace_suffix(inputs: Sequence[Input]) -> list[Input]:
    """Use ``clip`` instead of ``clip.trace`` as the stem of outputs."""
    stems = [i.stem.with_suffix("") if i.stem.suffix == ".trace" else i.stem for i in inputs]
    return [replace(item, stem=stem) for item, stem in zip(inputs, stems, strict=True)]


def _write_index(request: Request, report: Report) -> None:
    """Write the index of the pages; if that fails, the outputs are kept."""
    from autogaze_cli.jobs.pages import write_pages

    try:
        pages = write_pages(request.batch.out_dir, lambda page: nullcontext(_silent))
    except Exception as error:  # noqa: BLE001  # the outputs are in place
        report.lose(as_autogaze_error(error, str(request.batch.out_dir)))
    else:
        logger.info("wrote %s", pages.index)


def _silent(done: float, total: int | None, line: str | None) -> None:
    """A progress callback that shows nothing."""
