"""Comments that suppress findings.

Source: audit spec B.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIRST_LINES = 30
"""Where ``ignore-file`` has to stand."""

_COMMENT = re.compile(
    r"autogaze-audit:\s*(?P<verb>ignore-next-line|ignore-file|ignore|off|on)\b"
    r"(?:\s*\[(?P<rules>[^\]]*)\])?\s*(?P<reason>.*)"
)
_END = re.compile(r"\s*(?:\*/|-->|#\})\s*$")


@dataclass(slots=True)
class Suppression:
    """One comment.

    Attributes:
        line: Where it stands, from 1.
        column: Likewise.
        end_column: One past its end, on the same line.
        first: First line it covers.
        last: Last line it covers.
        rules: Ids or prefixes; empty = all.
        reason: Why, "" without one.
        used: Whether it matched a finding.
    """

    line: int
    column: int
    end_column: int
    first: int
    last: int
    rules: tuple[str, ...]
    reason: str
    used: bool = False

    def is_effective(self) -> bool:
        """A comment for all rules needs a reason."""
        return bool(self.rules or self.reason)

    def covers(self, rule: str, lines: frozenset[int]) -> bool:
        """Whether a finding of ``rule`` on one of ``lines`` is suppressed."""
        if not self.is_effective() or not any(self.first <= line <= self.last for line in lines):
            return False
        return not self.rules or any(rule.startswith(prefix) for prefix in self.rules)


def read(lines: list[str], comments: list[tuple[int, int, str]]) -> list[Suppression]:
    """Read the comments of a file.

    Args:
        lines: The lines of the file with comments blanked.
        comments: Line and column of each, from 1, and its text.
    """
    found: list[Suppression] = []
    block: Suppression | None = None
    for line, column, text in comments:
        for offset, part in enumerate(text.split("\n")):
            match = _COMMENT.search(part)
            if match is None:
                continue
            at = line + offset
            if match["verb"] == "on":
                if block is not None:
                    block.last = at
                    block = None
                continue
            first, last = _lines(match["verb"], at, lines)
            start = (column if offset == 0 else 1) + match.start()
            suppression = Suppression(
                line=at,
                column=start,
                end_column=(column if offset == 0 else 1) + len(_END.sub("", part)),
                first=first,
                last=last,
                rules=tuple(
                    rule.strip() for rule in (match["rules"] or "").split(",") if rule.strip()
                ),
                reason=_END.sub("", match["reason"]).strip(),
            )
            found.append(suppression)
            if match["verb"] == "off":
                if block is not None:
                    block.last = at
                block = suppression
    return found


def _lines(verb: str, line: int, lines: list[str]) -> tuple[int, int]:
    """The first and last line that a comment on ``line`` covers."""
    if verb == "ignore-file":
        return (1, len(lines)) if line <= FIRST_LINES else (0, 0)
    if verb == "off":
        return line, len(lines)
    if verb == "ignore" and lines[line - 1].strip():
        return line, line
    following = (n for n in range(line + 1, len(lines) + 1) if lines[n - 1].strip())
    target = next(following, 0)
    return target, target
