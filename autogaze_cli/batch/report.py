"""Batch results and exit code: finished, skipped and failed inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Outcome
from autogaze_cli.errors import SOME_FAILED, AutogazeError, OutputError, as_autogaze_error
from autogaze_cli.progress import TRACEBACK

logger = logging.getLogger(__name__)

OnEvent = Callable[[dict[str, Any]], None]
"""Called with each event of a batch; ``--jsonl`` prints these."""


class Report:
    """The outcome of each input; failures are logged as they happen.

    Attributes:
        inputs: All inputs.
        results: Results, by input.
        skipped: Inputs that an earlier run finished, with their files.
        failures: Errors, by input.
        lost: Errors that concern the whole batch: its manifest, its index or stdout could not be
            written.
        plan: With a dry run, the planned work for each input; see ``Batch.plan``. Otherwise None.
    """

    def __init__(
        self, inputs: Sequence[Input], on_event: OnEvent | None = None, *, writes: bool = True
    ) -> None:
        """Start an empty report.

        Args:
            inputs: All inputs.
            on_event: Called with each event.
            writes: Whether files are written; each is then logged.
        """
        self.inputs, self._writes = tuple(inputs), writes
        self.plan: list[dict[str, Any]] | None = None
        self.results: dict[Input, Result] = {}
        self.skipped: dict[Input, list[str]] = {}
        self.failures: dict[Input, AutogazeError] = {}
        self.lost: list[AutogazeError] = []
        self._on_event = on_event

    def begun(self, item: Input) -> None:
        """Note that processing of an input has started."""
        self._emit({"event": "started", "input": item.name})

    def skip(self, item: Input, files: list[str]) -> None:
        """Note that an earlier run finished an input."""
        self.skipped[item] = files
        logger.info("%s: already done", item.name)
        self._emit({"event": "skipped", "input": item.name, "output_files": files})

    def add(self, outcome: Outcome) -> None:
        """Note the outcome of an input; raises as ``fail`` does."""
        item = outcome.task.item
        if outcome.error is not None:
            self.fail(item, outcome.error, outcome.traceback)
            return
        assert outcome.result is not None
        last = next(reversed(self.results.values()), outcome.result)
        document = _shared(outcome.result.document, last.document)
        self.results[item] = replace(outcome.result, document=document)
        for path in outcome.result.files.values() if self._writes else ():
            logger.info("wrote %s", path)
        event = {"event": "finished", "input": item.name, "seconds": round(outcome.seconds, 3)}
        self._emit(event | {"result": document})

    def fail(self, item: Input, error: Exception, traceback: str | None = None) -> None:
        """Note that an input failed.

        Raises:
            Exception: ``error`` itself, if this is the only input.
        """
        if item.path != item.name and error.args:  # call stdin "-", not its temporary file
            error.args = (str(error.args[0]).replace(item.path, item.name), *error.args[1:])
        failure = as_autogaze_error(error, item.name)
        event = {"event": "failed", "input": item.name, "error": str(failure)}
        self._emit(event | {"hint": failure.hint})
        if len(self.inputs) == 1:
            raise error
        self.failures[item] = failure
        logger.error("%s", failure.line())
        if traceback is not None:
            logger.log(TRACEBACK, "traceback of the error: %s", traceback)
        else:
            logger.log(TRACEBACK, "traceback of the error:", exc_info=error)

    def lose(self, error: AutogazeError) -> None:
        """Note an error that concerns the whole batch and not an input's outputs, once."""
        if str(error) not in map(str, self.lost):
            self.lost.append(error)
            logger.error("%s", error.line())

    def _emit(self, event: dict[str, Any]) -> None:
        """Pass an event on; after the first that cannot be printed, none."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except OutputError as error:
            self._on_event = None
            self.lose(error)

    def exit_code(self) -> int:
        """The exit code.

        0: done. 1: a check found a difference. 3: an input failed or was not processed, or a file
        of the whole batch could not be written; for a plan, an input would fail.
        """
        if self.plan is not None:
            return SOME_FAILED if self.failures else 0
        done = {**self.results, **self.skipped, **self.failures}
        if self.failures or self.lost or len(done) < len(self.inputs):
            return SOME_FAILED
        return int(any(result.differences for result in self.results.values()))

    def document(self) -> dict[str, Any]:
        """The report as a JSON document, in the order of the inputs."""
        items = self.inputs
        return {
            "results": [self.results[item].document for item in items if item in self.results],
            "skipped": [
                {"input": item.name, "output_files": self.skipped[item]}
                for item in items
                if item in self.skipped
            ],
            "failures": [
                {"input": i.name, "error": str(self.failures[i]), "hint": self.failures[i].hint}
                for i in items
                if i in self.failures
            ],
            "not_done": [item.name for item in self._not_done()],
            "exit_code": self.exit_code(),
        }

    def close(self) -> None:
        """Log the number of inputs by outcome, and name those that failed."""
        left = self._not_done()
        counts = {
            "finished": len(self.results),
            "skipped": len(self.skipped),
            "failed": len(self.failures),
            "not_done": len(left),
        }
        self._emit({"event": "ended", **counts, "exit_code": self.exit_code()})
        if len(self.inputs) > 1:
            text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            logger.info("%d inputs: %s", len(self.inputs), text.replace("_", " "))
        if self.failures:
            names = ", ".join(item.name for item in self.failures)
            logger.error("%d of %d inputs failed: %s", len(self.failures), len(self.inputs), names)

    def _not_done(self) -> list[Input]:
        done = {**self.results, **self.skipped, **self.failures}
        return [item for item in self.inputs if item not in done]


def _shared(new: Any, old: Any) -> Any:
    """A document, with the same objects as an earlier one for keys and values that are the same.

    Results stay until the end of a batch, and each that comes from a worker has all of its own: 6
    KiB, of which this leaves a third.
    """
    if isinstance(new, dict) and isinstance(old, dict):
        keys = {key: key for key in old}
        found = {keys.get(key, key): _shared(value, old.get(key)) for key, value in new.items()}
        same = list(found) == list(old) and all(found[key] is old[key] for key in old)
        return old if same else found
    same = type(new) is type(old) and isinstance(new, str | float | int) and repr(new) == repr(old)
    return old if same else new
