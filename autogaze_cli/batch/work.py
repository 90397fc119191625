"""What an engine is given, and what it gives back."""

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
    """One input to be done.

    Attributes:
        item: The input.
        overwrite: Whether outputs that exist may be replaced.
        found: What the first look at the input found; see ``Batch.check``.
    """

    item: Input
    overwrite: bool = False
    found: object = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: a result, or an error.

    Attributes:
        task: The task.
        result: What was made; None when it failed.
        error: What went wrong; None when it did not.
        seconds: How long it took, loading of the model not counted.
        traceback: What led to the error, for ``-vv``.
    """

    task: Task
    result: Result | None = None
    error: Exception | None = None
    seconds: float = 0.0
    traceback: str | None = None


Do = Callable[[Task, Advance], Result]
"""Does one task, telling how far it is. An error is about this task alone."""


class Work(Protocol):
    """What is done for each input, as data: it is pickled, and opened once by every worker."""

    def of_run(self, run: str) -> Self:
        """The same, its temporary files named after the run (see ``outputs.name_temporaries``)."""

    def open(self, worker: int, workers: int) -> Do:
        """Make ready: load the model.

        Args:
            worker: Which of the workers on this machine asks, from 0.
            workers: How many they are.

        Raises:
            AutogazeError: No input can be done.
        """


Begin = Callable[[Task], AbstractContextManager[Advance]]
"""Called when a task's turn has come: notes that, and opens its progress display."""

Outcomes = Generator[Outcome, None, None]

Engine = Callable[[Work, list[Task], Begin], Outcomes]
"""Does tasks, and yields each one's outcome when it comes, in any order.

Raises what ``Work.open`` raises. Closed early, it ends what is in flight, of which no output is
left.
"""


class WorkerLostError(AutogazeError):
    """A worker ended in the middle of a task, more than once."""

    exit_code = 3
