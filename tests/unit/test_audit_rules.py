"""The pages of the rules, what is asked of a whole repository, and the settings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import autogaze_cli.readout
from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.audit import Audit, run_audit
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.reference import BENCH, check
from autogaze_cli.audit.rules import BY_ID, RULES, Rule
from autogaze_cli.audit.rules.boundary import REQUIRED_HELPERS
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
TABLE = {
    "AGR101": "e", "AGR102": "e", "AGR103": "e", "AGR104": "e", "AGR105": "e", "AGR106": "w",
    "AGR107": "w", "AGR108": "w", "AGR109": "w", "AGR110": "w", "AGR111": "w", "AGR112": "w",
    "AGR113": "n", "AGR114": "n",
    "AGR115": "w", "AGR116": "w", "AGR117": "w", "AGR118": "w",
    "AGR201": "w", "AGR202": "n", "AGR900": "n", "AGR901": "n",
}  # fmt: skip

# What has to stand around an example for its rule to see it.
AROUND = {
    "AGR102": "def local_frame_tokens(o):\n    return o.gazing_pos % 265, o.if_padded_gazing\n{}",
    "AGR106": "{}\ndef f(o):\n    return o.gazing_pos % 265, COUNTS",
    "AGR107": "{}\ndef f(o):\n    return o.gazing_pos % TOKENS_PER_FRAME",
    "AGR108": "import autogaze\n{}",
    "AGR103": "def f(out, frame):\n    {}",
    "AGR104": "def f(out):\n    {}",
    "AGR105": "import autogaze\n{}",
    "AGR110": "def f(out):\n    {}\n    return ids % 265",
    "AGR111": "def f(out):\n    for token in out.gazing_pos:\n        {}",
    "AGR112": "def f(out, frame, mask):\n    ids = out.gazing_pos\n    {}",
    "AGR113": "def f(out, frame, joined):\n    ids = out.gazing_pos\n    {}",
    "AGR114": "import autogaze\n{}",
    "AGR115": "def f(out, begin, count):\n    {}",
    "AGR116": "def f(out):\n    {}",
    "AGR117": "def f(out, scores):\n    {}",
    "AGR118": "def f(out, shift):\n    {}",
}


def test_the_rules_are_those_of_the_specification() -> None:
    assert {rule.id: rule.level[0] for rule in RULES} == TABLE
    assert len({rule.name for rule in RULES}) == len(RULES)


def indented(template: str, code: str) -> str:
    at = template.index("{}")
    indent = at - (template.rfind("\n", 0, at) + 1)
    return template.replace("{}", code.replace("\n", "\n" + " " * indent))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check], ids=lambda rule: rule.id)
def test_each_example_is_found_and_its_replacement_is_not(rule: Rule, tmp_path: Path) -> None:
    template = AROUND.get(rule.id, "{}")
    for code, expected in ((rule.example, True), (rule.better, False)):
        (tmp_path / "a.py").write_text(indented(template, code) + "\n")
        audit = run_audit([tmp_path], AuditSettings())
        assert audit.notices == []
        assert (rule.id in {f.rule for f in audit.findings}) is expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_pages_are_complete_and_name_functions_that_exist(rule: Rule) -> None:
    for part in (rule.what, rule.why, rule.example, rule.better):
        assert part.strip()
    assert rule.id in rule.text()
    assert rule.what in rule.markdown()
    if "autogaze_cli" not in rule.better:
        return
    for node in ast.walk(ast.parse(rule.better)):
        if isinstance(node, ast.ImportFrom):
            assert node.module == "autogaze_cli.readout"
            for alias in node.names:
                assert hasattr(autogaze_cli.readout, alias.name), alias.name


def test_every_helper_that_a_finding_names_can_be_called() -> None:
    homes = (
        autogaze_cli.readout,
        autogaze_cli.readout.SparseReadoutGrid,
        autogaze_cli.readout.AutoGazePipelinePacket,
    )
    others = {"num_vision_tokens_each_frame", "burn_autogaze", "autogaze-cli"}
    for rule in RULES:
        for name in {text.partition("(")[0] for text in rule.use} - others:
            assert any(hasattr(home, name) for home in homes), f"{rule.id}: {name}"


def test_the_docs_have_every_page() -> None:
    page = (DOCS / "audit.md").read_text()
    for rule in RULES:
        heading = f"### {rule.id} {rule.name} ({rule.level})\n\n{rule.markdown()}"
        assert heading in page, "run: python scripts/update_docs.py"


USES = "ids = out['gazing_pos']\n"
HELPS = "from autogaze_cli.readout import x\ny = generated_to_frame_readout_tokens(out)\n"


def repository(root: Path, files: dict[str, str], **settings: object) -> Audit:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return run_audit([root], AuditSettings(require_helpers=True, **settings))  # type: ignore[arg-type]


def test_a_repository_without_helpers_is_told_which_it_misses(tmp_path: Path) -> None:
    audit = repository(tmp_path, {"b.py": USES, "a.py": "import autogaze\n", "tests/a.py": HELPS})
    assert [(f.rule, f.path, f.line) for f in audit.findings] == [
        ("AGR201", "b.py", 1), ("AGR202", "b.py", 1)
    ]  # fmt: skip
    for name, _ in REQUIRED_HELPERS:
        assert name in audit.findings[0].message
    assert audit.exit_code("warning") == 1


@pytest.mark.parametrize("manifest", ["Cargo.toml", "pyproject.toml", "requirements.txt"])
def test_a_manifest_with_the_package(tmp_path: Path, manifest: str) -> None:
    text = "autogaze-cli>=0.1\n" if manifest.endswith("txt") else '[x]\nburn_autogaze = "1"\n'
    audit = repository(tmp_path, {"a.py": USES, manifest: text})
    assert [f.rule for f in audit.findings] == ["AGR201"]


def test_one_helper_is_enough_and_the_rule_has_to_be_asked_for(tmp_path: Path) -> None:
    assert repository(tmp_path, {"a.py": USES, "src/b.py": HELPS}).findings == []
    (tmp_path / "src/b.py").write_text(
        "import generated_to_frame_readout_tokens  # only imported\n"
    )
    assert len(run_audit([tmp_path], AuditSettings(require_helpers=True)).findings) == 2
    assert run_audit([tmp_path], AuditSettings()).findings == []


def test_a_repository_without_autogaze_needs_no_helpers(tmp_path: Path) -> None:
    assert repository(tmp_path, {"a.py": "import autogaze\nx = 1\n"}).findings == []


def test_test_code(tmp_path: Path) -> None:
    text = "def f(out):\n    return out.gazing_pos % 265\n"
    (tmp_path / "test_a.py").write_text(text)
    levels = {
        tests: {f.level for f in run_audit([tmp_path], AuditSettings(tests=tests)).findings}
        for tests in ("note", "same", "skip")
    }
    assert levels == {"note": {"note"}, "same": {"error", "warning"}, "skip": set()}


def test_rules_and_severities(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(out):\n    return out.gazing_pos % 265\n")

    def found(**settings: object) -> dict[str, str]:
        audit = run_audit([tmp_path], AuditSettings(**settings))  # type: ignore[arg-type]
        return {f.rule: f.level for f in audit.findings}

    assert found() == {"AGR104": "error", "AGR109": "warning"}
    assert found(rules=("AGR109",)) == {"AGR109": "warning"}
    assert found(rules=("AGR1",), exclude_rules=("AGR109",)) == {"AGR104": "error"}
    assert found(severity={"AGR104": "note", "AGR109": "off"}) == {"AGR104": "note"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": ("AGR7",)}, "AGR7"),
        ({"exclude_rules": ("",)}, "''"),
        ({"severity": {"AGR104": "loud"}}, "loud"),
        ({"severity": {"AGR1": "note"}}, "AGR1"),
        ({"tests": "drop"}, "drop"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        AuditSettings(**settings)  # type: ignore[arg-type]
    assert caught.value.hint


def test_a_project_may_keep_its_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.autogaze.audit]\nexclude = ["old/"]\nrules = ["AGR1"]\ntests = "same"\n'
        'baseline = "known.json"\nextra_id_names = ["looks"]\nseverity = { AGR109 = "off" }\n'
    )
    given = AuditSettings(exclude=("x",), tests="skip", severity={"AGR104": "note"})
    settings = given.with_config(tmp_path, ["tests"])
    assert settings.exclude == ("old/", "x")
    assert (settings.rules, settings.tests) == (("AGR1",), "skip")
    assert settings.baseline == tmp_path / "known.json"
    assert settings.severity == {"AGR109": "off", "AGR104": "note"}
    assert settings.names().is_ids("looks")
    file = tmp_path / "a.py"
    file.touch()
    assert given.with_config(file, ["tests"]) == settings, "the parent of a file counts"
    (tmp_path / ".autogaze-audit.toml").write_text('tests = "note"\n')
    assert AuditSettings().with_config(tmp_path).rules == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test = 'note'", "no setting is called 'test'"),
        ("exclude = 'a'", "not a list of strings"),
        ("severity = ['a']", "not a table"),
        ("tests = 3", "not a string"),
        ("tests = 'some'", "tests is 'some'"),
        ("= broken", "cannot be read as TOML"),
    ],
)
def test_a_broken_settings_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / ".autogaze-audit.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        AuditSettings().with_config(tmp_path)
    assert ".autogaze-audit.toml" in str(caught.value)


MIGRATED = (
    "use burn_autogaze::{SparseReadoutGrid, SparseVideoReadoutGrid, SparseVideoReadoutOptions};\n"
    "fn a() { generated_to_frame_readout_tokens(); generated_to_video_readout_tokens(); }\n"
)


def test_the_reference_check(tmp_path: Path) -> None:
    verdict = check(tmp_path)
    assert verdict.lines == ()
    assert verdict.error is not None
    assert verdict.error.endswith(str(tmp_path))
    bench = tmp_path / BENCH
    bench.parent.mkdir()
    bench.write_text(MIGRATED)
    (tmp_path / "Cargo.toml").write_text("burn_autogaze")
    assert check(tmp_path).error is None
    bench.write_text("// gazing_pos.first() raw_token - frame_offset SparseVideoReadoutGrid\n")
    (tmp_path / "Cargo.toml").write_text("")
    lines = check(tmp_path).lines
    assert [line.split(": ")[:2] for line in lines] == [
        ["missing", "burn_autogaze"],
        ["missing", "generated_to_frame_readout_tokens"],
        ["missing", "generated_to_video_readout_tokens"],
        ["missing", "SparseReadoutGrid"],
        ["missing", "SparseVideoReadoutOptions"],
        ["still present", "raw_token - frame_offset"],
        ["still present", "gazing_pos.first()"],
    ]
    bench.write_bytes(b"\xff")
    assert check(tmp_path).lines == ()


def test_examples_of_the_page_are_python(tmp_path: Path) -> None:
    for rule in BY_ID.values():
        if rule.check is not None:
            assert analyse("a.py", rule.example.encode(), Names()).damage == ""
