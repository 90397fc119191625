"""The audit as one call: ``autogaze audit-readout``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autogaze_cli.audit.audit import Audit, run_audit
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import InputError

Source = str | os.PathLike[str]


def audit_readout(
    *paths: Source,
    rules: Iterable[str] = (),
    exclude_rules: Iterable[str] = (),
    severity: Mapping[str, str] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    languages: Iterable[str] = (),
    tests: str | None = None,
    include_provider: bool = False,
    include_vendored: bool = False,
    no_gitignore: bool = False,
    require_helpers: bool = False,
    baseline: Source | None = None,
    max_file_size_bytes: int = 2097152,
    file_time_limit_s: float = 5.0,
) -> Audit:
    """Find local arithmetic on AutoGaze ids in source trees: ``autogaze audit-readout``.

    A project's own settings file is read as on the command line; arguments given here win.

    Args:
        *paths: Files and folders.
        rules: Ids or prefixes of the rules to run; empty = all.
        exclude_rules: Ids or prefixes of the rules to leave out.
        severity: Level of a rule by its id: "error", "warning", "note" or "off".
        include: Patterns of the files to scan, as in ``.gitignore``; empty = all.
        exclude: Patterns of files not to scan.
        languages: Languages to scan; empty = all.
        tests: Findings in test code are "note", "same" or "skip"; None = "note".
        include_provider: Scan the modules that define the model.
        include_vendored: Scan copies of other projects.
        no_gitignore: Scan what git ignores.
        require_helpers: Require that readout helpers are called.
        baseline: File of known findings.
        max_file_size_bytes: Larger files are skipped.
        file_time_limit_s: Seconds per file; one that takes longer is not analysed.

    Returns:
        The findings, and which files were analysed, skipped or failed.

    Raises:
        AutogazeError: A path or an argument is invalid.

    Examples:
        >>> found = audit_readout("fixtures/audit/pos/d.go")
        >>> found.findings[0].rule, found.exit_code("warning")
        ('AGR107', 1)
    """
    return _run(**locals())


def _run(paths: tuple[Source, ...], **arguments: Any) -> Audit:
    places = [Path(path) for path in paths]
    if not places:
        raise InputError("no path given", hint="name a folder or a file to audit")
    tests, baseline = arguments["tests"], arguments["baseline"]
    lists = ("rules", "exclude_rules", "include", "exclude", "languages")
    plain = (
        *("include_provider", "include_vendored", "require_helpers", "max_file_size_bytes"),
        "file_time_limit_s",
    )
    chosen: dict[str, Any] = {name: tuple(arguments[name]) for name in lists}
    chosen |= {name: arguments[name] for name in plain}
    settings = AuditSettings(
        **chosen,
        severity=dict(arguments["severity"] or {}),
        tests=tests or "note",
        gitignore=not arguments["no_gitignore"],
        baseline=Path(baseline) if baseline is not None else None,
    )
    given = {"rules": settings.rules, "tests": tests, "baseline": baseline}
    return run_audit(places, settings.with_config(places[0], [k for k, v in given.items() if v]))
