"""What an audit is asked for, from the command line and from a project's own file.

Source: audit spec B.2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any, Self

from autogaze_cli.audit.names import Names
from autogaze_cli.audit.reading import decoded, shown
from autogaze_cli.audit.rules import BY_ID
from autogaze_cli.audit.rules.rule import LEVELS
from autogaze_cli.errors import ConfigError
from autogaze_cli.reading import MOST_BYTES, parse_toml, read_regular

CONFIG_FILE = ".autogaze-audit.toml"
_OWN_TABLE = re.compile(r"\btool\W{1,9}autogaze\b")
_LISTS = ("exclude", "rules", "extra_vocab_names", "extra_id_names", "extra_helper_names")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """How to audit.

    Attributes:
        rules: Ids or prefixes to run; empty = all.
        exclude_rules: Ids or prefixes to leave out.
        severity: Level of a rule by its id, or "off".
        include: Patterns of files to scan; empty = all.
        exclude: Patterns of files not to scan.
        languages: Languages to scan; empty = all.
        tests: What becomes of findings in test code: "note", "same" or "skip".
        include_provider: Scan the modules that define the model, at level note.
        include_vendored: Scan copies of other projects.
        gitignore: Leave out what git ignores.
        require_helpers: Ask that the readout helpers are called.
        max_file_size_bytes: Larger files are not scanned.
        file_time_limit_s: Seconds that one file may take; one that takes longer is not analysed.
        baseline: File of known findings, or None.
        extra_vocab_names: See ``Names``.
        extra_id_names: See ``Names``.
        extra_helper_names: See ``Names``.
    """

    rules: tuple[str, ...] = ()
    exclude_rules: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tests: str = "note"
    include_provider: bool = False
    include_vendored: bool = False
    gitignore: bool = True
    require_helpers: bool = False
    max_file_size_bytes: int = 2097152
    file_time_limit_s: float = 5.0
    baseline: Path | None = None
    extra_vocab_names: tuple[str, ...] = ()
    extra_id_names: tuple[str, ...] = ()
    extra_helper_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for prefix in (*self.rules, *self.exclude_rules):
            if not prefix or not any(rule.startswith(prefix) for rule in BY_ID):
                raise ConfigError(
                    f"no rule is called {short(prefix)}", hint=_near(prefix, list(BY_ID))
                )
        for rule, level in self.severity.items():
            if rule not in BY_ID:
                raise ConfigError(f"no rule is called {short(rule)}", hint=_near(rule, list(BY_ID)))
            if level not in (*LEVELS, "off"):
                raise ConfigError(
                    f"severity of {rule} is {short(level)}",
                    hint=f"use {', '.join(LEVELS)} or off",
                )
        if self.tests not in ("note", "same", "skip"):
            raise ConfigError(f"tests is {short(self.tests)}", hint="use note, same or skip")

    def names(self) -> Names:
        """The classes of names."""
        return Names(
            extra_vocab_names=self.extra_vocab_names,
            extra_id_names=self.extra_id_names,
            extra_helper_names=self.extra_helper_names,
        )

    def level(self, rule: str) -> str | None:
        """The level of a rule; None where it does not run."""
        chosen = not self.rules or any(rule.startswith(prefix) for prefix in self.rules)
        if not chosen or any(rule.startswith(prefix) for prefix in self.exclude_rules):
            return None
        level = self.severity.get(rule, BY_ID[rule].level)
        return None if level == "off" else level

    def with_config(self, path: Path, given: Collection[str] = ()) -> Self:
        """These settings, with a project's own file where they say nothing.

        Args:
            path: The first path to audit: a folder, or a file in it.
            given: Names of the settings that the user gave, which stay; lists and tables grow.

        Raises:
            ConfigError: When that file is not valid.
        """
        folder = path if path.is_dir() else path.parent
        found = _read_config(folder)
        if found is None:
            return self
        values, source = found
        known = [*_LISTS, "severity", "tests", "baseline"]
        changes: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(
                    f"{source}: no setting is called {short(key)}", hint=_near(key, known)
                )
            checked = _checked(key, value, source)
            if key == "baseline":
                checked = folder / checked
            if key == "severity":
                checked = {**checked, **self.severity}
            elif key == "exclude":
                checked = (*checked, *self.exclude)
            elif key in given:
                continue
            changes[key] = checked
        try:
            return replace(self, **changes)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}", hint=error.hint) from error


def _read_config(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The table of settings, and the file it is in."""
    own, project = folder / CONFIG_FILE, folder / "pyproject.toml"
    for path in (own, project):
        if not path.is_file():
            continue
        try:
            text = decoded(read_regular(path, MOST_BYTES)).decode()
            if path == project and not _OWN_TABLE.search(text):
                continue  # somebody's own, which may be a template, or broken
            table: Any = parse_toml(text)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{shown(str(path))}: cannot be read as TOML: {reason}") from error
        if path == project:
            for key in ("tool", "autogaze", "audit"):
                table = table.get(key, {}) if isinstance(table, dict) else {}
        if table or path == own:
            if not isinstance(table, dict):
                raise ConfigError(f"{path}: tool.autogaze.audit is not a table")
            return table, path
    return None


def _checked(key: str, value: Any, source: Path) -> Any:
    if key in _LISTS:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{source}: {key} is not a list of strings")
    if key == "severity":
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        raise ConfigError(f"{source}: severity is not a table of levels by rule")
    if not isinstance(value, str):
        raise ConfigError(f"{source}: {key} is not a string")
    return value


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
