"""The interface of an engine: tasks and work in, outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.result import Result
from autogaze_cli.errors import AutogazeError
from autogaze_cli.progress import Advance


@dataclass(frozen=True, slots=True)
class Task:
    """One input to process.

    Attributes:
        item: The input.
        overwrite: Whether outputs that exist may be replaced.
        found: The result of the preliminary check of the input; see ``Batch.check``.
    """

    item: Input
    overwrite: bool = False
    found: object = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a task: a result, or an error.

    Attributes:
        task: The task.
        result: The result; None if the task failed.
        error: The error; None if the task succeeded.
        seconds: Duration, excluding the loading of the model.
        traceback: The error's traceback as text, for ``-vv``.
    """

    task: Task
    result: Result | None = None
    error: Exception | None = None
    seconds: float = 0.0
    traceback: str | None = None


Do = Callable[[Task, Advance], Result]
"""Processes one task and reports its progress. An exception concerns this task alone."""


class Work(Protocol):
    """The processing of each input, as data: pickled, and opened once by every worker."""

    def of_run(self, run: str) -> Self:
        """A copy whose temporary files have the run's name; see ``outputs.name_temporaries``."""

    def open(self, worker: int, workers: int) -> Do:
        """Prepare, for example load the model.

        Args:
            worker: Index of the worker on this machine, from 0.
            workers: Number of workers on this machine.

        Raises:
            AutogazeError: No input can be processed.
        """


OnStart = Callable[[Task], AbstractContextManager[Advance]]
"""Called when a task starts: records that, and opens its progress display.

An ``AutogazeError`` that it raises is the outcome of the task, which is not run.
"""

Outcomes = Generator[Outcome, None, None]

Engine = Callable[[Work, list[Task], OnStart], Outcomes]
"""Runs tasks and yields their outcomes as they complete, in any order.

Raises what ``Work.open`` raises. When closed early, it stops the tasks in flight, which leave no
outputs.
"""


class WorkerLostError(AutogazeError):
    """A worker died during a task, more than once."""

    exit_code = 3
