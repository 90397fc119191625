"""Findings: what is reported, and how one is known again after the code has moved.

Source: audit spec B.11 and B.12.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that belongs to a finding; line and column from 1."""

    path: str
    line: int
    column: int
    message: str


@dataclass(slots=True)
class Finding:
    """One finding.

    Attributes:
        rule: Id of its rule.
        path: File, relative with slashes.
        line: From 1.
        column: From 1, in code points.
        end_line: Where it ends.
        end_column: One past its last code point.
        message: What was found, why, and what to call.
        scope: Dotted name of the function, ``<module>`` outside functions.
        snippet: The source line.
        code: The source line without comments, blanks reduced; goes into the fingerprint.
        test: Whether it is in test code.
        lines: Lines on which a comment suppresses it.
        related: Other places.
        use: The functions to call instead, the best first.
        level: Severity as reported.
        fingerprint: See ``add_fingerprints``.
        suppressed: The reason of the comment that suppresses it ("" without one), or None.
        baseline: "new" or "unchanged" where there is a baseline, else None.
    """

    rule: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    scope: str
    snippet: str
    code: str
    test: bool
    lines: frozenset[int]
    related: list[Related] = field(default_factory=list)
    use: tuple[str, ...] = ()
    level: str = "note"
    fingerprint: str = ""
    suppressed: str | None = None
    baseline: str | None = None

    def order(self) -> tuple[bytes, int, int, str]:
        """What findings are sorted by."""
        return os.fsencode(self.path), self.line, self.column, self.rule

    def is_counted(self) -> bool:
        """Whether it is neither suppressed nor known."""
        return self.suppressed is None and self.baseline != "unchanged"


def add_fingerprints(findings: list[Finding]) -> None:
    """Set the fingerprint of each; ``findings`` are all of them, sorted.

    No line number goes in, so that moving code inside a file changes none.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    for finding in findings:
        key = (finding.rule, finding.path, finding.scope, finding.code)
        text = "\n".join((*key, str(seen[key])))
        finding.fingerprint = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[
            :32
        ]
        seen[key] += 1
