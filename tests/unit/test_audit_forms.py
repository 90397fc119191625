"""The same decoding in other words: what one form gives, the others give too."""

from __future__ import annotations

import pytest

from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.names import Names


def found(name: str, code: str) -> set[tuple[str, int]]:
    result = analyse(name, code.encode(), Names())
    assert (result.damage, result.failure) == ("", None)
    return {(f.rule, f.line) for f in result.findings}


MATCH = (
    "def f(out, per_frame):\n    match {}:\n        case {}:\n            return ids % per_frame"
)


@pytest.mark.parametrize(
    "pattern",
    [
        '{"gazing_pos": ids}',
        '{"gazing_pos": ids, "if_padded_gazing": pad, **rest}',
        '{"gazing_pos": [ids, *rest]}',
        '{"gazing_pos": (x as ids)}',
        '{"gazing_pos": list(ids)}',
        '{"generated": {"gazing_pos": ids}} if ids',
        '{"ids": 1} | {"gazing_pos": ids}',
        '(1, {"gazing_pos": ids})',
        '1, {"gazing_pos": ids}',
        "Output(gazing_pos=ids)",
        "gaze.Output(1, gazing_pos=[ids, *_])",
    ],
)
def test_patterns_bind_ids(pattern: str) -> None:
    assert ("AGR104", 4) in found("a.py", MATCH.format("out", pattern))
    other = pattern.replace("gazing_pos", "gazing_text")
    assert found("a.py", MATCH.format("out", other)) == set()


def test_patterns_of_ids_bind_ids_and_nothing_else() -> None:
    for pattern in ("ids", "[ids]", "[ids, *rest]", "ids, pad"):
        assert ("AGR104", 4) in found("a.py", MATCH.format('out["gazing_pos"]', pattern))
    for pattern in ("None", "_", "4 | 5"):
        assert ("AGR104", 4) not in found("a.py", MATCH.format('out["gazing_pos"]', pattern))
    rust = "fn f(o: &O, ids: i64) -> i64 {\n    match o.gazing_pos[0] { %s => ids % 7 }\n}\n"
    assert ("AGR116", 2) in found("a.rs", rust.replace("%s", "ids"))
    assert found("a.rs", rust.replace("%s", "_")) == set()


FUNCTIONS = {
    "py": "def f(out, t):\n    ids = out['gazing_pos']\n    return {}\n",
    "ts": "function f(out: Out, t: number) {\n  const ids = out.gazingPos\n  return {}\n}\n",
    "c": "int f(Out *out, int t) {\n  int ids = *out->gazing_pos;\n  return {};\n}\n",
    "cu": "int f(Out& out, int t) {\n  auto ids = out.gazing_pos;\n  return {};\n}\n",
    "go": "package a\nfunc f(out Out, t int) int { ids := *out.GazingPos\n return {}\n}\n",
    "rs": "fn f(out: &Out, t: i64) -> i64 {\n    let ids = *out.gazing_pos;\n    {}\n}\n",
}


def rules(suffix: str, expression: str) -> set[str]:
    code = FUNCTIONS[suffix].replace("{}", expression)
    return {rule for rule, line in found(f"a.{suffix}", code) if line == 3}


@pytest.mark.parametrize("suffix", FUNCTIONS)
def test_adding_the_negative_is_a_subtraction(suffix: str) -> None:
    for same in ("ids - t * 265", "-t * 265 + ids", "-(t*265) + ids", "ids + -t*265",
                 "ids + t * -265", "(ids + 265 * (-t))"):  # fmt: skip
        assert rules(suffix, same) == {"AGR103"}, same
    for same in ("ids - 69", "-69 + ids", "ids + -69", "ids + (-69)"):
        assert rules(suffix, same) == {"AGR105"}, same
    for other in ("ids + t * 265", "t * 265 + ids"):
        assert rules(suffix, other) == {"AGR113"}, other
    for other in ("ids + 5", "ids + -1", "-1 + ids", "ids - -1", "-ids"):
        assert rules(suffix, other) == set(), other
    for same in ("ids % 265", "ids % -265", "-(-ids / 265)"):
        assert rules(suffix, same) == {"AGR104"}, same


@pytest.mark.parametrize(
    "same",
    [
        "ids.add(-(t * 265))",
        "torch.add(ids, t * -265)",
        "ids + torch.neg(t * 265)",
        "ids + (t * 265).neg()",
        "ids + t.mul(-265)",
        "ids + int(-t) * 265",
        "back + ids",
    ],
)
def test_calls_and_names_that_stand_for_the_negative(same: str) -> None:
    code = (
        "def f(out, t):\n    ids, pad = out['gazing_pos'], out.if_padded_gazing\n"
        f"    back = -t * 265\n    return {same}\n"
    )
    assert ("AGR103", 4) in found("a.py", code)
    assert ("AGR103", 4) not in found("a.py", code.replace("-", "").replace("neg", "abs"))


@pytest.mark.parametrize(
    ("suffix", "number"),
    [
        ("py", "0x109"), ("py", "0b1_0000_1001"), ("py", "0o411"), ("py", "2.65e2"),
        ("py", "2_6_5"), ("py", "265.0"), ("py", "0.265E3"), ("ts", "0x109n"), ("ts", "2.65e+2"),
        ("c", "0x109u"), ("cu", "0b1'0000'1001"), ("go", "0X_1_09"), ("rs", "0x1_09i64"),
    ],
)  # fmt: skip
def test_numbers_in_other_notations(suffix: str, number: str) -> None:
    assert rules(suffix, f"ids % {number}") == {"AGR104"}
    assert rules(suffix, f"ids - t * {number}") == {"AGR103"}
    assert "AGR104" not in rules(suffix, f"t % {number}"), "without an id only 265 itself"


@pytest.mark.parametrize("number", ["0x1p8", "0x" + "f" * 400, "1e999", "9" * 400])
def test_numbers_that_are_none_of_the_format(number: str) -> None:
    assert rules("c", f"ids % ({number} * {number})") <= {"AGR117", "AGR118"}


SETS = "def f(out, other, n):\n    ids = out['gazing_pos'][0].tolist()\n    return {}\n"


@pytest.mark.parametrize(
    "given",
    ["set(ids) - {1, 2}", "set(ids) - other", "ids - {i for i in other}", "ids - frozenset(other)"],
)
def test_a_set_of_ids_without_some_is_no_arithmetic(given: str) -> None:
    assert not any(line == 3 for _, line in found("a.py", SETS.format(given)))


@pytest.mark.parametrize(
    "given", ["ids - [1, 2]", "ids - other", "ids - (1, 2)", "ids - {1: 2}[n]"]
)
def test_what_is_no_set_is_arithmetic(given: str) -> None:
    assert ("AGR118", 3) in found("a.py", SETS.replace("{}", given))


@pytest.mark.parametrize("key", ['"gazing" "_pos"', '"gazing" + "_pos"', 'r"gazing" f"_pos"'])
def test_a_key_in_several_strings(key: str) -> None:
    uses = [f"out[{key}]", f"out.get({key})", f"getattr(out, {key})", f"pick(out, {key})"]
    for code in (f"def f(out, n):\n    return {use} % n\n" for use in uses):
        assert ("AGR116", 2) in found("a.py", code)
        assert found("a.py", code.replace("_pos", "_text")) == set()
    if "+" not in key:
        assert ("AGR104", 4) in found("a.py", MATCH.format("out", f"{{{key}: ids}}"))


def test_a_key_in_several_strings_elsewhere() -> None:
    code = "function f(out: Out, n: number) {\n  return out['gazing' + '_pos'] % n\n}\n"
    assert ("AGR116", 2) in found("a.ts", code)
    code = 'int f(Map& out, int n) {\n  return out.at("gazing" "_pos") % n;\n}\n'
    assert ("AGR116", 2) in found("a.cpp", code)


@pytest.mark.parametrize("name", ["a.c", "a.cpp"])
@pytest.mark.parametrize(
    "macro",
    [
        "LOCAL(x) ((x) % N)",
        "LOCAL(x, ...) x % 265 // é",
        "LOCAL(x) /* é */ \\\n  ((x) - (t) * 265)",
        "LOCAL(x) do { \\\n  a = (x) % 265; \\\n} while (0)",
        "OTHER(o) ((o)->gazing_pos[1] % 265)",
        "OTHER (gazing_pos[1] % 265)",
        "LOCAL(x) (x) % 265 // autogaze-audit: ignore[AGR1] as it is",
    ],
)
def test_what_macros_stand_for(name: str, macro: str) -> None:
    lines = ["#define N 265", f"#define {macro}", "void f(Out *out) { LOCAL(out->gazing_pos[1]); }"]
    code = "\n".join([*lines, ""])
    line = 1 + code[: code.index("265", 20) if "265" in macro else code.index("% N")].count("\n")
    result = analyse(name, code.encode(), Names())
    assert (result.damage, result.failure) == ("", None)
    decoding = {"AGR103" if "- (t)" in macro else "AGR104"}
    assert {f.rule for f in result.findings if f.line == line} - {"AGR109"} == decoding
    (finding,) = (f for f in result.findings if f.rule in decoding)
    text = code.split("\n")[line - 1]
    assert text[finding.column - 1] in "%-", "columns count from the line, not from the macro"
    assert len(result.comments) == ("autogaze-audit" in macro)


@pytest.mark.parametrize(
    "macro",
    ["LOCAL(x)", "LOCAL(x) #x", "LOCAL(x) (x)", "LOCAL(x) other(", "LOCAL(x) 1; } int g() { x % 7"],
)
def test_macros_that_compute_nothing(macro: str) -> None:
    code = f"#define {macro}\nvoid f(Out *out) {{ LOCAL(out->gazing_pos); }}\n"
    assert found("a.c", code) == set()


def test_a_comment_beside_a_constant_suppresses() -> None:
    code = "#define TOKENS_PER_FRAME 265  // autogaze-audit: ignore[AGR107] fixed\n"
    use = "int f(Out *out) { return *out->gazing_pos % TOKENS_PER_FRAME; }\n"
    ((comment, _),) = analyse("a.c", (code + use).encode(), Names()).comments
    assert (comment.first, comment.last, comment.reason) == (1, 1, "fixed")
