"""Comments that suppress findings.

Source: audit spec B.10.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from autogaze_cli.audit.findings import Finding

FIRST_LINES = 30
"""Where ``ignore-file`` has to stand."""

_MOST_FOR_FILE = 100
"""Comments for a whole file that have an effect."""

_COMMENT = re.compile(
    r"autogaze-audit:\s*(?P<verb>ignore-next-line|ignore-file|ignore|off|on)\b"
    r"(?:\s*\[(?P<rules>[^\]]*)\])?\s*(?P<reason>.*)"
)
_ENDS = ("*/", "-->", "#}")


@dataclass(slots=True)
class Suppression:
    """One comment.

    Attributes:
        row: Its line, from 1, as are all lines here.
        start: Byte offset of its first word.
        end: Byte offset past its end.
        first: First line it covers, 0 for none.
        last: Last line it covers.
        rules: Ids or prefixes; empty = all.
        reason: Why, "" without one.
        used: Whether it matched a finding.
    """

    row: int
    start: int
    end: int
    first: int
    last: int
    rules: tuple[str, ...]
    reason: str
    used: bool = False

    def is_effective(self) -> bool:
        """A comment for all rules needs a reason."""
        return bool(self.rules or self.reason)

    def names(self, rule: str) -> bool:
        """Whether it speaks of ``rule``."""
        return not self.rules or rule.startswith(self.rules)


def read(rows: list[str], comments: Iterable[tuple[int, int, str]]) -> list[Suppression]:
    """Read the comments of a file.

    Args:
        rows: Its lines with comments blanked.
        comments: Line from 1 and byte offset of each, and its text.
    """
    found: list[Suppression] = []
    block: Suppression | None = None
    following = _next_code(rows)
    for row, offset, text in comments:
        for part in text.split("\n"):
            match = _COMMENT.search(part)
            if match is not None and block is not None and match["verb"] in ("on", "off"):
                block.last = row
                block = None
            if match is not None and match["verb"] != "on":
                start = offset + len(part[: match.start()].encode())
                end = offset + len(_bare(part).encode())
                first, last = _lines(match["verb"], row, rows, following)
                rules = tuple(r.strip() for r in (match["rules"] or "").split(",") if r.strip())
                reason = _bare(match["reason"]).strip()
                found.append(Suppression(row, start, end, first, last, rules, reason))
                if match["verb"] == "off":
                    block = found[-1]
            offset += len(part.encode()) + 1
            row += 1
    return found


def _bare(text: str) -> str:
    """A comment without what closes it."""
    text = text.rstrip()
    for end in _ENDS:
        text = text.removesuffix(end).rstrip()
    return text


def _next_code(rows: list[str]) -> list[int]:
    """For each line the next one, from 1, that is not blank; 0 where there is none."""
    following = [0] * (len(rows) + 1)
    for row in range(len(rows), 0, -1):
        following[row - 1] = row if rows[row - 1].strip() else following[row]
    return following


def _lines(verb: str, row: int, rows: list[str], following: list[int]) -> tuple[int, int]:
    """The first and last line that a comment on line ``row`` covers."""
    if verb == "ignore-file":
        return (1, len(rows)) if row <= FIRST_LINES else (0, 0)
    if verb == "off":
        return row, len(rows)
    if verb == "ignore" and rows[row - 1].strip():
        return row, row
    return following[row], following[row]


def suppress(findings: list[Finding], comments: list[Suppression]) -> None:
    """Mark the findings that a comment covers, and the comments that do."""
    on_line: dict[int, list[Suppression]] = defaultdict(list)
    blocks: list[Suppression] = []
    for_file: list[Suppression] = []
    for comment in comments:
        if not comment.is_effective() or not comment.first:
            continue
        if comment.first == comment.last:
            on_line[comment.first].append(comment)
        elif comment.first == 1 and len(for_file) < _MOST_FOR_FILE:
            for_file.append(comment)
        else:
            blocks.append(comment)  # one ends before the next begins
    starts = [block.first for block in blocks]
    for finding in findings:
        covering = list(for_file)
        for line in sorted(finding.lines):
            covering += on_line.get(line, [])
            block = blocks[bisect_right(starts, line) - 1] if starts else None
            if block is not None and block.first <= line <= block.last:
                covering.append(block)
        for comment in sorted(covering, key=lambda comment: comment.start):
            if comment.names(finding.rule):
                comment.used = True
                if finding.suppressed is None:
                    finding.suppressed = comment.reason
