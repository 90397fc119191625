"""``autogaze audit-readout`` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from autogaze_cli.audit.fixes import Rewrite
from autogaze_cli.audit.fixes import fix as fixed_text
from autogaze_cli.audit.rules import RULES

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]

FIXTURES = Path(__file__).parents[2] / "fixtures" / "audit"
SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "sarif-2.1.0.json").read_text())
BAD = "def f(out, if_padded_gazing):\n    return out.gazing_pos - frame * TOKENS_PER_FRAME\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one decoder in ``src/a.py``."""
    folder = tmp_path / "repo"
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.py").write_text(BAD)
    (folder / "src/b.py").write_text("x = 1\n")
    return folder


def sarif(text: str) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(text)
    Draft4Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    return dict(run)


def test_text(run: Run, root: Path) -> None:
    result = run("audit-readout", root)
    assert result.exit_code == 1
    lines = result.stdout.split("\n")
    assert lines[0].startswith("src/a.py:1:5: error AGR101 local-decoder: `f` decodes")
    assert lines[1] == "    code: def f(out, if_padded_gazing):"
    assert lines[2].startswith("    fix: generated_to_frame_readout_tokens")
    assert "    src/a.py:2:27: computes with an id" in lines
    assert any(line.startswith("src/a.py:2:27: error AGR103 frame-offset") for line in lines)
    counts = "2 errors, 0 warnings, 0 notes in 1 of 2 files"
    assert lines[-2] == f"{counts} (0 suppressed, 0 in baseline)"
    assert result.stderr == ""


def test_a_clean_tree(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    result = run("audit-readout", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "no local AutoGaze token math in 1 file\n")
    log = sarif(run("audit-readout", tmp_path, "--format", "sarif").stdout)
    assert log["results"] == []
    assert len(log["tool"]["driver"]["rules"]) == len(RULES)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--fail-on", "error"], 1), (["--fail-on", "never"], 0), (["--exit-zero"], 0),
        (["--rule", "AGR109"], 0),
        (["--severity", "AGR101=note", "--severity", "AGR103=warning"], 1),
        (["--severity", "AGR101=off", "--severity", "AGR103=note"], 0), (["--exclude", "src/"], 2),
        (["--severity", "AGR101=off", "--severity", "AGR103=note", "--fail-on", "note"], 1),
        (["--include", "*.rs"], 2), (["--language", "rust"], 2), (["--exclude", "src/a.py"], 0),
        (["--tests", "same"], 1),
        (["--rule", "AGR9x"], 2), (["--severity", "AGR101"], 2), (["--fail-on", "loud"], 2),
        (["--baseline", "nowhere.json"], 2), (["--output", "/nowhere/at/all"], 2), (["gone"], 2),
        (["--exit-zero", "gone"], 2),
    ],
)  # fmt: skip
def test_exit_codes(run: Run, root: Path, arguments: list[str], code: int) -> None:
    result = run("audit-readout", root, *arguments)
    assert result.exit_code == code, result.output
    if code == 2:
        assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)


def test_no_path_is_a_usage_error(run: Run) -> None:
    result = run("audit-readout")
    assert (result.exit_code, result.stdout) == (2, "")


def test_notices_go_to_stderr(run: Run, root: Path) -> None:
    (root / "src/b.py").write_text("x = )( gazing_pos\n")
    result = run("audit-readout", root)
    assert result.stderr.startswith("Warning: src/b.py: line 1 could not be parsed")
    quiet = run("audit-readout", root, "--quiet")
    assert quiet.stderr == ""
    assert all(re.match(r"src/a\.py:\d+:\d+: error ", line) for line in quiet.stdout.splitlines())


def test_output_file(run: Run, root: Path, tmp_path: Path) -> None:
    result = run("audit-readout", root, "--format", "json", "--output", tmp_path / "report.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads((tmp_path / "report.json").read_text())["files_scanned"] == 2


def test_json(run: Run, root: Path) -> None:
    (root / "src/b.py").write_text("y = gazing_pos % 265  # autogaze-audit: ignore[AGR1] é ok\n")
    result = run("audit-readout", root, "--format", "json")
    document = json.loads(result.stdout)
    assert result.stdout == json.dumps(document, sort_keys=True, indent=2) + "\n"
    assert list(document) == [
        "failed", "files_failed", "files_scanned", "files_skipped", "findings", "fixed", "notices",
        "roots", "skipped", "summary", "tool", "version",
    ]  # fmt: skip
    assert document["roots"] == [str(root)]
    finding = document["findings"][1]
    assert finding | {"message": "", "fingerprint": "", "related": []} == {
        "rule": "AGR103", "name": "frame-offset-subtraction", "level": "error", "path": "src/a.py",
        "line": 2, "column": 27, "end_line": 2, "end_column": 53, "message": "",
        "replacement": ["generated_to_frame_readout_tokens", "generated_frame_readout_tokens",
                        "trace_to_frame_readout_tokens"],
        "scope": "f", "snippet": "    return out.gazing_pos - frame * TOKENS_PER_FRAME",
        "test": False, "fingerprint": "", "suppressed": None, "baseline": None, "related": [],
    }  # fmt: skip
    assert document["summary"] == {
        "levels": {"note": 0, "warning": 0, "error": 2}, "rules": {"AGR101": 1, "AGR103": 1},
        "suppressed": 2, "baseline": 0, "exit_code": 1,
    }  # fmt: skip
    shown = json.loads(run("audit-readout", root, "--format", "json", "--show-suppressed").stdout)
    hidden = [f for f in shown["findings"] if f["suppressed"]]
    assert [f["suppressed"] for f in hidden] == [{"kind": "inSource", "reason": "é ok"}] * 2
    text = run("audit-readout", root, "--show-suppressed").stdout
    assert "[suppressed: é ok]" in text
    assert "(2 suppressed, 0 in baseline)" in text


def test_sarif(run: Run, root: Path, tmp_path: Path) -> None:
    (root / "ü b.py").write_text("y = gazing_pos % 265  # autogaze-audit: ignore[AGR104] ok\n")
    (root / "src/b.py").write_text("x = )( gazing_pos\n")
    result = run("audit-readout", root, "--format", "sarif")
    log = sarif(result.stdout)
    assert json.loads(result.stdout)["$schema"] == "https://json.schemastore.org/sarif-2.1.0.json"
    driver = log["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in RULES]
    assert driver["rules"][2]["name"] == "FrameOffsetSubtraction"
    assert driver["rules"][2]["properties"]["precision"] == "high"
    assert log["columnKind"] == "unicodeCodePoints"
    assert log["originalUriBaseIds"] == {
        "%SRCROOT%": {"description": {"text": "The folder that was audited."}}
    }
    assert log["invocations"][0]["executionSuccessful"] is True
    assert log["invocations"][0]["exitCode"] == 1
    assert "src/b.py" in log["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    results = log["results"]
    for entry in results:
        assert driver["rules"][entry["ruleIndex"]]["id"] == entry["ruleId"]
        assert set(entry["partialFingerprints"]) == {"autogazeAudit/v1"}
        assert "baselineState" not in entry
    (subtraction,) = [entry for entry in results if entry["ruleId"] == "AGR103"]
    assert subtraction["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "src/a.py", "uriBaseId": "%SRCROOT%"},
        "region": {
            "startLine": 2, "startColumn": 27, "endLine": 2, "endColumn": 53,
            "snippet": {"text": "    return out.gazing_pos - frame * TOKENS_PER_FRAME"},
        },
    }  # fmt: skip
    (hidden,) = [entry for entry in results if entry.get("suppressions")]
    assert hidden["suppressions"] == [{"kind": "inSource", "justification": "ok"}]
    uri = hidden["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "%C3%BC%20b.py"
    assert str(tmp_path) not in result.stdout


def test_sarif_with_a_baseline(run: Run, root: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    written = run("audit-readout", root, "--write-baseline", known)
    assert written.exit_code == 0
    again = run("audit-readout", root, "--baseline", known)
    assert (again.exit_code, again.stdout) == (
        0,
        "no local AutoGaze token math in 2 files (0 suppressed, 2 in baseline)\n",
    )
    (root / "src/a.py").write_text(BAD.replace("frame *", "t *"))
    result = run("audit-readout", root, "--baseline", known, "--format", "sarif")
    states = sorted((e["ruleId"], e["baselineState"]) for e in sarif(result.stdout)["results"])
    assert states == [("AGR101", "unchanged"), ("AGR103", "absent"), ("AGR103", "new")]
    assert result.exit_code == 1
    text = run("audit-readout", root, "--baseline", known).stdout
    assert text.endswith("(0 suppressed, 1 in baseline, 1 fixed since)\n")
    (root / "src/a.py").write_text("")
    assert run("audit-readout", root, "--baseline", known).exit_code == 0


def test_the_baseline_of_the_project_file_is_written_and_read(run: Run, root: Path) -> None:
    (root / ".autogaze-audit.toml").write_text('baseline = "known.json"\n')
    assert run("audit-readout", root).exit_code == 2, "it is not there yet"
    for _ in range(2):
        assert run("audit-readout", root, "--write-baseline", root / "known.json").exit_code == 0
        assert run("audit-readout", root).exit_code == 0
    assert len(json.loads((root / "known.json").read_text())["findings"]) == 2


def test_the_fixtures_as_sarif(run: Run) -> None:
    log = sarif(run("audit-readout", FIXTURES, "--format", "sarif").stdout)
    assert len(log["results"]) > 30
    assert {"id": 1}.items() <= log["results"][2]["relatedLocations"][0].items()


def test_the_same_bytes_in_every_run(root: Path) -> None:
    outputs = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "autogaze_cli", "audit-readout", FIXTURES, "--format", "sarif"],
            capture_output=True,
            check=False,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"},
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 1, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_colours(run: Run, root: Path) -> None:
    plain = run("audit-readout", root).stdout
    assert "\x1b[" not in plain
    coloured = run("audit-readout", root, "--color", "always").stdout
    assert "\x1b[1;31merror" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_rules_are_listed_and_explained(run: Run) -> None:
    listed = run("audit-readout", "--list-rules")
    assert listed.exit_code == 0
    assert len(listed.stdout.splitlines()) == len(RULES)
    explained = run("audit-readout", "--explain", "AGR104")
    assert explained.exit_code == 0
    assert explained.stdout.startswith("AGR104 frame-vocabulary-division (error)\n")
    assert run("audit-readout", "--explain", "AGR999").exit_code == 2


def test_a_project_file_and_the_command_line(run: Run, root: Path) -> None:
    (root / ".autogaze-audit.toml").write_text('exclude = ["src/"]\ntests = "skip"\n')
    nothing = run("audit-readout", root)
    assert nothing.exit_code == 2
    assert nothing.stdout == "nothing was analysed: 1 skipped (1 excluded)\n"
    patch = run("audit-readout", root, "--diff")
    assert (patch.exit_code, patch.stdout) == (2, "")
    assert patch.stderr == "Error: nothing was analysed: 1 skipped (1 excluded)\n"
    (root / ".autogaze-audit.toml").write_text('tests = "skip"\n')
    (root / "test_a.py").write_text(BAD)
    assert "test_a.py" not in run("audit-readout", root).stdout
    assert "test_a.py" in run("audit-readout", root, "--tests", "note").stdout


def test_require_helpers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("ids = out['gazing_pos']\n")
    result = run("audit-readout", tmp_path, "--require-helpers")
    assert result.exit_code == 1
    assert "missing: generated_to_frame_readout_tokens (tokens of each frame)" in result.stdout


def test_check_patch(run: Run, root: Path, tmp_path: Path) -> None:
    patch = tmp_path / "move.patch"
    patch.write_text("--- a/src/b.py\n+++ b/src/b.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n")
    applies = run("audit-readout", root, "--check-patch", patch)
    assert (applies.exit_code, applies.stdout) == (0, f"{patch} applies to {root}\n")
    assert (root / "src/b.py").read_text() == "x = 1\n"
    (root / "src/b.py").write_text("x = 2\n")
    fails = run("audit-readout", root, "--check-patch", patch)
    assert fails.exit_code == 1
    assert fails.stdout.endswith(f"{patch} does not apply to {root}\n")
    assert run("audit-readout", root, "--check-patch", tmp_path / "gone").exit_code == 2
    assert run("audit-readout", root, root, "--check-patch", patch).exit_code == 2


def test_the_profile_of_the_reference(run: Run, root: Path) -> None:
    result = run("audit-readout", root, "--profile", "burn-jepa")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "expected a burn_jepa checkout" in result.stderr


def test_the_pre_commit_hook_runs_this_command() -> None:
    text = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text()
    assert re.search(r"^  entry: autogaze audit-readout$", text, re.MULTILINE)
    assert "pass_filenames: false" in text
    for suffix in ("rust", "python", "go"):
        assert suffix in text


def test_the_command_prints_a_patch_or_rewrites(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    before = (FIXTURES / "fixes.txt").read_text().split("=== per_frame_tuples\n")[1].split("===")[0]
    file.write_text(before)
    file.chmod(0o755)
    patch = run("audit-readout", tmp_path, "--diff")
    assert (patch.exit_code, file.read_text()) == (0, before)
    (tmp_path / "move.patch").write_text(patch.stdout)
    assert run("audit-readout", tmp_path, "--check-patch", tmp_path / "move.patch").exit_code == 0
    fixed = run("audit-readout", tmp_path, "--fix")
    assert fixed.exit_code == 0, fixed.stdout
    assert file.read_text() == fixed_text(before, ["decode"])
    assert file.stat().st_mode & 0o777 == 0o755


def test_ends_of_lines_form_feeds_and_read_only_files_stay(run: Run, tmp_path: Path) -> None:
    before = (FIXTURES / "fixes.txt").read_text().split("=== per_frame_tuples\n")[1].split("===")[0]
    odd = before.replace("Cells", "Cells \x85\u2028\f").encode()
    (tmp_path / "crlf.py").write_bytes(odd.replace(b"\n", b"\r\n"))
    (tmp_path / "kept.py").write_text(before)
    (tmp_path / "kept.py").chmod(0o444)
    patch = tmp_path / "move.patch"
    patch.write_bytes(run("audit-readout", tmp_path / "crlf.py", "--diff").stdout_bytes)
    assert run("audit-readout", tmp_path, "--check-patch", patch).exit_code == 0
    fixed = run("audit-readout", tmp_path, "--fix")
    assert "kept.py: not rewritten: it is read-only" in fixed.stderr
    assert (tmp_path / "kept.py").read_text() == before
    text = fixed_text(odd.decode(), ["decode"]).encode()
    assert b"generated_to_fixation_sets" in text
    assert (tmp_path / "crlf.py").read_bytes() == text.replace(b"\n", b"\r\n")


def test_gaps_and_lost_reports(run: Run, root: Path) -> None:
    (root / "src/b.py").write_bytes(b"gazing_pos\0")
    clean = run("audit-readout", root, "--exit-zero")
    assert clean.exit_code == 0
    assert clean.stdout.endswith(
        "in 1 of 1 file (0 suppressed, 0 in baseline); 1 skipped (1 binary)\n"
    )
    assert run("audit-readout", root, "--exit-zero", "--strict-coverage").exit_code == 1
    log = sarif(run("audit-readout", root, "--format", "sarif").stdout)
    assert log["invocations"][0]["properties"]["skipped"] == {"binary": 1}
    command = [sys.executable, "-m", "autogaze_cli", "audit-readout", str(root)]
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert closed.returncode == 2
    assert "the report is lost" in closed.stderr


@pytest.mark.parametrize("option", ["--output", "--write-baseline"])
def test_what_takes_nothing_is_not_waited_for(tmp_path: Path, option: str) -> None:
    (tmp_path / "a.py").write_text("ids = out['gazing_pos'] % 265\n")
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/full", str(tmp_path / "pipe")):
        command = [sys.executable, "-m", "autogaze_cli", "audit-readout", str(tmp_path / "a.py")]
        done = subprocess.run(
            [*command, option, place], capture_output=True, check=False, text=True, timeout=60,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{place}: cannot be written: No s" in done.stderr  # space, or reader


def test_hostile_names_stay_on_their_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n.py").write_text(
        "ids = out['gazing_pos'] % 265  # \x1b[2J\x1b]0;x\x07\n"
    )
    for arguments in ([], ["--quiet"], ["--format", "json"], ["--format", "sarif"]):
        text = run("audit-readout", tmp_path, *arguments).stdout
        assert not set(text) & set("\x1b\x07\x9b")
    lines = run("audit-readout", tmp_path, "--quiet").stdout.splitlines()
    assert {line.split(" ")[0] for line in lines} == {"a\\x1b[31m\\n.py:1:25:"}


MARKS = ("##vso[task.x].py", "##[error]x.py", "##teamcity[x].py", "\u202egpj.py", "::error::x.py")


def test_no_ci_server_takes_a_name_for_a_command(run: Run, tmp_path: Path) -> None:
    for name in MARKS:
        (tmp_path / name).write_text("ids = out['gazing_pos'] % 265\n")
    for arguments in ([], ["--json"], ["--jsonl"], ["--format", "sarif"]):
        text = run("audit-readout", tmp_path, *arguments).stdout
        for mark in ("##vso[", "##[", "##teamcity[", "\u202e", "\n::"):
            assert mark not in text
    found = json.loads(run("audit-readout", tmp_path, "--json").stdout)["findings"]
    assert {finding["path"] for finding in found} == set(MARKS)


def test_a_patch_of_odd_names_is_one_that_git_reads(run: Run, tmp_path: Path) -> None:
    cases = (ROOT / "fixtures/audit/fixes.txt").read_text()
    before = cases.split("=== ")[1].split("\n", 1)[1]
    for name in ("a\n::error::x.py", 'b"\\.py', "caf\u00e9.py", "plain.py"):
        (tmp_path / name).write_text(before)
    made = run("audit-readout", tmp_path, "--diff").stdout
    assert "\n::error::" not in made
    done = subprocess.run(
        ["git", "apply", "--check", "-"], cwd=tmp_path, input=made, text=True, check=False,
        capture_output=True, env=os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert made.count("--- ") == 4


def test_what_changed_meanwhile_is_not_rewritten(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("new\n")
    assert Rewrite(file, "a.py", "new\n", "rewritten\n").is_current()
    assert not Rewrite(file, "a.py", "old\n", "rewritten\n").is_current()
    file.unlink()
    assert not Rewrite(file, "a.py", "new\n", "rewritten\n").is_current()


@pytest.mark.parametrize(
    "words",
    [
        ("a.py", "--output", "a.py"),
        (".", "--output", "a.py"),
        (".", "--output", "link.py"),
        (".", "--write-baseline", "pyproject.toml"),
        (".", "--output", "known.json", "--baseline", "known.json"),
        (".", "--output", "new.json", "--write-baseline", "./new.json"),
        (".", "--diff", "--output", "a.py"),
    ],
    ids=" ".join,
)
def test_nothing_that_is_read_is_written_over(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text('def f(out, t):\n    return out["gazing_pos"] - t * 265\n')
    Path("link.py").symlink_to("a.py")
    Path("pyproject.toml").touch()
    assert run("audit-readout", ".", "--write-baseline", "known.json").exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = run("audit-readout", *words)
    assert result.exit_code == 2
    assert "is a file that the audit reads or writes; name another file" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run("audit-readout", ".", "--write-baseline", "known.json").exit_code == 0
    assert run("audit-readout", ".", "--output", "report.txt").exit_code == 1
    assert run("audit-readout", ".", "--output", "report.txt").exit_code == 1
