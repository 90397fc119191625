"""Comments that suppress findings, fingerprints, and the baseline."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from autogaze_cli.audit.audit import Audit, run_audit
from autogaze_cli.audit.baseline import read_baseline, write_baseline
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import FormatError, OutputError


def audit_of(tmp_path: Path, text: str, name: str = "a.py", **settings: object) -> Audit:
    (tmp_path / name).write_text(dedent(text))
    return run_audit([tmp_path], AuditSettings(**settings))  # type: ignore[arg-type]


def state(audit: Audit) -> list[tuple[str, int, str | None]]:
    return [(f.rule, f.line, f.suppressed) for f in audit.findings]


def test_a_comment_on_the_line_or_alone_above_it(tmp_path: Path) -> None:
    audit = audit_of(
        tmp_path,
        """\
        def f(out, if_padded_gazing):
            a = out.gazing_pos % 265  # autogaze-audit: ignore[AGR104] measured
            # autogaze-audit: ignore[AGR1] measured too

            # and more
            b = out.gazing_pos % 265
            # autogaze-audit: ignore-next-line[AGR103, AGR104] again
            c = out.gazing_pos % 265
            d = out.gazing_pos % 265  # autogaze-audit: ignore[AGR111] wrong rule
        """,
    )
    assert state(audit) == [
        ("AGR101", 1, None),
        ("AGR104", 2, "measured"),
        ("AGR104", 6, "measured too"),
        ("AGR104", 8, "again"),
        ("AGR104", 9, None),
        ("AGR901", 9, None),
    ]
    assert [f.rule for f in audit.counted()] == ["AGR101", "AGR104", "AGR901"]


def test_blocks_and_files(tmp_path: Path) -> None:
    audit = audit_of(
        tmp_path,
        """\
        // autogaze-audit: ignore-file[AGR109] padding is handled by the caller
        const a = out.gazingPos[1] % 265;
        /* autogaze-audit: off old viewer */
        const b = out.gazingPos[1] % 265;
        // autogaze-audit: on
        const c = out.gazingPos[1] % 265;
        // autogaze-audit: off to the end
        const d = out.gazingPos[1] % 265;
        """,
        "a.ts",
    )
    assert state(audit) == [
        ("AGR104", 2, None),
        ("AGR109", 2, "padding is handled by the caller"),
        ("AGR104", 4, "old viewer"),
        ("AGR104", 6, None),
        ("AGR104", 8, "to the end"),
    ]


def test_a_file_comment_has_to_stand_near_the_top(tmp_path: Path) -> None:
    text = "\n" * 30 + "# autogaze-audit: ignore-file[AGR1] late\na = out['gazing_pos'] % 265\n"
    assert [f.rule for f in audit_of(tmp_path, text).counted()] == ["AGR901", "AGR104", "AGR109"]


def test_reasons(tmp_path: Path) -> None:
    audit = audit_of(
        tmp_path,
        """\
        a = out['gazing_pos'] % 265, if_padded_gazing  # autogaze-audit: ignore[AGR104]
        b = out['gazing_pos'] % 265  # autogaze-audit: ignore
        c = out['gazing_pos'] % 265  # autogaze-audit: ignore[] all of it
        """,
    )
    assert state(audit) == [
        ("AGR101", 1, None),
        ("AGR104", 1, ""),
        ("AGR900", 1, None),
        ("AGR104", 2, None),
        ("AGR900", 2, None),
        ("AGR104", 3, "all of it"),
    ]


def test_the_function_name_or_the_line_above_its_decorators(tmp_path: Path) -> None:
    audit = audit_of(
        tmp_path,
        """\
        # autogaze-audit: ignore[AGR101,AGR109] oracle
        @cached
        @other
        def f(out):
            return out.gazing_pos % 265, out.num_gazing_each_frame
        """,
    )
    assert state(audit) == [
        ("AGR101", 4, "oracle"), ("AGR109", 4, "oracle"), ("AGR104", 5, None)
    ]  # fmt: skip


def test_strings_do_not_suppress(tmp_path: Path) -> None:
    text = "a = out['gazing_pos'] % 265; b = '# autogaze-audit: ignore[AGR1] no'\n"
    assert {f.suppressed for f in audit_of(tmp_path, text).findings} == {None}


def test_a_suppression_of_a_rule_that_did_not_run_is_not_unused(tmp_path: Path) -> None:
    text = (
        "# autogaze-audit: ignore-file[AGR201] this is the helper\n"
        "a = out['gazing_pos'] % 265  # autogaze-audit: ignore[AGR104,AGR109] yes\n"
    )
    audit = audit_of(tmp_path, text, exclude_rules=("AGR104",))
    assert [(f.rule, f.suppressed) for f in audit.findings] == [("AGR109", "yes")]


CODE = """\
def f(out, if_padded_gazing):
    a = out.gazing_pos % 265  # why
    a = out.gazing_pos % 265
    return a
"""


def prints(tmp_path: Path, text: str, name: str = "a.py") -> list[str]:
    return [f.fingerprint for f in audit_of(tmp_path, text, name).findings if f.rule == "AGR104"]


def test_fingerprints_stay_when_code_moves(tmp_path: Path) -> None:
    first, second = prints(tmp_path, CODE)
    assert first != second, "equal lines of a scope are told apart"
    assert len(first) == 32
    assert prints(tmp_path, "\n\nimport x\n" + CODE) == [first, second]
    assert prints(tmp_path, CODE.replace("  # why", "").replace("=", " =  ")) == [first, second]
    assert prints(tmp_path, CODE.replace("  # why", "    # because")) == [first, second]
    assert prints(tmp_path, CODE.replace("def f", "def g"))[0] != first


def test_the_fingerprint_is_the_hash_of_what_the_specification_lists(tmp_path: Path) -> None:
    from hashlib import sha256

    text = "AGR104\na.py\nf\na = out.gazing_pos % 265\n0"
    assert prints(tmp_path, CODE)[0] == sha256(text.encode()).hexdigest()[:32]


def test_baseline(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    known = tmp_path / "known.json"
    audit = audit_of(root, CODE)
    write_baseline(known, audit.findings)
    document = json.loads(known.read_text())
    assert (document["version"], document["tool"]) == (1, "autogaze-audit")
    assert set(document["findings"][0]) == {"rule", "path", "fingerprint", "line", "message"}
    again = run_audit([root], AuditSettings(baseline=known))
    assert {f.baseline for f in again.findings} == {"unchanged"}
    assert (again.counted(), again.exit_code("note"), again.fixed) == ([], 0, [])
    changed = CODE.replace("    a = out.gazing_pos % 265\n", "    b = out.gazing_pos // 265\n")
    after = audit_of(root, changed, baseline=known)
    assert [f.line for f in after.counted()] == [3]
    assert [entry["line"] for entry in after.fixed] == [3]
    assert after.exit_code("error") == 1


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"version": 2, "tool": "autogaze-audit", "findings": []}',
        '{"version": 1, "tool": "other", "findings": []}',
        '{"version": 1, "tool": "autogaze-audit", "findings": [{"rule": "AGR104"}]}',
        '{"version": 1, "tool": "autogaze-audit"}',
    ],
)  # fmt: skip
def test_a_damaged_baseline_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(FormatError, match=r"known\.json"):
        read_baseline(tmp_path / "known.json")


def test_a_baseline_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_baseline(tmp_path / "nowhere" / "known.json", [])
