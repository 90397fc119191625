"""The tables of the format pages against what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
METRICS = [
    ROOT / "docs/images" / name
    for name in ("autogaze_dog_metrics.json", "dog.mask.json", "dog.interframe.json")
]
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "text": (str,), "fraction": (str,), "int": (int,), "integer": (int,),
    "float": (float,), "number": (int, float), "object": (dict,), "list": (list,),
    "null": (type(None),),
}  # fmt: skip


def table(page: str, heading: str) -> dict[str, str]:
    """Names and types of the first table after a heading, in its order."""
    text = (ROOT / "docs" / page).read_text().partition(f"\n{heading}\n")[2]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", text.partition("\n## ")[0], re.MULTILINE)
    return {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}


def check_types(table: dict[str, str], written: dict[str, Any]) -> None:
    for name, kinds in table.items():
        allowed = [type_ for kind in kinds.split(" or ") for type_ in TYPES[kind]]
        assert type(written[name]) in allowed, (name, kinds, written[name])


@pytest.mark.parametrize("path", METRICS, ids=lambda path: path.name)
def test_metrics(path: Path) -> None:
    written = json.loads(path.read_text())
    documented = table("metrics_format.md", "same settings give the same bytes.")
    assert sorted(documented) == sorted(written)
    check_types(documented, written)


def test_trace_header() -> None:
    written = json.loads((ROOT / "fixtures/traces/v1.trace.json").read_text())
    documented = table("trace_format.md", "## Header")
    assert [*documented, "frames"] == list(written)
    check_types(documented, written)


def test_trace_frame() -> None:
    written = json.loads((ROOT / "fixtures/traces/v1.trace.json").read_text())["frames"][0]
    documented = table("trace_format.md", "## A frame")
    assert [*documented, "fixations"] == list(written)
    assert list(table("trace_format.md", "## A fixation")) == list(written["fixations"])


def test_readout() -> None:
    written = json.loads((ROOT / "tests/golden/v1.readout.json").read_text())
    header, arrays = (table("readout_format.md", f"## {name}") for name in ("Header", "Arrays"))
    assert set(written) <= {*header, *arrays}
    assert list(written)[: len(header)] == list(header)
    check_types(header, written)
    for name in set(arrays) & set(written):
        assert isinstance(written[name], list)
