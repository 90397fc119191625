"""What commands print for machines follows the schemas in docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("models", ("models", "list")),
        ("models", ("models", "path", "kestrel")),
        ("models", ("models", "verify", "kestrel")),
        ("config", ("config", "show", "mask")),
        ("audit", ("audit-readout", ROOT / "fixtures/audit/pos", "--exit-zero")),
        ("audit", ("audit-readout", ROOT / "fixtures/audit/neg")),
    ],
)
def test_the_schema_holds(run: Run, schema: str, arguments: tuple[object, ...]) -> None:
    found = json.loads((ROOT / f"docs/schemas/{schema}.schema.json").read_text())
    Draft202012Validator.check_schema(found)
    validator = Draft202012Validator(found)
    document = run(*arguments, "--json")
    assert document.exit_code == 0, document.stderr
    validator.validate(json.loads(document.stdout))
    lines = run(*arguments, "--jsonl").stdout.splitlines()
    assert lines
    for line in lines:
        validator.validate(json.loads(line))


def test_the_lines_hold_what_the_document_does(run: Run) -> None:
    tree = ROOT / "fixtures/audit/pos"
    document = json.loads(run("audit-readout", tree, "--json", "--exit-zero").stdout)
    lines = run("audit-readout", tree, "--jsonl", "--exit-zero").stdout.splitlines()
    findings = [json.loads(line) for line in lines[:-1]]
    assert [{k: v for k, v in f.items() if k != "event"} for f in findings] == document["findings"]


def test_paths_may_be_globs_and_lists(run: Run, tmp_path: Path) -> None:
    pos = ROOT / "fixtures/audit/pos"
    (tmp_path / "list.txt").write_text(f"{pos / 'd.go'}\n# not this\n{pos}\n")
    said = json.loads(
        run("audit-readout", f"@{tmp_path / 'list.txt'}", "--json", "--exit-zero").stdout
    )
    assert {Path(finding["path"]).suffix for finding in said["findings"]} >= {".go", ".py"}
    (tmp_path / "list.txt").write_text(f"{pos / '*.py'}\n")
    missing = run("audit-readout", f"@{tmp_path / 'list.txt'}")
    assert (missing.exit_code, "*.py" in missing.stderr) == (2, True)
    result = run("audit-readout", tmp_path / "*.rs")
    assert (result.exit_code, "matches nothing" in result.stderr) == (2, True)
