"""What was assumed or corrected about one input: said once, and kept for its outputs."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


class Notes:
    """Notes about one input.

    Args:
        path: The input.
        say: Whether each is logged as a warning too.
    """

    def __init__(self, path: Path, *, say: bool) -> None:
        self._path, self._say = path, say
        self._notes: dict[str, str] = {}

    def add(self, kind: str, note: str) -> None:
        """Note something, once for each kind."""
        if kind not in self._notes:
            self._notes[kind] = note
            if self._say:
                logger.warning("%s: %s", self._path, note)

    def all(self) -> tuple[str, ...]:
        """The notes so far, in order."""
        return tuple(self._notes.values())
