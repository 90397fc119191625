"""What ``--fix`` makes of decoders: the same cells, by the helper."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.evaluate import Evaluator, UnknownError
from autogaze_cli.audit.fixes import fix
from autogaze_cli.audit.names import Names
from autogaze_cli.readout import ReadoutConfig, generated_to_fixation_sets

CONFIG = ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)
CASES = (Path(__file__).parents[2] / "fixtures" / "audit" / "fixes.txt").read_text()
DECODERS = dict(part.split("\n", 1) for part in CASES.split("=== ")[1:])
LEFT_ALONE = {name for name in DECODERS if name.startswith("not_")}


def output(seed: int) -> dict[str, Any]:
    """A generated output of one row, with padded slots."""
    chance = np.random.default_rng(seed)
    counts = chance.integers(1, 12, chance.integers(1, 6))
    padded = chance.random(counts.sum()) < 0.3
    local = np.where(padded, 265, chance.integers(0, 265, counts.sum()))
    ids = local + 265 * np.repeat(np.arange(len(counts)), counts)
    return {
        "gazing_pos": ids[None], "if_padded_gazing": padded[None], "num_gazing_each_frame": counts,
    }  # fmt: skip


def called(text: str, out: dict[str, Any]) -> Any:
    names: dict[str, Any] = {}
    exec(compile(text, "decoder.py", "exec"), names)
    function = names["decode"]
    required = function.__code__.co_argcount - len(function.__defaults__ or ())
    arguments = [out, 0][:required]
    made = function(*arguments)
    return made if isinstance(made, list) else list(made)


@pytest.mark.parametrize("name", sorted(DECODERS.keys() - LEFT_ALONE))
def test_a_rewritten_decoder_gives_the_cells_of_the_helper(name: str) -> None:
    before = DECODERS[name]
    assert analyse("a.py", before.encode(), Names()).findings
    after = fix(before, ["decode"])
    assert "generated_to_fixation_sets" in after
    assert [
        f.rule for f in analyse("a.py", after.encode(), Names()).findings if f.scope == "decode"
    ] == []
    assert fix(after, ["decode"]) == after
    for seed in range(20):
        out = output(seed)
        assert called(after, out) == called(before, out)
        cells = sum(
            int((frame.fixations.grid > 0).sum())
            for frame in generated_to_fixation_sets(out, CONFIG, 0)
        )
        assert cells == (~out["if_padded_gazing"]).sum()


def test_other_ends_of_lines_are_kept_or_the_file_is_left_alone() -> None:
    before = next(text for name, text in sorted(DECODERS.items()) if name not in LEFT_ALONE)
    after = fix(before, ["decode"])
    assert after != before
    assert fix(before.replace("\n", "\r\n"), ["decode"]) == after.replace("\n", "\r\n")
    for other in (before.replace("\n", "\r"), before.replace("\n", "\r", 1), f"#\r{before}"):
        assert fix(other, ["decode"]) == other


@pytest.mark.parametrize("name", sorted(LEFT_ALONE))
def test_what_is_not_certain_is_left_alone(name: str) -> None:
    assert fix(DECODERS[name], ["decode"]) == DECODERS[name]


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hostile = (
        f"import os\nX = open({str(mark)!r}, 'w')\ndef decode(out):\n"
        f"    os.system('touch {mark}')\n    __import__('os').mkdir({str(mark)!r})\n"
        "    return [i % 265 for i in out['gazing_pos'][0]]\n"
    )
    assert fix(hostile, ["decode"]) == hostile
    assert not mark.exists()


@pytest.mark.parametrize(
    "body",
    [
        "return [1] * 10**9", "return list(range(10**12))", "x = 2\n    return x ** x ** x ** x",
        "return decode(out)", "return ().__class__", "return 'a'.format(out)",
        "for i in range(9999):\n        for j in range(9999):\n            i + j",
        "x = []\n    for i in range(9999):\n        x += x + [1]\n    return x",
    ],
)  # fmt: skip
def test_evaluation_is_bounded(body: str) -> None:
    evaluator = Evaluator(ast.parse(f"def decode(out):\n    {body}\n"))
    with pytest.raises(UnknownError):
        evaluator.call("decode", {"out": {}})


def test_odd_layouts_of_a_file() -> None:
    before = DECODERS["locals_per_frame"]
    assert "generated_to_fixation_sets" in fix(before, ["decode"])
    shared = "def decode(\n    out): return [\n    i % 265 for i, p in zip(\n"
    shared += "    out['gazing_pos'][0], out['if_padded_gazing'][0]) if not p]\n"
    assert fix(shared, ["decode"]) == shared, "its body begins on the line of its parameters"
    paged = before.replace("    for i", "    x = 'a\x0cb\u2028c'\n    for i") + "\nLAST = '\x0c'\n"
    after = fix(paged, ["decode"])
    assert after.endswith("\nLAST = '\x0c'\n")
    assert called(after, output(1)) == called(before, output(1))
    windows = before.replace("\n", "\r\n")
    assert called(fix(windows, ["decode"]), output(2)) == called(before, output(2))
