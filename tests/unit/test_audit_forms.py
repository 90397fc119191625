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
