"""Following ids through imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.imports import file_of, imported
from autogaze_cli.audit.settings import AuditSettings

DECODES = "def cells(flat, side):\n    return flat // side, flat % side\n"


def found(root: Path, files: dict[str, str]) -> set[tuple[str, int, str]]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return {(f.path, f.line, f.rule) for f in run_audit([root], AuditSettings()).findings}


@pytest.mark.parametrize(
    ("statement", "call"),
    [
        ("from app.grid import cells", "cells(ids, 14)"),
        ("from .grid import cells as c", "c(flat=ids, side=14)"),
        ("from app import grid", "grid.cells(ids, 14)"),
        ("import app.grid as g", "g.cells(ids, 14)"),
    ],
)
def test_ids_are_followed_into_a_file_that_is_imported(
    tmp_path: Path, statement: str, call: str
) -> None:
    main = f'{statement}\ndef f(out):\n    ids = out["gazing_pos"]\n    return {call}\n'
    places = found(tmp_path, {"app/main.py": main, "app/grid.py": DECODES})
    assert places == {("app/grid.py", 2, "AGR116")}
    assert found(tmp_path, {"app/main.py": main.replace("gazing_pos", "scores")}) == set()


def test_javascript_and_rust(tmp_path: Path) -> None:
    places = found(
        tmp_path,
        {
            "web/a.ts": 'import { cells } from "./grid";\nconst f = (o) => cells(o.gazingPos);\n',
            "web/grid.js": "export function cells(list) {\n  return list.map((v) => v % 14);\n}\n",
            "src/a.rs": "use crate::grid::cells;\nfn f(o: &Output) { cells(&o.gazing_pos); }\n",
            "src/grid.rs": "pub fn cells(row: &[i64]) -> i64 {\n    row[0] % 14\n}\n",
        },
    )
    assert places == {("web/grid.js", 2, "AGR116"), ("src/grid.rs", 2, "AGR116")}


def test_ids_and_constants_that_another_file_gives(tmp_path: Path) -> None:
    places = found(
        tmp_path,
        {
            "pull.py": "PER = 265\ndef ids_of(out):\n    return out['gazing_pos']\n",
            "use.py": "from pull import PER, ids_of\n"
            "def f(auto_gaze):\n    return ids_of(auto_gaze) % PER\n",
        },
    )
    assert ("use.py", 3, "AGR104") in places


def test_what_a_name_is_imported_from() -> None:
    python = imported(
        "a.py", b"", ["from .x.y import (a as b,\n    c)", "import p.q as r", "import s"]
    )
    assert python == {
        "b": (".x.y", "a"), "c": (".x.y", "c"), "r": ("p.q", "*"), "s": ("s", "*")
    }  # fmt: skip
    files = {"pkg/x/y.py", "pkg/x/y/a.py", "pkg/m.py", "lib/index.ts"}
    assert file_of("pkg/a.py", ".x.y", "c", files) == "pkg/x/y.py"
    assert file_of("pkg/sub/a.py", "..m", "f", files) == "pkg/m.py"
    assert file_of("pkg/sub/a.py", "numpy", "f", files) is None
    assert file_of("web/a.js", "../lib", "f", files) == "lib/index.ts"
    required = imported("a.js", b"const { a: b } = require('./x');\n", [])
    assert required == {"b": ("./x", "a")}
