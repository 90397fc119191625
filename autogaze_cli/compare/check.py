"""A comparison held against an earlier one: everything but times and memory must be the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autogaze_cli.compare.table import FORMAT, VERSION, key_of
from autogaze_cli.errors import ConfigError, FormatError, InputError

TOLERANCE = 1e-4
"""The relative difference of figures that counts as none: other processors round differently."""


def read_comparison(path: Path) -> dict[str, Any]:
    """A ``compare.json`` of an earlier run.

    Raises:
        InputError: The file cannot be read.
        FormatError: It is something else, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"{path}: is not JSON ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FormatError(f"{path}: is not a comparison", hint="give the compare.json of a run")
    if found.get("version") != VERSION:
        raise FormatError(f"{path}: version is {found.get('version')!r}, not {VERSION}")
    return found


def differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[str]:
    """One line per figure of a clip that is not what it was.

    Raises:
        ConfigError: The two are of other settings, models or clips.
    """
    for name in ("settings", "models"):
        if new[name] != old.get(name):
            changed = [k for k in new[name] if new[name][k] != (old.get(name) or {}).get(k)]
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
