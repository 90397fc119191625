"""The migration guide: before and after give the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autogaze_cli.readout
from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.names import Names
from autogaze_cli.readout import ReadoutConfig

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
GUIDE = PAGE[PAGE.index("<!-- migration -->") : PAGE.index("<!-- end of migration -->")]
PAIRS = re.findall(
    r"\*\*(AGR[^:]*): ([^*]*)\.\*\* Before:\n\n```python\n(.*?)```\n\n"
    r"After:\n\n```python\n(.*?)```",
    GUIDE,
    re.DOTALL,
)
CONFIG = ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)


def output(seed: int) -> dict[str, Any]:
    """A generated output of two rows, with padded slots, each cell at most once per frame."""
    chance = np.random.default_rng(seed)
    counts = chance.integers(1, 30, 4)
    rows = [
        np.concatenate(
            [chance.permutation(265)[:count] + 265 * t for t, count in enumerate(counts)]
        )
        for _ in range(2)
    ]
    padded = chance.random((2, counts.sum())) < 0.3
    following = 265 * (1 + np.repeat(np.arange(4), counts))
    ids = np.where(padded, following, np.stack(rows))
    return {"gazing_pos": ids, "if_padded_gazing": padded, "num_gazing_each_frame": counts}


def test_the_guide_has_its_pairs() -> None:
    assert len(PAIRS) == GUIDE.count("```python") // 2 == 6


@pytest.mark.parametrize(("rules", "what", "before", "after"), PAIRS, ids=[p[1] for p in PAIRS])
def test_before_and_after_give_the_same(rules: str, what: str, before: str, after: str) -> None:
    some = False
    for seed in range(5):
        for t in range(4):
            names: dict[str, Any] = {"out": output(seed), "config": CONFIG, "t": t, "np": np}
            names |= {
                name: getattr(autogaze_cli.readout, name) for name in autogaze_cli.readout.__all__
            }
            exec(before, names)
            exec(after, names)
            assert np.array_equal(np.asarray(names["before"]), np.asarray(names["after"])) or (
                names["before"] == names["after"]
            )
            some = some or len(names["after"]) > 0
    assert some


@pytest.mark.parametrize(("rules", "what", "before", "after"), PAIRS, ids=[p[1] for p in PAIRS])
def test_the_audit_objects_to_what_was_before(
    rules: str, what: str, before: str, after: str
) -> None:
    def found(text: str) -> set[str]:
        body = "".join(f"    {line}\n" for line in text.splitlines())
        code = f"import autogaze\ndef f(out, config, t):\n{body}"
        return {finding.rule for finding in analyse("a.py", code.encode(), Names()).findings}

    if "AGR106" not in rules:  # a table alone is none
        assert found(before) & {*re.findall("AGR[0-9]+", rules), "AGR109"}
    assert not found(after) - {"AGR118"}
