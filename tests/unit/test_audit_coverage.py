"""What is not analysed is said, and no file can hold up an audit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autogaze_cli.audit.audit import Audit, run_audit
from autogaze_cli.audit.ignores import Ignores
from autogaze_cli.audit.reading import write_whole
from autogaze_cli.audit.reports import json_text, summary, text_lines
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import ConfigError, OutputError

BAD = "ids = out['gazing_pos'] % 265\n"
LINES = {
    "py": BAD,
    "rs": "fn f(o: &O) { let a = o.gazing_pos[1] % 265; }\n",
    "js": "const a = o.gazingPos[1] % 265;\n",
    "ts": "const a = o.gazingPos[1] % 265;\n",
    "cpp": "int a = o.gazing_pos[1] % 265;\n",
    "go": "package a\nvar x = out.GazingPos[1] % 265\n",
}


def audit_of(root: Path, files: dict[str, str | bytes], **settings: object) -> Audit:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return run_audit([root], AuditSettings(**settings))  # type: ignore[arg-type]


def test_a_long_line_beside_code_hides_nothing(tmp_path: Path) -> None:
    audit = audit_of(tmp_path, {"icon.py": f'ICON = "{"A" * 6400}"\n{BAD}'})
    assert {f.line for f in audit.findings} == {2}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    audit = audit_of(tmp_path, {"a.py": mark + BAD.encode(encoding)})
    assert [f.column for f in audit.findings if f.rule == "AGR104"] == [25]


def test_settings_and_baselines_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".autogaze-audit.toml").write_bytes('tests = "skip"\n'.encode("utf-8-sig"))
    assert AuditSettings().with_config(tmp_path).tests == "skip"
    known = tmp_path / "known.json"
    document = {"version": 1, "tool": "autogaze-audit", "findings": []}
    known.write_bytes(json.dumps(document).encode("utf-16"))
    assert audit_of(tmp_path, {"a.py": BAD}, baseline=known).has_baseline


def test_notebooks_of_format_3_and_large_outputs(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "language": "python", "input": [BAD], "outputs": []}
    old = {"nbformat": 3, "worksheets": [{"cells": [cell]}]}
    large = {"cells": [{"cell_type": "code", "source": BAD, "outputs": ["A" * 3_000_000]}]}
    files = {"old.ipynb": json.dumps(old), "large.ipynb": json.dumps(large)}
    audit = audit_of(tmp_path, files)  # type: ignore[arg-type]
    assert {f.path for f in audit.findings} == {"old.ipynb", "large.ipynb"}
    assert audit.coverage.gaps() == 0


def test_what_is_left_out_is_counted_and_said(tmp_path: Path) -> None:
    audit = audit_of(
        tmp_path,
        {
            "a.py": "x = 1\n", "zero.py": b"gazing_pos\0", "big.py": "#" * 300,
            "cut.py": "x = )(\n" + BAD, "b.ipynb": "{gazing_pos", "a.min.js": "",
            "out/c.py": BAD, "no.rs": "", ".gitignore": "no.*",
        },
        max_file_size_bytes=200,
    )  # fmt: skip
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    assert audit.coverage.skipped == {
        "binary": 1, "too large": 1, "generated": 1, "build folder": 1, "ignored by git": 1
    }  # fmt: skip
    assert audit.coverage.failed == {"unparsed": 1, "parsed in part": 1}
    assert audit.coverage.analysed == 2
    assert summary(audit).endswith(
        "of 2 files (0 suppressed, 0 in baseline); 5 skipped (1 binary, 1 build folder, "
        "1 generated, 1 ignored by git, 1 too large), 2 failed (1 parsed in part, 1 unparsed)"
    )
    document = json.loads(json_text(audit, show_suppressed=False, exit_code=1))
    assert document["failed"] == {"unparsed": 1, "parsed in part": 1}
    assert document["files_skipped"] == 5
    assert audit.exit_code("never") == 2, "of b.ipynb nothing was analysed"
    assert audit.exit_code("never", strict_coverage=True) == 1


def test_what_was_not_analysed_never_counts_as_clean(tmp_path: Path) -> None:
    skipped = audit_of(tmp_path / "a", {"a.py": "", "big.py": "#" * 300}, max_file_size_bytes=200)
    partly = audit_of(tmp_path / "b", {"a.py": "", "cut.py": "x = )( # gazing_pos\n"})
    for audit in (skipped, partly):
        codes = [audit.exit_code("error", strict_coverage=strict) for strict in (False, True)]
        assert codes == [0, 1]
    failed = audit_of(tmp_path / "c", {"a.py": "", "b.ipynb": "{gazing_pos"})
    assert failed.exit_code("error", exit_zero=True) == 2


def test_strict_coverage_accepts_what_was_asked_for(tmp_path: Path) -> None:
    files = {"a.py": "", "old/b.py": BAD, "out/c.py": BAD, "d.rs": ""}
    audit = audit_of(tmp_path, files, exclude=("old/",), languages=("python",))  # type: ignore[arg-type]
    assert audit.coverage.skipped.total() == 3
    assert audit.exit_code("note", strict_coverage=True) == 0


def test_nothing_analysed_is_no_clean_bill(tmp_path: Path) -> None:
    audit = audit_of(tmp_path, {"README.md": "gazing_pos"})
    assert audit.exit_code("never", exit_zero=True) == 2
    assert summary(audit) == "nothing was analysed: no source files there"
    named = run_audit([tmp_path / "README.md"], AuditSettings())
    assert summary(named) == "nothing was analysed: 1 skipped (1 unknown language)"


def test_names_that_are_not_utf8_and_escape_sequences(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m.py")
    audit = audit_of(tmp_path, {name: BAD.rstrip() + "  # \x1b[2J\n"})
    text = "\n".join(
        "".join(part for part, _ in line) for line in text_lines(audit, show_suppressed=True)
    )
    assert "caf\\xe9" in text
    assert json_text(audit, show_suppressed=True, exit_code=1).isascii()


@pytest.mark.parametrize("suffix", LINES)
@pytest.mark.parametrize("attack", ["'", '"', "`", "' ", "([{", "random", "functions"])
def test_hostile_files_end_in_time(tmp_path: Path, suffix: str, attack: str) -> None:
    text = LINES[suffix] + attack * 20_000
    if attack == "random":
        chance = random.Random(1)
        text = LINES[suffix] + "".join(map(chr, chance.choices(range(1, 256), k=40_000)))
    elif attack == "functions":
        text = LINES[suffix] + LINES[suffix].removeprefix("package a\n") * 1000
    begin = time.monotonic()
    audit = audit_of(tmp_path, {f"a.{suffix}": text}, file_time_limit_s=4.0)
    assert time.monotonic() - begin < 12
    assert audit.findings or audit.coverage.gaps()


def test_a_file_of_damage_deep_inside_takes_no_longer(tmp_path: Path) -> None:
    """Its parser searches the node that a missing part is in from the root, 0.2 s each time."""
    text = "int gazing_pos;\nvoid f() {\n    if" + "<script>" * 5000 + "\n}\n"
    audit = audit_of(tmp_path, {"a.cpp": text}, file_time_limit_s=4.0)
    assert audit.coverage.failed == {"parsed in part": 1}


def test_no_parser_takes_the_memory_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int gazing_pos;\n" + "()=>\n" * 6000)  # 8 GB, left alone
    (tmp_path / "b.py").write_text(BAD)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    done = subprocess.run(
        [sys.executable, "-c", f"{limit}from autogaze_cli.cli.main import cli; cli()",
         "audit-readout", tmp_path, "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert {finding["path"] for finding in report["findings"]} == {"b.py"}
    assert [notice["path"] for notice in report["notices"]] == ["a.c"]
    assert done.returncode == 1


def test_a_name_is_no_command_to_a_ci_server(tmp_path: Path) -> None:
    name = "::error file=x::owned.py"
    (tmp_path / name).write_text(f"{BAD.rstrip()}  # ##vso[task.setvariable]x\n")
    done = subprocess.run(
        [sys.executable, "-m", "autogaze_cli", "audit-readout", tmp_path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("\\x3a:error file=x::owned.py:1:")
    assert not any(line.lstrip().startswith("::") or "##vso[" in line for line in lines)


def test_a_file_that_takes_too_long_is_reported(tmp_path: Path) -> None:
    files = {"a.py": BAD * 20_000, "b.py": BAD}
    audit = audit_of(tmp_path, files, file_time_limit_s=0.1)  # type: ignore[arg-type]
    assert audit.coverage.failed == {"timed out": 1}
    assert (audit.exit_code("error"), audit.exit_code("never")) == (1, 2)
    assert {f.path for f in audit.findings} == {"b.py"}


def test_a_parser_that_crashes_takes_one_file_with_it(tmp_path: Path) -> None:
    blocks = "".join(f"{' ' * n}if x:\n" for n in range(700))  # more than the grammar can keep
    files = {"a.py": blocks + " " * 700 + BAD, "b.py": BAD}
    audit = audit_of(tmp_path, files)  # type: ignore[arg-type]
    assert {f.path for f in audit.findings} >= {"b.py"}
    assert {f.path for f in audit.findings} | {n.path for n in audit.notices} == set(files)


def test_any_number_of_processes_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(BAD.replace("265", str(n)) for n in range(2, 300))
    files = {f"{n}.py": text + BAD for n in range(5)}
    alone = audit_of(tmp_path, files)  # type: ignore[arg-type]
    monkeypatch.setattr("autogaze_cli.audit.workers._WORTHWHILE_BYTES", 0)
    assert run_audit([tmp_path], AuditSettings()).findings == alone.findings != []


def test_code_nested_a_thousand_deep(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.py": f"x = {'[' * 1000}out['gazing_pos'] % 265{']' * 1000}\n",
        "b.js": f"{'f(' * 1000}o.gazingPos[1] % 265{')' * 1000}",
        "c.cpp": f"int f(O o) {{ {'{' * 1000} o.gazing_pos[1] % 265; {'}' * 1000} }}",
        "d.py": f"{BAD}x = {'[' * 20000}{']' * 20000}\n",
    }
    audit = audit_of(tmp_path, files)
    seen = {f.path for f in audit.findings}
    left_out = {notice.path for notice in audit.notices}
    assert seen | left_out == set(files)
    assert {"a.py", "d.py"} <= seen


def test_twenty_thousand_comments(tmp_path: Path) -> None:
    line = "out['gazing_pos'] % 265  # autogaze-audit: ignore[AGR1] ok\n"
    text = line * 1000 + "# autogaze-audit: ignore[AGR104] ok\n" * 20_000 + BAD
    begin = time.monotonic()
    audit = audit_of(tmp_path, {"a.py": text})
    assert time.monotonic() - begin < 20
    assert all(f.suppressed == "ok" for f in audit.findings if f.rule == "AGR104")


def test_folders_nested_a_thousand_deep(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("a.py", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(file, BAD.encode())
    try:
        assert len(audit_of(tmp_path, {}).findings) > 0
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # too deep for pytest


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*a" * 12 + "b", "a" * 250, None),
        ("**/" * 20 + "x", "a/" * 1500 + "y", None),
        ("**/" * 20 + "x", "a/" * 1500 + "x", True),
        ("*a" * 100, "a" * 250, True),
        ("[a-z]*" * 20 + "!", "a" * 250, None),
    ],
)
def test_no_pattern_goes_back_over_a_name(pattern: str, name: str, expected: bool | None) -> None:
    begin = time.monotonic()
    assert Ignores.read([pattern]).match(name, folder=False) is expected
    assert time.monotonic() - begin < 0.5


@pytest.mark.parametrize(
    "text", ["a." * 50_000 + "a = 1", "x = " + "[" * 5000 + "]" * 5000, "x = " + "{a=" * 3000 + "1"]
)
def test_hostile_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert AuditSettings().with_config(tmp_path) == AuditSettings(), "it holds nothing of ours"
    (tmp_path / ".autogaze-audit.toml").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        AuditSettings().with_config(tmp_path)


def test_a_broken_project_file_without_our_table_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("{% if x %}\nname = {{ name }}\n")
    assert AuditSettings().with_config(tmp_path) == AuditSettings()
    (tmp_path / "pyproject.toml").write_text("[tool.autogaze.audit]\ntests = \n")
    with pytest.raises(ConfigError, match="TOML"):
        AuditSettings().with_config(tmp_path)


def test_devices_and_pipes_are_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".gitignore")
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("Cargo.toml", "pyproject.toml", ".gitmodules", "b.py"):
        (tmp_path / name).symlink_to("/dev/zero")
    audit = audit_of(tmp_path, {"a.py": BAD}, require_helpers=True)
    assert {f.path for f in audit.findings} == {"a.py"}
    assert audit.coverage.skipped == {"special file": 1, "link": 1}
    assert run_audit([tmp_path / "pipe.py"], AuditSettings()).coverage.failed == {"unreadable": 1}


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    write_whole(target, "new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o22))
    with pytest.raises(OutputError, match="nowhere"):
        write_whole(tmp_path / "nowhere/report.json", "new")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    write_whole(Path("/dev/null"), "new")
    for special, says in {
        Path("/dev/full"): "No space left",
        tmp_path / "pipe": "No such device",  # nobody reads it
        tmp_path / "to-pipe": "No such device",
        tmp_path: "Is a directory",
    }.items():
        with pytest.raises(OutputError, match=f"cannot be written: {says}"):
            write_whole(special, "new")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "to-pipe", "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_whole(link, "newer")
    assert (link.is_symlink(), target.read_text()) == (True, "newer")
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "link.json", "pipe", "report.json", "to-pipe",
    ]  # fmt: skip
