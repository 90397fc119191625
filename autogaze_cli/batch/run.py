"""Runs a batch: skips the inputs that are finished, and passes the rest to an engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.manifest import Manifest, ManifestError
from autogaze_cli.batch.outputs import check_name, check_place, remove_entry, remove_stale
from autogaze_cli.batch.report import Report
from autogaze_cli.batch.work import Engine, Outcome, Task, Work
from autogaze_cli.errors import AutogazeError, OutputError, as_autogaze_error
from autogaze_cli.progress import Advance, progress_board


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rules for processing a batch.

    Attributes:
        outputs: Returns the output paths of an input.
        check: The preliminary check of an input; raises the errors that it can detect.
        out_dir: Where all outputs must be.
        overwrite: Whether existing outputs are replaced.
        manifest: Records finished inputs; None = not recorded.
        resume: Whether to skip inputs that the manifest records as finished.
        fail_fast: Whether to stop at the first failure.
        writes: True for a run, False for a plan or a check.
    """

    outputs: Callable[[Input], Sequence[Path]]
    check: Callable[[Input], object]
    out_dir: Path
    overwrite: bool = False
    manifest: Manifest | None = None
    resume: bool = False
    fail_fast: bool = False
    writes: bool = True

    def tasks(self, report: Report) -> list[Task]:
        """The tasks to run; skipped and failed inputs are noted in ``report``.

        Raises:
            AutogazeError: The only input cannot be processed.
        """
        if self.writes:
            self._clean(report)
        tasks = []
        for item in report.inputs:
            try:
                task = self._task(item, report)
            except Exception as error:  # noqa: BLE001  # one input never stops the others
                self._record_failure(item, error)
                report.fail(item, error)
                if self.fail_fast:
                    return []
            else:
                if task:
                    tasks.append(task)
        return tasks

    def _task(self, item: Input, report: Report) -> Task | None:
        if item.problem is not None:
            raise item.problem
        outputs = self.outputs(item)
        for path in outputs:
            check_name(path)
            check_place(path, self.out_dir)
        there = [path for path in outputs if os.path.lexists(path)]
        replace = self.overwrite
        more = ", or --resume to continue an earlier run" if self.manifest else ""
        if self.manifest and self.resume:
            if self.manifest.finished(item, outputs):
                report.skip(item, [str(path) for path in outputs])
                return None
            there, more = self.manifest.foreign(item, there), ""
            replace = replace or not there
        found = self.check(item)
        if there and not replace:
            raise OutputError(
                f"{there[0]}: already exists", hint=f"give --overwrite to replace it{more}"
            )
        return Task(item, replace, found)

    def _outputs(self, item: Input) -> Sequence[Path]:
        return () if item.problem else self.outputs(item)

    def _clean(self, report: Report) -> None:
        """Remove the temporary files that killed runs left in the output folders."""
        folders = {path.parent for i in report.inputs for path in self._outputs(i)}
        remove_stale(folders)
        if self.manifest:
            self.manifest.clean(folders)

    def plan(self, report: Report, estimate: Callable[[Any], dict[str, Any]]) -> None:
        """Set ``report.plan`` without running anything.

        For each input: its name, its state (``run``, ``skip`` if finished, or ``fail`` with the
        error), its outputs, and its size by ``estimate``, given the result of ``check``.

        Raises:
            AutogazeError: The only input cannot be processed.
        """
        found = {task.item: task.found for task in self.tasks(report)}
        report.plan = []
        for item in report.inputs:
            state = "run" if item in found else "skip" if item in report.skipped else "fail"
            about: dict[str, Any] = {"input": item.name, "state": state}
            if item in report.failures:
                about["error"] = report.failures[item].line()
            elif state == "fail":
                about["error"] = "not looked at: --fail-fast stops at the input that failed"
            about["output_files"] = [str(path) for path in self._outputs(item)]
            report.plan.append(about | (estimate(found[item]) if state == "run" else {}))

    def run(self, work: Work, tasks: list[Task], engine: Engine, report: Report) -> None:
        """Run the tasks, and note the outcome of each.

        An error that ends the run before its time is noted too, if an input is finished by then.

        Raises:
            AutogazeError: No task can be run, or the only input failed.
        """
        several = len(report.inputs) > 1
        numbers = {item: number for number, item in enumerate(report.inputs, 1)}
        with progress_board() as board:

            @contextmanager
            def on_start(task: Task) -> Iterator[Advance]:
                if self.manifest:
                    self.manifest.start(task.item, self.outputs(task.item))
                report.begun(task.item)
                count = f"[{numbers[task.item]}/{len(numbers)}] " if several else ""
                with board(f"{count}{task.item.name}") as advance:
                    yield advance

            try:
                with closing(engine(work, tasks, on_start)) as outcomes:
                    for outcome in outcomes:
                        outcome = self._record(outcome, report)
                        report.add(outcome)
                        if outcome.error is not None and self.fail_fast:
                            return
            except BrokenPipeError:  # stdout has no reader any more
                raise
            except Exception as error:
                if not report.results:
                    raise
                report.lose(as_autogaze_error(error))
            finally:
                self._clean(report)

    def _record(self, outcome: Outcome, report: Report) -> Outcome:
        """Record an outcome in the manifest; it becomes a failure if the input has changed."""
        if self.manifest and outcome.result is not None:
            files = outcome.result.files.values()
            try:
                self.manifest.finish(outcome.task.item, files, outcome.seconds)
            except ManifestError as error:  # the outputs are in place
                report.lose(error)
            except AutogazeError as error:
                for path in files:  # they may be of half an old and half a new input
                    with suppress(OSError):
                        remove_entry(path)
                outcome = replace(outcome, result=None, error=error)
        if outcome.error is not None:
            self._record_failure(outcome.task.item, outcome.error)
        return outcome

    def _record_failure(self, item: Input, error: Exception) -> None:
        """Record a failure in the manifest, if it can be written: it is reported in any case."""
        if self.manifest:
            with suppress(ManifestError):
                self.manifest.fail(item, error)
