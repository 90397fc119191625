"""The report as SARIF 2.1.0, for code scanning.

Source: audit spec B.12.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from autogaze_cli.audit.audit import Audit
from autogaze_cli.audit.coverage import NOTHING
from autogaze_cli.audit.findings import Finding
from autogaze_cli.audit.reading import shown
from autogaze_cli.audit.rules import RULES, Rule
from autogaze_cli.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
INFORMATION = "https://github.com/NVlabs/AutoGaze"
MOST_RESULTS = 25_000
"""More than this in one run is refused by code scanning."""

_BASE = "%SRCROOT%"
_FAILURES = frozenset(reason.replace(" ", "-") for reason in NOTHING)
_PRECISION = {"error": "high", "warning": "medium", "note": "low"}
_INDEX = {rule.id: index for index, rule in enumerate(RULES)}


def sarif_text(audit: Audit, *, exit_code: int) -> str:
    """The report as one SARIF log with one run."""
    results = [_result(finding, audit.has_baseline) for finding in audit.findings]
    results += [_absent(entry) for entry in audit.fixed if entry["rule"] in _INDEX]
    run = {
        "tool": {
            "driver": {
                "name": "autogaze-audit",
                "semanticVersion": __version__,
                "informationUri": INFORMATION,
                "rules": [_rule(rule) for rule in RULES],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _BASE: {"description": {"text": "The folder that was audited."}},
        },
        "invocations": [
            {
                "executionSuccessful": exit_code != 2,
                "exitCode": exit_code,
                "toolExecutionNotifications": [
                    {
                        "level": "error" if notice.kind in _FAILURES else "note",
                        "message": {"text": f"{shown(notice.path)}: {notice.message}"},
                        "descriptor": {"id": notice.kind},
                    }
                    for notice in audit.notices
                ],
                "properties": {
                    "analysed": audit.coverage.analysed,
                    "skipped": dict(audit.coverage.skipped),
                    "failed": dict(audit.coverage.failed),
                },
            }
        ],
        "results": results[:MOST_RESULTS],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.name.replace("-", " ").capitalize() + "."},
        "fullDescription": {"text": f"{rule.what} {rule.why}"},
        "help": {"text": rule.text(), "markdown": rule.markdown()},
        "defaultConfiguration": {"level": rule.level},
        "properties": {
            "tags": ["autogaze", "correctness"],
            "precision": _PRECISION[rule.level],
        },
    }


def _result(finding: Finding, has_baseline: bool) -> dict[str, Any]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
        "snippet": {"text": finding.snippet},
    }
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": finding.level,
        "message": {"text": finding.message},
        "locations": [_location(finding.path, region)],
        "partialFingerprints": {"autogazeAudit/v1": finding.fingerprint},
    }
    if finding.related:
        result["relatedLocations"] = [
            {
                "id": number,
                "message": {"text": other.message},
                **_location(other.path, {"startLine": other.line, "startColumn": other.column}),
            }
            for number, other in enumerate(finding.related, 1)
        ]
    if has_baseline:
        result["baselineState"] = finding.baseline
    if finding.suppressed is not None:
        suppression = {"kind": "inSource"}
        if finding.suppressed:
            suppression["justification"] = finding.suppressed
        result["suppressions"] = [suppression]
    return result


def _absent(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the baseline that is fixed."""
    return {
        "ruleId": entry["rule"],
        "ruleIndex": _INDEX[entry["rule"]],
        "level": "none",
        "message": {"text": entry["message"]},
        "locations": [_location(entry["path"], {"startLine": max(entry["line"], 1)})],
        "partialFingerprints": {"autogazeAudit/v1": entry["fingerprint"]},
        "baselineState": "absent",
    }


def _location(path: str, region: dict[str, Any]) -> dict[str, Any]:
    uri = quote(path.encode("utf-8", "surrogateescape"))
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri, "uriBaseId": _BASE},
            "region": region,
        }
    }
