"""Which files an audit looked at, which it did not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

ON_REQUEST = frozenset(["excluded", "ignored by git", "other language"])
"""Reasons that the user gave: by an option, a settings file, or git."""

EXEMPT = frozenset(["provider", "vendored", "build folder"])
"""Reasons of convention, see docs/audit.md; of folders that are not entered, one is counted."""

QUIET = ON_REQUEST | EXEMPT
"""What ``--strict-coverage`` does not object to."""

NOTHING = frozenset(["unreadable", "unparsed", "timed out", "crashed"])
"""Reasons for which nothing of a file was analysed; one that is "parsed in part" was, around it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know about a file that is not a finding.

    Attributes:
        kind: In a word: "unreadable", "too-large", "timed-out", ...
        path: The file or folder.
        message: What became of it.
    """

    kind: str
    path: str
    message: str


@dataclass(slots=True)
class Coverage:
    """What became of the source files under the paths.

    Attributes:
        analysed: Files that were read, those with nothing of AutoGaze in them included.
        skipped: Files and folders that were left out, by the reason.
        failed: Files that could not be analysed, or only in part, by the reason.
        notices: About single files.
    """

    analysed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    notices: list[Notice] = field(default_factory=list)

    def skip(self, reason: str, path: str = "", message: str = "") -> None:
        """Count a file or folder that is left out, with a notice where there is a message."""
        self.skipped[reason] += 1
        if message:
            self.notices.append(Notice(reason.replace(" ", "-"), path, message))

    def fail(self, reason: str, path: str, message: str) -> None:
        """Count a file that could not be analysed, or only in part."""
        self.failed[reason] += 1
        self.notices.append(Notice(reason.replace(" ", "-"), path, message))

    def gaps(self) -> int:
        """Number of files that were not analysed, or only in part, though nobody asked for it."""
        skipped = sum(count for reason, count in self.skipped.items() if reason not in QUIET)
        return skipped + self.failed.total()

    def text(self) -> str:
        """What was not analysed: "2 skipped (2 too large), 1 failed (unreadable)", or ""."""
        parts = []
        for word, counts in (("skipped", self.skipped), ("failed", self.failed)):
            if counts:
                parts.append(f"{counts.total()} {word} ({_reasons(counts.items())})")
        return ", ".join(parts)


def _reasons(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts))
