"""How long one file may take: its parser, and what reads the tree."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_EVERY = 256
_CHUNK_BYTES = 1 << 16


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


def parse_within(source: bytes, parser: Parser, deadline: Deadline) -> Node:
    """The root of what a grammar makes of a text.

    Raises:
        TimeLimitError: Its parser took too long.
    """
    over = False

    def stop(_offset: int, _has_error: bool) -> bool:
        nonlocal over
        over = deadline.is_over()
        return over

    try:
        # Only a text that comes in pieces is parsed with questions whether to go on.
        tree = parser.parse(
            lambda offset, _: source[offset : offset + _CHUNK_BYTES], progress_callback=stop
        )
    except ValueError:
        if not over:
            raise
        parser.reset()  # it would go on with this text at the next one
        raise TimeLimitError from None
    return tree.root_node
