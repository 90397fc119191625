"""Clips measured one by one as a batch, with a plan and resuming, before they are put together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autogaze_cli.batch.inputs import Input, open_inputs
from autogaze_cli.batch.local import one_process, processes
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.batch.run import Batch
from autogaze_cli.batch.work import Work
from autogaze_cli.errors import OutputError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import VideoInfo
from autogaze_cli.media.videos import probe
from autogaze_cli.model import catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where a measurement is written, and how it runs.

    Attributes:
        out_dir: Output folder.
        overwrite: Replace existing outputs.
        dry_run: Plan only.
        resume: Skip clips that an earlier run into the same folder finished.
        fail_fast: Stop at the first clip that fails.
        workers: Worker processes.
    """

    out_dir: Path
    overwrite: bool = False
    dry_run: bool = False
    resume: bool = False
    fail_fast: bool = False
    workers: int = 1


def measure_clips(
    command: str,
    names: Sequence[str],
    work: Work,
    sampling: Sampling,
    described: Mapping[str, Any],
    execution: Execution,
    *,
    rows: int,
    finals: Sequence[str],
    on_event: OnEvent | None = None,
) -> tuple[Report, list[dict[str, Any]]]:
    """Measure each clip, ``STEM.<command>.json``.

    Args:
        command: The command's name.
        names: The inputs as named by the user.
        work: What is done for each clip.
        sampling: The frames of each clip.
        described: All settings that figures depend on.
        execution: Where and how it runs.
        rows: How many times a clip is gazed at, for the plan.
        finals: Names of the files that the caller writes once all clips are measured.
        on_event: Called with each event.

    Returns:
        The report, and the documents of the clips that are measured, in their order.

    Raises:
        AutogazeError: No clip can be measured, or outputs exist already.
    """
    x, outputs = execution, partial(_outputs, command, execution.out_dir)
    refuse_existing(x, finals)
    with open_inputs(names, pipes=sampling.pipes) as inputs, ExitStack() as stack:
        report = Report(inputs, on_event)
        manifest = stack.enter_context(
            Manifest(x.out_dir, command, dict(described), None, write=not x.dry_run)
        )
        work = work.of_run(manifest.run)
        batch = _batch(x, outputs, sampling, manifest)
        if x.dry_run:
            batch.plan(report, partial(_estimate, sampling, rows))
            return report, []
        if tasks := batch.tasks(report):
            engine = one_process if x.workers == 1 else partial(processes, x.workers)
            batch.run(work, tasks, engine, report)
        report.close()
        done = report.results.keys() | report.skipped.keys()
        return report, list(_documents(outputs, [i for i in inputs if i in done]))


def _batch(
    x: Execution,
    outputs: Callable[[Input], list[Path]],
    sampling: Sampling,
    manifest: Manifest,
) -> Batch:
    return Batch(
        outputs=outputs,
        out_dir=x.out_dir,
        check=lambda item: probe(Path(item.path), sampling),
        overwrite=x.overwrite,
        manifest=manifest,
        resume=x.resume,
        fail_fast=x.fail_fast,
        writes=not x.dry_run,
    )


def refuse_existing(execution: Execution, finals: Sequence[str]) -> None:
    """Refuse to replace files unless asked to.

    Raises:
        OutputError: One of ``finals`` exists in the output folder.
    """
    if execution.overwrite or execution.resume:
        return
    for name in finals:
        path = execution.out_dir / name
        if os.path.lexists(path):
            raise OutputError(
                f"{path}: already exists",
                hint="give --overwrite to replace it, or --resume to continue an earlier run",
            )


def model_hashes(gazes: Sequence[GazeSettings]) -> dict[str, str | None]:
    """The SHA-256 of the weights of each model, by name; None where they are missing."""
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(gaze.model for gaze in gazes if gaze.model is not None):
        folder = catalog.find(name).folder
        weights = None if folder is None else folder / catalog.WEIGHTS
        found[name] = catalog.sha256_of(weights) if weights and weights.is_file() else None
    return found


def _outputs(command: str, out_dir: Path, item: Input) -> list[Path]:
    return [out_dir / item.stem.with_name(f"{item.stem.name}.{command}.json")]


def _documents(outputs: Callable[[Input], list[Path]], items: Sequence[Input]) -> Iterator[Any]:
    for item in items:
        yield json.loads(outputs(item)[0].read_text(encoding="utf-8"))


def _estimate(sampling: Sampling, rows: int, info: VideoInfo) -> dict[str, Any]:
    width, height = sampling.size(info.width, info.height)
    frames = sampling.frames or 0  # settings have seen to it
    return {"frames": frames, "width": width, "height": height, "tile_frames": frames * rows}
