"""Many inputs, one honest answer: who failed, what the others gave, and the exit code."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from autogaze_cli.errors import AutogazeError
from autogaze_cli.inputs import Input
from autogaze_cli.progress import TRACEBACK, Advance, frame_progress

logger = logging.getLogger(__name__)

R = TypeVar("R")

SOME_FAILED = 3
"""The exit code when there were several inputs and not all were done."""


class Report(Generic[R]):
    """What became of each input; a failure is said at once and never stops the others.

    Attributes:
        inputs: All of them.
        results: What the work returned, by input, in order.
        failures: What went wrong, by input, in order.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        self.inputs = tuple(inputs)
        self.results: dict[Input, R] = {}
        self.failures: dict[Input, AutogazeError] = {}

    def check(self, check: Callable[[Input], object]) -> bool:
        """Call ``check`` with every input, before anything costly; whether any is left to do."""
        for item in self.inputs:
            self._attempt(item, lambda item=item: check(item))  # type: ignore[misc]
        return len(self.failures) < len(self.inputs)

    def run(self, work: Callable[[Input, Advance], R]) -> None:
        """Do the work of every input that has not failed, with progress."""
        for number, item in enumerate(self.inputs, 1):
            if item not in self.failures:
                self._attempt(item, lambda item=item, number=number: self._work(item, number, work))  # type: ignore[misc]

    def exit_code(self) -> int:
        """0, or 3 with a line that names the failed inputs."""
        if not self.failures:
            return 0
        names = ", ".join(item.name for item in self.failures)
        logger.error("%d of %d inputs failed: %s", len(self.failures), len(self.inputs), names)
        return SOME_FAILED

    def _work(self, item: Input, number: int, work: Callable[[Input, Advance], R]) -> None:
        count = f"[{number}/{len(self.inputs)}] " if len(self.inputs) > 1 else ""
        with frame_progress(f"{count}{item.name}") as advance:
            self.results[item] = work(item, advance)

    def _attempt(self, item: Input, work: Callable[[], object]) -> None:
        """The only input's error goes on to the caller; one of several is noted."""
        try:
            work()
        except Exception as error:
            if item.path != item.name and error.args:  # call stdin "-", not its temporary file
                error.args = (str(error.args[0]).replace(item.path, item.name), *error.args[1:])
            if len(self.inputs) == 1:
                raise
            self.failures[item] = as_autogaze_error(error, item.name)
            logger.error("%s", self.failures[item].line())
            logger.log(TRACEBACK, "what led to the error:", exc_info=error)


def as_autogaze_error(error: Exception, name: str | None = None) -> AutogazeError:
    """``error`` itself, or one that says in a line what the system or the program met.

    Args:
        error: Any error.
        name: The input it is about, if known.
    """
    if isinstance(error, AutogazeError):
        return error
    about = f"{name}: " if name else ""
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else about
        return AutogazeError(f"{file}{error.strerror}", hint="check the path, its rights and space")
    return AutogazeError(
        f"{about}unexpected {type(error).__name__}: {error}", hint="-vv shows the traceback"
    )
