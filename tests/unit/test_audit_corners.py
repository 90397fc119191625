"""Rare forms of code: what the rules find in them, and what an evaluation gives."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.evaluate import Evaluator, UnknownError
from autogaze_cli.audit.fixes import fix, rewrites
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.patches import patch_problems
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import ConfigError, InputError

CONSTANTS = "WORDS = [1, 2, 3, 4]\ndef twice(n, *, m=2):\n    return n * m\n"


def evaluated(body: str) -> Any:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    return Evaluator(ast.parse(f"{CONSTANTS}def decode(out):\n{lines}")).call(
        "decode", {"out": {"ids": [5, 270, 600]}}
    )


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("count: int = 3\nreturn -count", -3),
        ("a, [b, c] = 1, [2, 3]\nreturn [c, b, a]", [3, 2, 1]),
        ("cells = [0, 0]\ncells[1] = 7\nreturn cells", [0, 7]),
        ("for n in WORDS:\n    if n > 2:\n        break\n    pass\nreturn n", 3),
        ("return out.ids[1:]", [270, 600]),
        ("return out['ids'][:-1]", [5, 270]),
        ("return out['ids'].tolist()", [5, 270, 600]),
        ("found = []\nfound.append(1)\nfound.extend(WORDS[1:3])\nreturn found", [1, 2, 3]),
        ("return 3 ** 2", 9),
        ("return 1 < 2 < 2", False),
        ("return 0 or 4", 4),
        ("return not out", False),
        ("return [a + b for a in WORDS for b in (10,) if a > 3]", [14]),
    ],
)
def test_what_a_function_gives(body: str, value: object) -> None:
    assert evaluated(body) == value


@pytest.mark.parametrize(
    "body",
    [
        "with out:\n    return 1",
        "global WORDS\nreturn 1",
        "out.ids = 1\nreturn out",
        "a, *b = WORDS\nreturn b",
        "a, b = WORDS\nreturn b",
        "return out.other",
        "return out['ids'].sort()",
        "return open('a')",
        "return twice(2)",
        "return list(range(20000))",
        "return WORDS * 101",
        "return (1 << 20) * (1 << 21)",
        "return 2 ** 3",
        "return WORDS @ WORDS",
        "return WORDS[::2]",
        "return decode(out)",
    ],
)
def test_what_is_not_evaluated(body: str) -> None:
    with pytest.raises(UnknownError):
        evaluated(body)


def test_arguments_without_a_value_are_unknown() -> None:
    evaluator = Evaluator(ast.parse("def decode(out, frame, side=14):\n    return side\n"))
    assert evaluator.with_defaults("decode", {"out": 1, "frame": 2})["side"] == 14
    with pytest.raises(UnknownError):
        evaluator.with_defaults("decode", {"out": 1})


def found(name: str, code: str) -> set[tuple[str, int]]:
    return {(f.rule, f.line) for f in analyse(name, code.encode(), Names()).findings}


CPP = "int {}(const Out& out, int frame) {{\n  return out.gazing_pos[0] - frame * 265;\n}}\n"


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        # C and C++: definitions behind pointers, classes and parentheses; macros; lambdas.
        ("a.cpp", CPP.format("*Walk::next"), ("AGR103", 2)),
        ("a.cpp", CPP.format("gaze::Walk::next"), ("AGR103", 2)),
        (
            "a.cpp",
            "#define TOKENS_PER_FRAME ((265))\n#define ON\n#define NAME other\n"
            "int f(Out& o, int frame) { return o.gazing_pos[0] % TOKENS_PER_FRAME; }\n",
            ("AGR107", 1),
        ),
        (
            "a.cpp",
            "void f(Out& o, int frame) {\n  auto g = [&](int id) {\n    return id - frame * 265;\n"
            "  };\n  g(o.gazing_pos[0]);\n}\n",
            ("AGR103", 3),
        ),
        (
            "a.cpp",
            "int f(Out& o) {\n  return o.template at<int>(0)\n"
            "      + o.gazing_pos.template item<int>() % 265;\n}\n",
            ("AGR104", 3),
        ),
        (
            "a.c",
            "#if 0\n#else\nint a(Out* o) {\n  return o->gazing_pos[0] % 265;\n}\n#endif\n",
            ("AGR104", 4),
        ),
        # Rust: what stands in a macro, whatever its form.
        (
            "a.rs",
            "fn f(o: &Out, frame: i64) {\n    log!(target: x => y;\n        o.gazing_pos[0]);\n"
            '    assert_eq!(1, 1);\n    println!("{}", o.gazing_pos[0] - frame * 265);\n}\n',
            ("AGR103", 5),
        ),
        (
            "a.rs",
            "fn f(o: &Out) -> Vec<i64> {\n    vec![o.gazing_pos[0] % 265]\n}\n",
            ("AGR104", 2),
        ),
        # Python.
        (
            "a.py",
            "def f(out):\n    with lock:\n        pass\n    with view(out.gazing_pos) as ids:\n"
            "        return ids % 265\n",
            ("AGR104", 5),
        ),
        (
            "a.py",
            "import autogaze\nfrom operator import itemgetter\ndef f(out):\n"
            "    ids, pads = itemgetter('gazing_pos', 'if_padded_gazing')(out)\n"
            "    return ids % 265\n",
            ("AGR104", 5),
        ),
        (
            "a.py",
            "def local(values, frame):\n    return values - frame * 265\n"
            "def f(out, frame):\n    return local(values=out.gazing_pos, frame=frame)\n",
            ("AGR103", 2),
        ),
        (
            "a.py",
            "def f(out):\n    return np.unravel_index(out.gazing_pos, (9, 265))\n",
            ("AGR104", 2),
        ),
        (
            "a.py",
            "import autogaze\ndef f(vision_tokens_per_frame):\n"
            "    return pow(vision_tokens_per_frame, 0.5)\n",
            ("AGR108", 3),
        ),
        (
            "a.py",
            "def f(out, frame, mask):\n    local = out.gazing_pos - frame * 265\n"
            "    return mask.scatter_(1, local, 1)\n",
            ("AGR112", 3),
        ),
        (
            "a.py",
            "def f(out):\n    for name, ids in [('a', out.gazing_pos)]:\n        match ids:\n"
            "            case 4: return 0\n            case 20: return 1\n"
            "            case 69: return 2\n",
            ("AGR105", 4),
        ),
        # Definitions named as the known decoders, which call no helper.
        (
            "a.py",
            "def context_mask_from_autogaze_generated(out):\n    return out.gazing_pos\n",
            ("AGR102", 1),
        ),
        # Scripts of a page: two blocks, and one that is not closed.
        (
            "a.vue",
            "<p>it % 265</p>\n<script>\nconst a = 1;\n</script>\n<script>\n"
            "const b = out.gazingPos[1] % 265;\n",
            ("AGR104", 6),
        ),
    ],
)
def test_rare_forms_that_decode_ids(name: str, code: str, expected: tuple[str, int]) -> None:
    assert expected in found(name, code)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        # Padding that is a parameter, or told apart by the caller, is not ignored.
        ("a.py", "def f(out, padded_tokens):\n    return out.gazing_pos % 265\n"),
        ("a.py", "def f(out, if_padded_gazing):\n    return out.gazing_pos % 265\n"),
    ],
)
def test_padding_as_a_parameter_is_known(name: str, code: str) -> None:
    rules = {rule for rule, _ in found(name, code)}
    assert "AGR104" in rules
    assert "AGR109" not in rules


@pytest.mark.parametrize(
    ("name", "code"),
    [
        # Calls of another arity, and numbers of other things, are no decoding.
        ("a.py", "def f(o, a):\n    ids = o.gazing_pos\n    return np.subtract(ids), np.mod(a)\n"),
        ("a.py", "def f(o):\n    return np.less(o.gazing_pos)\n"),
        ("a.py", "def f(out, kind):\n    ids = out.gazing_pos\n    match kind:\n"
                 "        case 4: return ids\n        case 20: return ids\n"),
        ("a.py", "def f(out):\n    match out.gazing_pos.shape:\n        case 4: return 1\n"),
        ("a.py", "def local(values):\n    return values % 7\n"
                 "def f(out):\n    return local(3, other=out.gazing_pos)\n"),
        ("a.rs", "fn f(o: &Out) {\n    reset!();\n    o.gazing_pos.len();\n}\n"),
        ("a.cpp", "#define TOKENS_PER_FRAME\n#define COUNT TOKENS_PER_FRAME\nint f(Out& o);\n"),
        ("a.cpp", "#if 0\n#if 1\n#else\n#endif\nint a = o.gazing_pos[0] % 265;\n#endif\n"),
    ],
)  # fmt: skip
def test_rare_forms_that_decode_nothing(name: str, code: str) -> None:
    assert found(name, code) == set()


def test_a_limit_per_frame_is_no_vocabulary() -> None:
    code = "def f(o, {}_per_frame):\n    return o.gazing_pos // {}_per_frame\n"
    assert ("AGR104", 2) in found("a.py", code.replace("{}", "ids"))
    assert ("AGR104", 2) not in found("a.py", code.replace("{}", "max"))


DECODER = (
    "def decode({}):\n    return [i % 265 for i, p in zip(\n"
    "        out['gazing_pos'][0], out['if_padded_gazing'][0]) if not p]\n"
)


@pytest.mark.parametrize(
    "arguments",
    [
        "out, *rest",
        "out, **rest",
        "out, *, side",
        "out, /",
        "self, out",
        "out, other",
        "out, config",
        "out, frame, frame_idx",
        "out, batch, batch_index",
    ],
)
def test_a_decoder_with_other_parameters_is_left_alone(arguments: str) -> None:
    assert fix(DECODER.format("out"), ["decode"]) != DECODER.format("out")
    assert fix(DECODER.format(arguments), ["decode"]) == DECODER.format(arguments)


@pytest.mark.parametrize(
    "give", ["i if i else (i,)", "(i, i) if i % 2 else (i,)", "str(i)", "i % 7 + 1000", "()"]
)
def test_a_decoder_of_other_results_is_left_alone(give: str) -> None:
    code = DECODER.format("out").replace("i % 265 for", f"{give} for")
    assert fix(code, ["decode"]) == code


@pytest.mark.parametrize("arguments", ["out, tokens_per_frame", "out, num_frames", "out, side=14"])
def test_a_decoder_that_is_given_the_vocabulary_or_the_frames(arguments: str) -> None:
    after = fix(DECODER.format(arguments), ["decode"])
    assert f"def decode({arguments}):" in after
    assert "generated_to_fixation_sets(out, config, 0)" in after


def test_an_import_after_a_docstring_alone() -> None:
    code = f'"""Cells."""\n{DECODER.format("out")}'
    assert fix(code, ["decode"]).startswith('"""Cells."""\nfrom autogaze_cli.readout import')


def test_only_python_that_changes_is_rewritten(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(DECODER.format("out"))
    (tmp_path / "b.py").write_text("def f(out):\n    return out.gazing_pos % 265\n")
    (tmp_path / "c.go").write_text("package a\nvar x = out.GazingPos[1] % 265\n")
    audit = run_audit([tmp_path], AuditSettings())
    assert {f.path for f in audit.findings} == {"a.py", "b.py", "c.go"}
    made = rewrites([tmp_path], audit.findings)
    assert [change.name for change in made] == ["a.py"]
    assert made[0].is_current()
    (tmp_path / "a.py").write_text("# changed since\n")
    assert not made[0].is_current()
    (tmp_path / "a.py").unlink()
    assert not made[0].is_current()


PATCH = "--- a/x.txt\n+++ b/x.txt\n"
ONE = "@@ -1,2 +1,2 @@\n-one\n+1\n two\n"


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ("diff --git a/x.txt b/x.txt\nGIT binary patch\n", "binary changes are not read"),
        (f"{PATCH}@@ -x +1 @@\n", "not the head of a hunk"),
        (f"{PATCH}@@ -1 +1,0 @@\n one\n", "longer than its head says"),
        (f"{PATCH}@@ -1,2 +1,2 @@\n one\n", "cut short"),
    ],
)
def test_damaged_patches(tmp_path: Path, patch: str, problem: str) -> None:
    (tmp_path / "x.txt").write_text("one\ntwo\n")
    (tmp_path / "a.patch").write_text(patch)
    with pytest.raises(InputError, match=problem):
        patch_problems(tmp_path / "a.patch", tmp_path)


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        (f"{PATCH}@@ -1,2 +1,2 @@\n-one\n+1\n two\n{PATCH}@@ -1,2 +1,2 @@\n 1\n-two\n+2\n", None),
        (f"{PATCH}@@ -1,2 +1 @@\n-one\n two\n{PATCH}@@ -1,2 +1 @@\n one\n-two\n", "does not apply"),
        (f"rename from x.txt\nrename to y.txt\n--- a/x.txt\n+++ b/y.txt\n{ONE}", None),
        (f"rename from z.txt\nrename to y.txt\n--- a/z.txt\n+++ b/y.txt\n{ONE}", "z.txt"),
        (f"{PATCH}@@ -0,0 +1 @@\n+zero\n", "does not apply"),
        (f"{PATCH}@@ -2,0 +3 @@\n+three\n", None),
        (f"--- a/x.txt\n+++ /dev/null\n{ONE}", "more than what the patch deletes"),
        ("--- a/x.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n", None),
        ("--- a/y.txt\n+++ b/y.txt\n@@ -1 +1 @@\n-one\n+1\n", "y.txt"),
        ("--- a/empty\n+++ b/empty\n@@ -0,0 +1 @@\n+one\n", None),
    ],
)
def test_patches_that_apply_or_not(tmp_path: Path, patch: str, problem: str | None) -> None:
    (tmp_path / "x.txt").write_text("one\ntwo\n")
    (tmp_path / "empty").touch()
    (tmp_path / "a.patch").write_text(patch)
    problems = patch_problems(tmp_path / "a.patch", tmp_path)
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_a_patch_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text(PATCH)
    with pytest.raises(InputError, match="not a folder"):
        patch_problems(tmp_path / "a.patch", tmp_path / "a.patch")


def test_a_table_of_settings_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.autogaze]\naudit = 1\n")
    with pytest.raises(ConfigError, match=r"tool\.autogaze\.audit is not a table"):
        AuditSettings().with_config(tmp_path)


@pytest.mark.parametrize("code", ["yield \x0e**/frame: 1/;", "x = /a/ ** /b/;", "x = ** 0.5;"])
def test_an_operator_without_its_sides_is_no_root(code: str, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(f"function* f(gazing_pos) {{\n  {code}\n}}\n")
    audit = run_audit([tmp_path], AuditSettings())
    assert [notice for notice in audit.notices if "crashed" in notice.message] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_a_text_that_its_parser_cannot_take_has_its_memory_bounded(tmp_path: Path) -> None:
    """Ten kilobytes took 4.6 GB, which a process of their own may not have."""
    (tmp_path / "a.py").write_text(f"gazing_pos = 1\nfor a in b{'/*' * 5000}\n")
    code = "import re, resource, sys; from autogaze_cli import audit_readout\n"
    code += "print(audit_readout(sys.argv[1]).coverage.text())\n"
    code += "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    said, own, worker = done.stdout.splitlines()
    assert said in ("1 failed (1 crashed)", "1 failed (1 timed out)")
    assert int(own) < 200_000  # KiB
    assert int(worker) < 1_200_000
