"""The JSON Schema says what the reader does, as far as a schema can."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from autogaze_cli.errors import FormatError
from autogaze_cli.gaze.fixations import COLUMNS
from autogaze_cli.trace import read_trace, write_trace

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "fixtures" / "traces" / "v1.trace.json"
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "trace.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_written_files_fit(tmp_path: Path) -> None:
    write_trace(read_trace(GOLDEN), tmp_path / "x.json", "json")
    document = json.loads((tmp_path / "x.json").read_text())
    VALIDATOR.validate(document)
    assert list(document) == SCHEMA["required"]
    assert SCHEMA["$defs"]["Fixations"]["required"] == list(COLUMNS)


BROKEN: list[Callable[[dict[str, Any]], Any]] = [
    lambda d: d.update(format="autogaze-mask"),
    lambda d: d.update(version=2),
    lambda d: d.update(colour="red"),
    lambda d: d.pop("fps"),
    lambda d: d.update(fps=29.97),
    lambda d: d.update(fps="30/"),
    lambda d: d.update(width=-1),
    lambda d: d.update(tile_count=0),
    lambda d: d.update(settings=None),
    lambda d: d.update(num_vision_tokens_each_frame="265"),
    lambda d: d["frames"].append({}),
    lambda d: d["frames"][0].update(index=-1),
    lambda d: d["frames"][0].update(stop_probability=2),
    lambda d: d["frames"][0].update(num_gazing=[]),
    lambda d: d["frames"][0].update(num_gazing=[0.5, 1]),
    lambda d: d["frames"][0]["fixations"].pop("slot"),
    lambda d: d["frames"][0]["fixations"].update(scale=[1, 1, 1]),
    lambda d: d["frames"][0]["fixations"].update(x=[0, 0.5, 1.5]),
    lambda d: d["frames"][0]["fixations"].update(width=[0, 0.5, 1]),
    lambda d: d["frames"][0]["fixations"].update(confidence=[None, 0.5, 1]),
    lambda d: d["frames"][0]["fixations"].update(token=[-2, 0, 1]),
    lambda d: d["frames"][0]["fixations"].update(grid=["14", 0, 1]),
]


@pytest.mark.parametrize("change", BROKEN)
def test_broken_files_fit_neither_the_schema_nor_the_reader(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    document = json.loads(GOLDEN.read_text())
    broken = copy.deepcopy(document)
    change(broken)
    assert VALIDATOR.is_valid(document)
    assert not VALIDATOR.is_valid(broken)
    (tmp_path / "x.json").write_text(json.dumps(broken))
    with pytest.raises(FormatError):
        read_trace(tmp_path / "x.json")
