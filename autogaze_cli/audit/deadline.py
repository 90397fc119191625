"""How long one file may take."""

from __future__ import annotations

import time

_EVERY = 256


class TimeLimitError(Exception):
    """The analysis of a file took longer than it may."""


class Deadline:
    """A moment after which the work on a file stops.

    Args:
        seconds: How long it may take from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._calls = 0

    def check(self) -> None:
        """Look at the clock, now and then: this is called for every node of a tree.

        Raises:
            TimeLimitError: The moment has passed.
        """
        self._calls += 1
        if self._calls % _EVERY == 0 and self.is_over():
            raise TimeLimitError

    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() > self._end
