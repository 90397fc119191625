"""What of a file is code, and what becomes of a file that cannot be parsed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autogaze_cli.audit.analysis import analyse, is_candidate
from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.deadline import Deadline
from autogaze_cli.audit.files import generated
from autogaze_cli.audit.languages import code, language, parser, require_grammars
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.reading import decoded
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.audit.tree import parse
from autogaze_cli.audit.view import is_test
from autogaze_cli.errors import ConfigError


def rules(name: str, data: bytes) -> list[tuple[int, int, str]]:
    findings = analyse(name, decoded(data), Names()).findings
    return sorted((f.line, f.column, f.rule) for f in findings)


def notebook(*cells: tuple[str, list[str]], indent: int | None = 1) -> bytes:
    listed = [
        {
            "cell_type": kind,
            "metadata": {"x": [1, -2.5e3, None]},
            "outputs": ["% 265"],
            "source": lines,
        }
        for kind, lines in cells
    ]
    return json.dumps({"cells": listed, "nbformat": 4}, indent=indent).encode()


def test_a_notebook_reports_the_lines_of_its_file() -> None:
    data = notebook(
        ("markdown", ["gazing_pos % 265"]),
        ("code", ["%matplotlib inline\n", "!pip install autogaze\n", "ids = out['gazing_pos']\n"]),
        ("code", ["%%bash\n", "echo $((gazing_pos % 265))\n"]),
        ("code", ["%%time\n", "a = ids % 265, out['if_padded_gazing']"]),
    )
    lines = data.decode().split("\n")
    place = next(n for n, line in enumerate(lines, 1) if '"a = ids' in line)
    access = next(n for n, line in enumerate(lines, 1) if '"ids = out' in line)
    assert rules("a.ipynb", data) == [(access, 11, "AGR101"), (place, 9, "AGR104")]


def test_a_notebook_in_one_line_and_with_source_as_one_string() -> None:
    document = json.loads(notebook(("code", ["x"])))
    document["cells"][0]["source"] = 'a = 1\nb = out["gazing_pos"] % 265 # é\\n\n'
    assert [r[::2] for r in rules("a.ipynb", json.dumps(document).encode())] == [
        (1, "AGR104"),
        (1, "AGR109"),
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"[1, 2", b'{"cells": [}', b'{"a" 1 2}', b"not json"])
def test_a_broken_notebook_is_reported(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.ipynb").write_bytes(data + b"gazing_pos")
    audit = run_audit([tmp_path], AuditSettings())
    assert [n.kind for n in audit.notices] == ["unparsed"]
    assert audit.exit_code("note") == 2, "nothing was analysed"


@pytest.mark.parametrize("suffix", ["vue", "svelte"])
def test_script_blocks(suffix: str) -> None:
    text = (
        "<template>{{ gazingPos % 265 }}</template>\n<script lang='ts' setup>\n"
        "const f = (o: O): number => o.gazingPos[1] % 265;\n</script>\n"
        "<style>a { b: 265 }</style>\n"
    )
    assert sorted(r[::2] for r in rules(f"a.{suffix}", text.encode())) == [
        (3, "AGR104"),
        (3, "AGR109"),
    ]


def test_disabled_code() -> None:
    text = (
        "#if 0\nint a = o.gazing_pos % 265;\n#ifdef X\nint b;\n#endif\n"
        "int c = o.gazing_pos % 265;\n#else\nint d = o.gazing_pos % 265;\n#endif\n"
        "#if 1\nint e = o.gazing_pos % 265;\n#endif\n"
    )
    assert {r[0] for r in rules("a.cpp", text.encode()) if r[2] == "AGR104"} == {8, 11}


def test_kernels_of_cuda() -> None:
    head = "template <int N> __global__ void __launch_bounds__(256, 2) cells("
    text = (
        "__constant__ int starts[] = {0, 4, 20, 69};\n"
        f"{head}const int* __restrict__ gazing_pos, int* out) {{  // é\n"
        "  __shared__ int tile[64];\n"
        "  out[threadIdx.x] = gazing_pos[threadIdx.x] % 265;\n}\n"
        "static __host__ __device__ __forceinline__ int local(int id) { return id; }\n"
        "void run(int* gazing_pos, int* o) { cells<2><<<dim3(1), 64>>>(gazing_pos, o); }\n"
    )
    result = analyse("a.cu", text.encode(), Names())
    assert (result.damage, result.failure) == ("", None)
    found = {(f.rule, f.line): f for f in result.findings}
    assert {("AGR105", 1), ("AGR109", 2), ("AGR104", 4)} <= found.keys()
    finding = found["AGR109", 2]
    assert (finding.column, finding.scope) == (len(head) - len("cells"), "cells")
    assert finding.snippet == text.split("\n")[1]
    assert finding.code == text.split("\n")[1].partition("  //")[0]
    assert found["AGR105", 1].snippet == text.split("\n")[0]


def test_columns_count_code_points_and_bytes_need_not_be_utf8() -> None:
    text = 's = "日本語"; a = out["gazing_pos"] % 265  # \xff'
    for encoding in ("utf-8", "latin-1"):
        data = text.replace("日本語", "ééé").encode(encoding)
        assert ("AGR104", 34) in [(r[2], r[1]) for r in rules("a.py", data)]
    assert rules("a.py", b"\xef\xbb\xbf" + b'a = out["gazing_pos"] % 265')[0][:2] == (1, 23)


def test_line_ends_of_windows() -> None:
    data = b'ids = out["gazing_pos"]\r\nx = ids % 265\r\n'
    finding = next(f for f in analyse("a.py", data, Names()).findings if f.rule == "AGR104")
    assert (finding.line, finding.snippet, finding.code) == (2, "x = ids % 265", "x = ids % 265")


RETURNS = {
    "py": "# header\rdef f(out):\r    ids = out['gazing_pos']\r    return ids % 265\r",
    "ts": "// header\rfunction f(out: O) {\r  const ids = out.gazingPos\r  return ids % 265\r}\r",
    "vue": "<script>\r// f\rlet ids = out.gazingPos\rlet a = ids % 265\r</script>\r",
    "c": "// header\rint f(int *gazing_pos) {\r#if 0\r#endif // f\rreturn *gazing_pos % 265; }\r",
    "cpp": "#define N 265\rint f(int *gazing_pos) {\r  // local\r  return *gazing_pos % N;\r}\r",
    "ipynb": json.dumps({"cells": [{"cell_type": "code", "source": [
        "# header\rids = out['gazing_pos']\rx = ids % 265"]}]}, indent=1).replace("\n", "\r"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", RETURNS)
def test_a_carriage_return_alone_ends_a_line_and_its_comment(suffix: str) -> None:
    text = RETURNS[suffix]
    line = 1 + text[: text.index("% 265" if "% 265" in text else "% N")].count("\r")
    assert line > 2
    assert (line, "AGR104") in [r[::2] for r in rules(f"a.{suffix}", text.encode())]
    mixed = text.replace("\r", "\r\n", 1).encode()
    assert (line, "AGR104") in [r[::2] for r in rules(f"a.{suffix}", mixed)]


@pytest.mark.parametrize("suffix", ["rs", "go"])
def test_comments_of_rust_and_go_go_on_after_a_carriage_return(suffix: str) -> None:
    assert rules(f"a.{suffix}", b"// o.gazing_pos\rlet a = o.gazing_pos[1] % 265;\r") == []


def test_lines_that_carriage_returns_end_are_not_one_long_line() -> None:
    text = b"// f\r" + b"let x = f(1);\r" * 500
    assert generated("a.js", text) is None
    assert generated("a.js", text.replace(b"\r", b" ")) == "minified"


BEFORE = {
    "py": "a = out['gazing_pos'] % 265\n",
    "rs": "fn f(out: &O) { let a = out.gazing_pos[1] % 265; }\n",
    "ts": "const a = out.gazingPos[1] % 265;\n",
    "cpp": "int a = out.gazing_pos[1] % 265;\n",
    "go": "package a\nvar x = out.GazingPos[1] % 265\n",
}


@pytest.mark.parametrize(
    ("suffix", "opening"),
    [
        ("py", '"""'), ("py", "'"), ("rs", "/* "), ("rs", 'fn g() { let s = "'),
        ("ts", "const s = `"), ("ts", "/* "), ("cpp", "/* "), ("cpp", 'auto s = "'),
        ("go", "var s = `"), ("go", "/* "),
    ],
)  # fmt: skip
def test_an_open_string_or_comment_ends_the_analysis(
    tmp_path: Path, suffix: str, opening: str
) -> None:
    before = BEFORE[suffix]
    (tmp_path / f"a.{suffix}").write_text(f"{before}{opening} {before}{before}")
    audit = run_audit([tmp_path], AuditSettings())
    lines = {f.line for f in audit.findings if f.rule == "AGR104"}
    assert lines == {before.count("\n")}
    (notice,) = audit.notices
    place = before.count("\n") + 1
    assert notice.kind == "parsed-in-part"
    assert notice.message.startswith(f"line {place} could not be parsed; nothing after it")


def test_what_stands_around_a_syntax_error_is_analysed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = )(\n\ndef f(out):\n    return out['gazing_pos'] % 265\n")
    audit = run_audit([tmp_path], AuditSettings())
    assert {f.line for f in audit.findings} == {3, 4}
    assert "what could be parsed" in audit.notices[0].message


def test_code_nested_too_deeply_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = gazing_pos\ny = " + "[\n" * 3000 + "]" * 3000)
    audit = run_audit([tmp_path], AuditSettings())
    assert [n.kind for n in audit.notices] == ["parsed-in-part"]


def test_a_file_that_never_mentions_a_gaze_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = )( % 265")
    audit = run_audit([tmp_path], AuditSettings())
    assert (audit.notices, audit.coverage.analysed) == ([], 1)
    assert not is_candidate("a.py", b"gazelle", Names(), helpers=False)
    assert is_candidate("a.py", b"readout", Names(), helpers=True)
    assert is_candidate("a.py", b"x.lookIds", Names(extra_id_names=("look_ids",)), helpers=False)


def test_a_missing_grammar_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import autogaze_cli.audit.languages as languages

    require_grammars()
    monkeypatch.setitem(languages._GRAMMARS, "zig", ("tree_sitter_of_no_language", "language"))
    with pytest.raises(ConfigError, match="tree_sitter_of_no_language") as caught:
        require_grammars()
    assert caught.value.hint is not None
    assert "reinstall" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("tests/a.rs", True), ("a/__tests__/b.ts", True), ("test_a.py", True), ("a_test.go", True),
        ("a.spec.ts", True), ("conftest.py", True), ("benches/a.rs", False), ("latest/a.py", False),
        ("examples/a.py", False), ("x_test.cc", True),
    ],
)  # fmt: skip
def test_test_files(path: str, test: bool) -> None:
    assert is_test(path) is test


def test_rust_marks_its_tests() -> None:
    text = (
        "fn a(o: &O) { o.gazing_pos[1] % 265; }\n"
        "#[cfg(test)]\nmod tests {\n  fn b(o: &O) { o.gazing_pos[1] % 265; }\n}\n"
        "#[tokio::test]\nasync fn c() { o.gazing_pos[1] % 265; }\n"
        "#[cfg(not(test))]\nfn d() { o.gazing_pos[1] % 265; }\n"
    )
    findings = analyse("src/a.rs", text.encode(), Names()).findings
    assert {(f.line, f.test) for f in findings if f.rule == "AGR104"} == {
        (1, False), (4, True), (7, True), (9, False)
    }  # fmt: skip


def test_languages() -> None:
    assert language("a/B.RS") == "rust"
    assert language("Makefile") is None
    assert code("a.py", b"x").lines is None


def outline(node: Node) -> object:
    return [node.kind, node.text, *map(outline, node.parts)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "x = a - b"),
        ("a.ts", "x = a - b;"),
        ("a.js", "x = (a - b)"),
        ("a.tsx", "x = a! - b"),
        ("a.cpp", "void f() { x = (int)a - static_cast<int>(b); }"),
        ("a.c", "void f() { x = a - b; }"),
        ("a.go", "package a\nfunc f() { x = a - b }"),
        ("a.rs", "fn f() { x = a as i64 - b; }"),
        ("a.rs", "fn f() { let x = &a - *b; }"),
    ],
)
def test_every_grammar_gives_the_same_nodes(path: str, text: str) -> None:
    root = parse(text.encode(), parser(path), Deadline(9)).root
    (assignment,) = [node for node in root.walk() if node.kind == "assign"]
    assert outline(assignment) == [
        "assign", "", ["name", "x"], ["binary", "-", ["name", "a"], ["name", "b"]]
    ]  # fmt: skip
