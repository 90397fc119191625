"""A whole audit: many files, what they say together, and what of it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autogaze_cli.audit.analysis import FileResult, analyse, is_candidate
from autogaze_cli.audit.baseline import compare, read_baseline
from autogaze_cli.audit.files import Notice, Selected, is_generated, select, upstream_copies
from autogaze_cli.audit.findings import Finding, add_fingerprints
from autogaze_cli.audit.languages import require_grammars
from autogaze_cli.audit.rules.boundary import MISSING_DEPENDENCY, MISSING_HELPERS
from autogaze_cli.audit.rules.rule import LEVELS
from autogaze_cli.audit.settings import AuditSettings


@dataclass(slots=True)
class Audit:
    """What an audit found.

    Attributes:
        roots: The paths as given.
        findings: All that are reported, suppressed ones too, sorted.
        fixed: Entries of the baseline that match nothing any more.
        notices: What else the user should know, sorted.
        files_scanned: Source files looked at.
        files_skipped: Source files passed over one by one.
        has_baseline: Whether there is a baseline.
        failed: Whether a selected file could not be read.
    """

    roots: list[str]
    findings: list[Finding] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    files_scanned: int = 0
    files_skipped: int = 0
    has_baseline: bool = False
    failed: bool = False

    def counted(self) -> list[Finding]:
        """Findings that are neither suppressed nor known."""
        return [finding for finding in self.findings if finding.is_counted()]

    def exit_code(self, fail_on: str, *, exit_zero: bool = False) -> int:
        """0, 1 for a finding at or above ``fail_on``, or 2 where a file could not be read."""
        if self.failed:
            return 2
        if fail_on == "never" or exit_zero:
            return 0
        least = LEVELS.index(fail_on)
        return int(any(LEVELS.index(finding.level) >= least for finding in self.counted()))

    def by_level(self) -> dict[str, int]:
        """Number of counted findings of each level."""
        counts = Counter(finding.level for finding in self.counted())
        return {level: counts[level] for level in LEVELS}


def run_audit(paths: list[Path], settings: AuditSettings) -> Audit:
    """Audit folders and files.

    Args:
        paths: What to audit.
        settings: How.

    Raises:
        InputError: When a path does not exist.
        ConfigError: When a grammar is not installed.
        FormatError: When the baseline cannot be read.
    """
    require_grammars()
    entries = read_baseline(settings.baseline) if settings.baseline is not None else None
    selection = select(paths, settings)
    audit = Audit([str(path) for path in paths], notices=selection.notices)
    audit.files_skipped = selection.skipped
    audit.failed = any(notice.kind == "unreadable" for notice in selection.notices)
    results = _without_copies(dict(_results(selection.files, audit, settings)), audit, settings)
    _projections(results)
    if settings.require_helpers:
        _boundary(results, has_dependency=selection.has_dependency)
    findings: list[Finding] = []
    for selected, result in results.items():
        _suppress(result, with_helpers=settings.require_helpers)
        for finding in result.findings:
            level = _level(finding, selected, settings)
            if level is not None:
                finding.level = level
                findings.append(finding)
    audit.findings = sorted(findings, key=Finding.order)
    add_fingerprints(audit.findings)
    if entries is not None:
        audit.has_baseline = True
        audit.fixed = compare(audit.findings, entries)
    audit.notices.sort(key=lambda notice: (notice.path, notice.kind, notice.message))
    return audit


def _results(
    files: list[Selected], audit: Audit, settings: AuditSettings
) -> Iterator[tuple[Selected, FileResult]]:
    """Analyse each file that could hold something; count and note the others."""
    names = settings.names()
    for selected in files:
        try:
            data = selected.path.read_bytes()
        except OSError as error:
            audit.failed = True
            audit.notices.append(
                Notice("unreadable", selected.name, f"cannot be read: {error.strerror}")
            )
            continue
        if not selected.named and is_generated(selected.name, data):
            audit.files_skipped += 1
            continue
        audit.files_scanned += 1
        if not is_candidate(data, names, helpers=settings.require_helpers):
            continue
        try:
            result = analyse(selected.name, data, names)
        except (ValueError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            audit.notices.append(Notice("unparsed", selected.name, f"not analysed: {what}"))
            continue
        if result.damage is not None:
            rest = "nothing after it" if result.cut else "what could be parsed around it"
            message = f"line {result.damage} could not be parsed; {rest} was analysed"
            audit.notices.append(Notice("unparsed", selected.name, message))
        yield selected, result


def _without_copies(
    results: dict[Selected, FileResult], audit: Audit, settings: AuditSettings
) -> dict[Selected, FileResult]:
    """Leave out copies of the research package, unless vendored code is asked for."""
    if settings.include_vendored or settings.include_provider:
        return results
    defining = {s.name: r.defines for s, r in results.items() if r.defines and not s.named}
    copies = upstream_copies(defining)
    for copy in sorted(copies):
        message = "a copy of the research package: not scanned"
        audit.notices.append(Notice("vendored", copy or ".", message))
    return {
        selected: result
        for selected, result in results.items()
        if selected.named or not any(_is_in(selected.name, copy) for copy in copies)
    }


def _is_in(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder}/")


def _projections(results: dict[Selected, FileResult]) -> None:
    """Report functions that build a mask with a decoder of the same repository."""
    decoders = set().union(*(result.decoders for result in results.values()))
    for result in results.values():
        for finding, calls in result.projections:
            called = [related for name, related in calls if name in decoders]
            if called:
                finding.related = called
                result.findings.append(finding)


def _boundary(results: dict[Selected, FileResult], *, has_dependency: bool) -> None:
    """Report a repository that reads the output and calls no helper."""
    accesses = [(r, r.access) for r in results.values() if r.access is not None]
    if not accesses or any(r.calls_helper and not r.test for r in results.values()):
        return
    result, access = next((item for item in accesses if not item[1].test), accesses[0])
    result.findings.append(replace(access, rule="AGR201", message=MISSING_HELPERS))
    if not has_dependency:
        result.findings.append(replace(access, rule="AGR202", message=MISSING_DEPENDENCY))


def _suppress(result: FileResult, *, with_helpers: bool) -> None:
    """Apply a file's comments to its findings, and report comments that are no use."""
    for finding in result.findings:
        for comment, _ in result.comments:
            if comment.covers(finding.rule, finding.lines):
                comment.used = True
                if finding.suppressed is None:
                    finding.suppressed = comment.reason
    for comment, place in result.comments:
        if not comment.reason:
            message = "this comment gives no reason; say why the finding is right as it is"
            if not comment.rules:
                message = "this comment names no rule and gives no reason: it has no effect"
            result.findings.append(replace(place, rule="AGR900", message=message))
        boundary = comment.rules and all(rule.startswith("AGR2") for rule in comment.rules)
        if comment.is_effective() and not comment.used and (with_helpers or not boundary):
            message = "this comment suppresses nothing; delete it"
            result.findings.append(replace(place, rule="AGR901", message=message))


def _level(finding: Finding, selected: Selected, settings: AuditSettings) -> str | None:
    """The severity a finding is reported at; None = not at all."""
    level = settings.level(finding.rule)
    if level is None or (finding.test and settings.tests == "skip"):
        return None
    if selected.provider or (finding.test and settings.tests == "note"):
        return "note"
    return level
