"""A whole audit: many files, what they say together, and what of it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autogaze_cli.audit.analysis import FileResult, is_candidate
from autogaze_cli.audit.baseline import compare, read_baseline
from autogaze_cli.audit.coverage import NOTHING, Coverage, Notice
from autogaze_cli.audit.files import NOTEBOOK_ROOM, Selected, generated, select
from autogaze_cli.audit.findings import Finding, add_fingerprints
from autogaze_cli.audit.languages import require_grammars
from autogaze_cli.audit.linking import Seeds, link
from autogaze_cli.audit.providers import provider_folders
from autogaze_cli.audit.reading import decoded
from autogaze_cli.audit.rules import BY_ID
from autogaze_cli.audit.rules.boundary import MISSING_DEPENDENCY, MISSING_HELPERS
from autogaze_cli.audit.rules.rule import LEVELS
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.audit.suppressions import suppress
from autogaze_cli.audit.workers import analyse_all
from autogaze_cli.reading import TooLargeError, read_regular

_NAMED_BYTES = 1 << 26
"""Of a file that the user named."""


_BATCH_BYTES = 1 << 26
"""Of source that is held at a time."""


@dataclass(slots=True)
class Audit:
    """What an audit found.

    Attributes:
        roots: The paths as given.
        findings: All that are reported, suppressed ones too, sorted.
        fixed: Entries of the baseline that match nothing any more.
        coverage: Which files were analysed, and which were not and why.
        has_baseline: Whether there is a baseline.
    """

    roots: list[str]
    findings: list[Finding] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    has_baseline: bool = False

    @property
    def notices(self) -> list[Notice]:
        """What else the user should know, sorted."""
        return self.coverage.notices

    def counted(self) -> list[Finding]:
        """Findings that are neither suppressed nor known."""
        return [finding for finding in self.findings if finding.is_counted()]

    def is_void(self) -> bool:
        """Whether the audit says nothing: no file was analysed, or one could not be read."""
        return self.coverage.analysed == 0 or self.coverage.failed["unreadable"] > 0

    def exit_code(
        self, fail_on: str, *, exit_zero: bool = False, strict_coverage: bool = False
    ) -> int:
        """The exit code of the command.

        Args:
            fail_on: Lowest level that gives 1: a level or "never".
            exit_zero: Findings give 0.
            strict_coverage: Files that were skipped, or analysed in part, give 1.

        Returns:
            0; 1 for findings or gaps; 2 where no file was analysed, or one could not be read; 2
            too where there are no findings, but of a file nothing was analysed.
        """
        if self.is_void():
            return 2
        if strict_coverage and self.coverage.gaps():
            return 1
        if fail_on != "never" and not exit_zero:
            lowest = LEVELS.index(fail_on)
            if any(LEVELS.index(finding.level) >= lowest for finding in self.counted()):
                return 1
        return 2 if any(self.coverage.failed[reason] for reason in NOTHING) else 0

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
    coverage = selection.coverage
    audit = Audit([str(path) for path in paths], coverage=coverage)
    results: dict[Selected, FileResult] = {}
    for texts in _batches(selection.files, coverage, settings):
        tasks = [(selected.name, text, Seeds()) for selected, text in texts.items()]
        results.update(zip(texts, analyse_all(tasks, settings), strict=True))
    candidates = set(results)
    results = _analysed(results, coverage)
    providers = _exempt(results, coverage, settings)
    _follow_imports(results, selection.files, candidates, settings)
    _projections(results)
    if settings.require_helpers:
        _boundary(results, has_dependency=selection.has_dependency)
    findings: list[Finding] = []
    for selected, result in results.items():
        _suppress(result, with_helpers=settings.require_helpers)
        for finding in result.findings:
            level = _level(finding, selected in providers, settings)
            if level is not None:
                finding.level = level
                findings.append(finding)
    audit.findings = sorted(findings, key=Finding.order)
    add_fingerprints(audit.findings)
    if entries is not None:
        audit.has_baseline = True
        audit.fixed = compare(audit.findings, entries)
    coverage.notices.sort(key=lambda notice: (notice.path, notice.kind, notice.message))
    return audit


def _batches(
    files: list[Selected], coverage: Coverage, settings: AuditSettings
) -> Iterator[dict[Selected, bytes]]:
    """The files that could hold something, in UTF-8; no more at a time than memory allows."""
    names = settings.names()
    texts: dict[Selected, bytes] = {}
    size = 0
    for selected in files:
        text = _text(selected, coverage, settings)
        if text is None:
            continue
        coverage.analysed += 1
        if is_candidate(selected.name, text, names, helpers=settings.require_helpers):
            texts[selected] = text
            size += len(text)
        if size > _BATCH_BYTES:
            yield texts
            texts, size = {}, 0
    yield texts


def _text(selected: Selected, coverage: Coverage, settings: AuditSettings) -> bytes | None:
    name, limit = selected.name, settings.max_file_size_bytes
    room = NOTEBOOK_ROOM if name.endswith(".ipynb") else 1
    try:
        most = max(limit * room, _NAMED_BYTES if selected.named else 0)
        text = decoded(read_regular(selected.path, most))
    except TooLargeError as error:
        message = f"not scanned: {error.size} bytes are more than --max-file-size {limit}"
        coverage.skip("too large", name, message)
        return None
    except OSError as error:
        coverage.fail("unreadable", name, f"cannot be read: {error.strerror}")
        return None
    if b"\0" in text:
        coverage.skip("binary", name, "not scanned: it holds zero bytes, so it is not text")
        return None
    reason = None if selected.named else generated(name, text)
    if reason is not None:
        coverage.skip(reason, name, f"not scanned: {reason} code")
        return None
    return text


def _analysed(
    results: dict[Selected, FileResult], coverage: Coverage
) -> dict[Selected, FileResult]:
    """The results of files that could be analysed; count and note the others."""
    done = {}
    for selected, result in results.items():
        if result.failure is not None:
            coverage.analysed -= 1
            coverage.fail(result.failure[0], selected.name, result.failure[1])
            continue
        if result.damage:
            coverage.fail("parsed in part", selected.name, result.damage)
        done[selected] = result
    return done


def _exempt(
    results: dict[Selected, FileResult], coverage: Coverage, settings: AuditSettings
) -> set[Selected]:
    """The files beside the definition of the model; they are left out unless asked for."""
    folders = provider_folders({s.name: r.defines for s, r in results.items() if r.defines})
    files = {s for s in results if s.name.rpartition("/")[0] in folders and not s.named}
    if settings.include_provider or settings.include_vendored:
        return files if settings.include_provider else set()
    for folder in sorted(folders):
        inside = [s for s in files if s.name.rpartition("/")[0] == folder]
        if inside:
            message = f"defines the model or its helpers: {_files(len(inside))} not reported"
            coverage.notices.append(Notice("provider", folder or ".", message))
    for selected in files:
        del results[selected]
        coverage.analysed -= 1
        coverage.skip("provider")
    return set()


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _follow_imports(
    results: dict[Selected, FileResult],
    files: list[Selected],
    candidates: set[Selected],
    settings: AuditSettings,
) -> None:
    """Analyse again, or for the first time, the files that others tell something about."""
    by_name = {selected.name: selected for selected in files}
    known = {selected.name: result.exports for selected, result in results.items()}
    tasks, again = [], []
    for name, seeds in sorted(link(known, by_name).items()):
        selected = by_name[name]
        if selected in candidates and selected not in results:
            continue  # it owns the decoding, or could not be analysed
        text = _text(selected, Coverage(), settings)
        if text is not None:
            tasks.append((name, text, seeds))
            again.append(selected)
    found = zip(again, analyse_all(tasks, settings), strict=True)
    results.update({selected: result for selected, result in found if result.failure is None})


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
    result.findings.append(
        replace(access, rule="AGR201", message=MISSING_HELPERS, use=BY_ID["AGR201"].use)
    )
    if not has_dependency:
        use = BY_ID["AGR202"].use
        finding = replace(access, rule="AGR202", message=MISSING_DEPENDENCY, use=use)
        result.findings.append(finding)


def _suppress(result: FileResult, *, with_helpers: bool) -> None:
    """Apply a file's comments to its findings, and report comments that are of no use."""
    suppress(result.findings, [comment for comment, _ in result.comments])
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


def _level(finding: Finding, provider: bool, settings: AuditSettings) -> str | None:
    """The severity a finding is reported at; None = not at all."""
    level = settings.level(finding.rule)
    if level is None or (finding.test and settings.tests == "skip"):
        return None
    exempt = provider and finding.rule not in settings.severity
    return "note" if exempt or (finding.test and settings.tests == "note") else level
