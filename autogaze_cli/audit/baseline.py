"""The file of known findings.

Source: audit spec B.11.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autogaze_cli.audit.findings import Finding
from autogaze_cli.audit.reading import decoded, shown, write_whole
from autogaze_cli.errors import FormatError
from autogaze_cli.reading import read_regular

TOOL = "autogaze-audit"
VERSION = 1
_MOST_BYTES = 1 << 26
_TYPES = {"rule": str, "path": str, "fingerprint": str, "line": int, "message": str}


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """The entries of a baseline.

    Raises:
        FormatError: When it cannot be read, or is not one of this version.
    """
    hint, name = "write it again with --write-baseline", shown(str(path))
    try:
        document = json.loads(decoded(read_regular(path, _MOST_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FormatError(f"{name}: the baseline cannot be read: {reason}", hint=hint) from error
    if not isinstance(document, dict) or document.get("tool") != TOOL:
        raise FormatError(f"{name}: not a baseline of this audit", hint=hint)
    if document.get("version") != VERSION or isinstance(document.get("version"), bool):
        version = document.get("version")
        raise FormatError(f"{name}: version {version!r} of the baseline is not known", hint=hint)
    entries = document.get("findings")
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise FormatError(f"{name}: the baseline's findings are damaged", hint=hint)
    return entries


def write_baseline(path: Path, findings: list[Finding]) -> None:
    """Write ``findings``, in their order, as known.

    Raises:
        OutputError: When the file cannot be written.
    """
    entries = [{key: getattr(finding, key) for key in _TYPES} for finding in findings]
    for entry in entries:
        entry["path"] = shown(entry["path"])
    document = {"version": VERSION, "tool": TOOL, "findings": entries}
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def compare(findings: list[Finding], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark what is known, and give the entries that match nothing any more."""
    known = {entry["fingerprint"] for entry in entries}
    for finding in findings:
        finding.baseline = "unchanged" if finding.fingerprint in known else "new"
    present = {finding.fingerprint for finding in findings}
    return [entry for entry in entries if entry["fingerprint"] not in present]


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), kind) for key, kind in _TYPES.items()
    )
