"""What the commands share: from the values of a command line to a batch, and its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from autogaze_cli.batch.inputs import Input, refuse_collisions
from autogaze_cli.batch.local import one_process, processes
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.batch.result import output_files
from autogaze_cli.batch.run import Batch
from autogaze_cli.batch.work import Engine, Work
from autogaze_cli.errors import ConfigError
from autogaze_cli.jobs.values import Values

_SAYS_NOTHING = frozenset(
    {
        *("inputs", "more_inputs", "out_dir", "overwrite", "check", "json", "jsonl", "dry_run"),
        *("resume", "fail_fast", "workers", "engine", "address", "gpus_per_worker", "threads"),
        *("offline", "device", "live", "trace", "traces"),
    }
)
"""Values on which no output depends, or which are described apart."""


def run_work(
    command: str,
    values: Values,
    work: Work,
    inputs: Sequence[Input],
    *,
    about: dict[str, Any],
    model_sha256: Callable[[], str | None],
    check: Callable[[Input], object],
    estimate: Callable[[Input], dict[str, Any]] = lambda item: {},
    on_event: OnEvent | None = None,
) -> Report:
    """Do some work for each input, as the batch options in ``values`` say; see ``run_jobs``.

    Args:
        command: The command's name.
        values: Its values.
        work: The work.
        inputs: The inputs.
        about: What outputs depend on beside the values.
        model_sha256: Reads that of the model's weights.
        check: Raises what a first look at an input tells.
        estimate: How much work an input is, for a plan.
        on_event: Told of each event.
    """
    refuse_collisions(inputs)
    checks, dry = bool(values.get("check")), values["dry_run"]
    report = Report(inputs, on_event, writes=not checks)
    kept = (len(inputs) > 1 or values["resume"]) and not checks
    described = {k: _plain(v) for k, v in values.items() if k not in _SAYS_NOTHING} | about
    with ExitStack() as stack:
        manifest = None
        if kept:
            manifest = stack.enter_context(
                Manifest(Path(values["out_dir"]), command, described, model_sha256(), write=not dry)
            )
            work = work.of_run(manifest.run)
        batch = Batch(
            outputs=partial(paths_of, command, values),
            check=check,
            overwrite=values["overwrite"] or checks,
            manifest=manifest,
            resume=values["resume"],
            fail_fast=values["fail_fast"],
        )
        if dry:
            batch.plan(report, estimate)
            return report
        if tasks := batch.tasks(report):
            batch.run(work, tasks, engine(values), report)
        report.close()
    return report


def engine(values: Values) -> Engine:
    """The engine that the values ask for."""
    if values["engine"] == "ray":
        from autogaze_cli.batch.ray_engine import ray_engine

        return ray_engine(
            workers=values["workers"],
            address=values["address"],
            cpus_per_worker=values.get("threads") or 1,
            gpus_per_worker=gpus_per_worker(values),
        )
    return one_process if values["workers"] == 1 else partial(processes, values["workers"])


def gpus_per_worker(values: Values) -> float:
    """GPUs that Ray reserves for a worker.

    Raises:
        ConfigError: A GPU is asked for by its number, which is of one machine.
    """
    device: str = values.get("device", "cpu")
    if device.startswith("cuda:") and device != "cuda:all":  # all of those that a worker has
        raise ConfigError(
            f"--device {device} is of one machine",
            hint="with --engine ray give --device cuda; Ray chooses which",
        )
    given: float | None = values["gpus_per_worker"]
    return float(device.startswith("cuda")) if given is None else given


def paths_of(command: str, values: Values, item: Input) -> list[Path]:
    """The paths of an input's outputs."""
    base = Path(values["out_dir"], item.stem)
    return list(
        output_files(
            command, base, values.get("format", "gif"), report=values.get("report", False)
        ).values()
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)
