"""The report as text and as JSON.

Source: audit spec B.12.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from autogaze_cli.audit.audit import Audit
from autogaze_cli.audit.findings import Finding
from autogaze_cli.audit.reading import shown
from autogaze_cli.audit.rules import BY_ID
from autogaze_cli.version import __version__

TOOL = "autogaze-audit"
JSON_VERSION = 1

Piece = tuple[str, str]
"""Text, and what it is: a level, "path", "rule", "code", "fix" or ""."""


def text_lines(
    audit: Audit, *, show_suppressed: bool, brief: bool = False
) -> Iterator[list[Piece]]:
    """The report line by line, in pieces that a terminal may colour.

    Args:
        audit: What was found.
        show_suppressed: List suppressed findings too.
        brief: One line a finding and no summary.
    """
    for finding in audit.findings:
        if finding.is_counted() or (show_suppressed and finding.suppressed is not None):
            yield from _finding_lines(finding, brief=brief)
    if not brief:
        yield [(summary(audit), "")]


def _finding_lines(finding: Finding, *, brief: bool) -> Iterator[list[Piece]]:
    rule = BY_ID[finding.rule]
    line: list[Piece] = [
        (f"{shown(finding.path)}:{finding.line}:{finding.column}", "path"),
        (": ", ""),
        (finding.level, finding.level),
        (" ", ""),
        (f"{rule.id} {rule.name}", "rule"),
        (f": {finding.message}", ""),
    ]
    if finding.test:
        line.append((" [test]", ""))
    if finding.suppressed is not None:
        line.append((f" [suppressed: {finding.suppressed or 'no reason'}]", ""))
    yield line
    if brief:
        return
    if finding.snippet.strip():
        yield [("    code: ", ""), (finding.snippet.strip().expandtabs(4), "code")]
    if finding.use:
        yield [("    fix: ", ""), (", ".join(finding.use), "fix")]
    for other in finding.related:
        yield [(f"    {shown(other.path)}:{other.line}:{other.column}: {other.message}", "")]


def summary(audit: Audit) -> str:
    """The last line of the text report."""
    counted = audit.counted()
    suppressed = sum(finding.suppressed is not None for finding in audit.findings)
    known = sum(finding.baseline == "unchanged" for finding in audit.findings)
    files = _number(audit.coverage.analysed, "file")
    gaps = audit.coverage.text()
    if audit.coverage.analysed == 0:
        return f"nothing was analysed: {gaps or 'no source files there'}"
    rest = f" ({suppressed} suppressed, {known} in baseline)"
    if audit.fixed:
        rest = f"{rest[:-1]}, {len(audit.fixed)} fixed since)"
    if not counted:
        quiet = not (suppressed or known or audit.fixed)
        line = f"no local AutoGaze token math in {files}{'' if quiet else rest}"
    else:
        levels = audit.by_level()
        counts = ", ".join(_number(levels[level], level) for level in ("error", "warning", "note"))
        line = f"{counts} in {len({f.path for f in counted})} of {files}{rest}"
    return f"{line}; {gaps}" if gaps else line


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def json_text(audit: Audit, *, show_suppressed: bool, exit_code: int) -> str:
    """The report as one JSON object in ASCII, keys sorted, with a newline at the end."""
    document = _document(audit, show_suppressed=show_suppressed, exit_code=exit_code)
    return json.dumps(document, sort_keys=True, indent=2) + "\n"


def jsonl_text(audit: Audit, *, show_suppressed: bool, exit_code: int) -> str:
    """The report as lines of JSON: an event ``finding`` each, then ``ended`` with all the rest."""
    document = _document(audit, show_suppressed=show_suppressed, exit_code=exit_code)
    lines = [{"event": "finding", **finding} for finding in document.pop("findings")]
    lines.append({"event": "ended", **document})
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)


def _document(audit: Audit, *, show_suppressed: bool, exit_code: int) -> dict[str, Any]:
    listed = [f for f in audit.findings if show_suppressed or f.suppressed is None]
    by_rule = Counter(finding.rule for finding in audit.counted())
    return {
        "version": JSON_VERSION,
        "tool": {"name": TOOL, "version": __version__},
        "roots": [shown(root) for root in audit.roots],
        "files_scanned": audit.coverage.analysed,
        "files_skipped": audit.coverage.skipped.total(),
        "files_failed": audit.coverage.failed.total(),
        "skipped": dict(audit.coverage.skipped),
        "failed": dict(audit.coverage.failed),
        "findings": [_finding_entry(finding) for finding in listed],
        "fixed": audit.fixed,
        "notices": [
            {"kind": notice.kind, "path": shown(notice.path), "message": notice.message}
            for notice in audit.notices
        ],
        "summary": {
            "levels": audit.by_level(),
            "rules": dict(by_rule),
            "suppressed": sum(finding.suppressed is not None for finding in audit.findings),
            "baseline": sum(finding.baseline == "unchanged" for finding in audit.findings),
            "exit_code": exit_code,
        },
    }


def _finding_entry(finding: Finding) -> dict[str, Any]:
    suppressed = None
    if finding.suppressed is not None:
        suppressed = {"kind": "inSource", "reason": finding.suppressed}
    return {
        "rule": finding.rule,
        "name": BY_ID[finding.rule].name,
        "level": finding.level,
        "path": shown(finding.path),
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "end_column": finding.end_column,
        "message": finding.message,
        "replacement": list(finding.use),
        "scope": finding.scope,
        "snippet": finding.snippet,
        "test": finding.test,
        "fingerprint": finding.fingerprint,
        "suppressed": suppressed,
        "baseline": finding.baseline,
        "related": [
            {"path": shown(o.path), "line": o.line, "column": o.column, "message": o.message}
            for o in finding.related
        ],
    }
