"""A comparison held against an earlier one: everything but times and memory must be the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from autogaze_cli.compare.failures import Failure
from autogaze_cli.compare.table import FORMAT, VERSION, key_of
from autogaze_cli.errors import ConfigError
from autogaze_cli.reading import read_saved

TOLERANCE = 1e-4
"""The relative difference of figures that counts as none: other processors round differently."""


class Row(TypedDict):
    """A row of a clip, see ``table.key_of``."""

    source: str
    setting: str
    tokens: int | None
    first_frame_free: bool
    figures: dict[str, float]


class Clip(TypedDict):
    """A clip and its rows."""

    input: str
    rows: list[Row]


class Comparison(TypedDict):
    """What of a ``compare.json`` is read; all but ``failures`` is held against a new one."""

    settings: dict[str, Any]
    models: dict[str, str | None]
    clips: list[Clip]
    failures: NotRequired[list[Failure]]  # not in files of earlier versions


def read_comparison(path: Path) -> Comparison:
    """A ``compare.json`` of an earlier run.

    Raises:
        InputError: The file cannot be read.
        FormatError: It is something else, or of another version.
    """
    hint = "give the compare.json of a run"
    return read_saved(path, Comparison, FORMAT, VERSION, "a comparison", hint)


def differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[str]:
    """One line per figure of a clip that is not what it was.

    Raises:
        ConfigError: The two are of other settings, models or clips.
    """
    earlier: dict[str, Mapping[str, Any]] = {"settings": old["settings"], "models": old["models"]}
    for name, then in earlier.items():
        if new[name] != then:
            changed = [k for k in new[name] if new[name][k] != then.get(k)]
            raise ConfigError(
                f"the earlier comparison has other {name}: {', '.join(changed) or 'more of them'}",
                hint="compare with the same options",
            )
    clips = [[clip["input"] for clip in one["clips"]] for one in (new, old)]
    if clips[0] != clips[1]:
        raise ConfigError(
            "the earlier comparison is of other clips", hint="give the same, in order"
        )
    for now, then in zip(new["clips"], old["clips"], strict=True):
        before = {key_of(row): row["figures"] for row in then["rows"]}
        for row in now["rows"]:
            yield from _of_row(now["input"], row, before.get(key_of(row), {}))


def _of_row(clip: str, row: Mapping[str, Any], before: Mapping[str, float]) -> Iterator[str]:
    budget = "default" if row["tokens"] is None else f"{row['tokens']} tokens"
    free = ", first frame free" if row["first_frame_free"] else ""
    for name, value in row["figures"].items():
        if name.endswith(("_ms", "_mb")):
            continue
        earlier = before.get(name)
        if earlier is None or not math.isclose(value, earlier, rel_tol=TOLERANCE, abs_tol=1e-6):
            yield f"{clip}, {row['source']}, {budget}{free}: {name} is {value}, was {earlier}"
