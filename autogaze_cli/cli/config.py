"""Options from a TOML file, through Click's default map; command line and environment come first.

The file is the one given by ``--config``, otherwise the nearest of ``autogaze.toml`` and
``pyproject.toml`` with a table ``[tool.autogaze]``, in the current folder or above, but not above
the root of a repository. A file that was only found may be somebody else's: it cannot set what
replaces files, reads or writes outside of its folder, reaches cameras or other machines, lifts
limits, or makes a command succeed without its work.
"""

from __future__ import annotations

import logging
import os
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from autogaze_cli.cli.presets import apply_preset, preset_of
from autogaze_cli.errors import ConfigError, did_you_mean, refuse_address
from autogaze_cli.reading import MOST_BYTES, parse_toml, read_regular

logger = logging.getLogger(__name__)

CONFIG = "autogaze.config"
"""The key in a context's ``meta`` of the path of the configuration file, if there is one."""

UNTRUSTED = "autogaze.untrusted"
"""The key of whether files beside the inputs are not to be trusted."""

NAME = "autogaze.toml"
PYPROJECT = "pyproject.toml"

_NEVER = frozenset({"config", "help", "untrusted", "version"})
"""Options that cannot be set in a file."""

_WRITING = frozenset({"fix", "log-file", "output", "overwrite", "timing", "write-baseline"})
_REACHING = frozenset({"address", "engine", "host", "live", "open", "revision", "sha256"})
_BOUNDING = frozenset({"file-time-limit", "isolate", "limit", "max-file-size"})
_PASSING = frozenset(
    {"check-patch", "dry-run", "exit-zero", "explain", "fail-on", "list-rules", "show-patch"}
)
_NAMED_ONLY = _WRITING | _REACHING | _BOUNDING | _PASSING
"""Options that only a file named by ``--config`` can set."""

_PATHS = frozenset(
    {"baseline", "check", "compare", "input", "out-dir", "source-video", "trace", "videos"}
)
"""Options that only such a file can set to paths outside of its own folder."""

_AUDIT_TABLE = "audit"
"""The table in ``pyproject.toml`` that ``audit-readout`` itself reads."""


def read_config(ctx: click.Context) -> None:
    """Set the defaults of the command of ``ctx`` from the configuration file, if there is one.

    Raises:
        ConfigError: The file cannot be read, or contains an unknown key.
    """
    named = ctx.meta.get(CONFIG)
    found = None if ctx.meta.get(UNTRUSTED) or named is not None else find_config()
    path = found if named is None else Path(named)
    if path is None:
        return
    refuse_address(str(named or path))
    ctx.meta[CONFIG] = str(path)
    root = ctx.find_root().command
    known = dict(commands(root))
    maps = default_maps(path, known)
    if named is None:
        for names, values in maps.items():
            _require_harmless(path, known[names], values)
    ctx.default_map = maps[() if ctx.command is root else command_path(ctx)]


def _require_harmless(path: Path, command: click.Command, values: Mapping[str, Any]) -> None:
    """Refuse what a file that nobody named must not set.

    Raises:
        ConfigError: It sets such an option.
    """
    for name, option in settable(command).items():
        value = values.get(str(option.name))
        items = value if isinstance(value, list) else [value]
        paths = [item for item in items if isinstance(item, str) and name in _PATHS]
        inside = all(_is_inside(item, path.parent) for item in paths)
        if (name in _NAMED_ONLY and value is not None) or not inside:
            raise ConfigError(
                f"{path}: {name} = {value!r} is not taken from a file that was only found",
                hint=f"if you trust the file, name it: --config {path}",
            )


def _is_inside(name: str, folder: Path) -> bool:
    """Whether a path, relative to the current folder, is in ``folder``, links followed.

    The paths in an ``@list`` are not known yet: it counts as outside.
    """
    inside = Path(os.path.realpath(name)).is_relative_to(os.path.realpath(folder))
    return inside and not name.startswith("@")


def settled(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A parameter's value as passed to a command: of the right type, None if there is none."""
    if isinstance(value, Enum):  # Click's marker for a value that is not given and has no default
        value = None
    if value is None:
        many = param.nargs == -1 or param.multiple
        return () if many else False if isinstance(param, click.Option) and param.is_flag else None
    return param.type_cast_value(ctx, value)


def long_name(option: click.Option) -> str:
    """The first long name of an option, without dashes: ``fps``, ``mask-source``."""
    return next(name for name in option.opts if name.startswith("--"))[2:]


def find_config(folder: Path | None = None) -> Path | None:
    """The nearest configuration file; None if there is none."""
    try:
        start = folder or Path.cwd()
    except FileNotFoundError:  # this folder was deleted
        return None
    for place in (start, *start.parents):
        if (place / NAME).is_file():
            return place / NAME
        if (place / PYPROJECT).is_file() and _has_our_table(place / PYPROJECT):
            return place / PYPROJECT
        if (place / ".git").exists():
            return None
    return None


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """``command``, or all commands below it if it is a group, with their paths of names."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        if below is not None:
            yield from commands(below, (*path, name))


def command_path(ctx: click.Context) -> tuple[str, ...]:
    """The path of names from the root to the command of ``ctx``."""
    names: list[str] = []
    while ctx.parent is not None:
        names.append(str(ctx.info_name))
        ctx = ctx.parent
    return tuple(reversed(names))


def default_maps(
    path: Path, known: Mapping[tuple[str, ...], click.Command]
) -> dict[tuple[str, ...], dict[str, Any]]:
    """The values that the file sets for each command.

    A top-level key applies to every command that has such an option. A key in a table named after a
    command (``[render-assets]``, ``[models.list]``) applies to that command and takes precedence.

    Args:
        path: The file.
        known: The commands by their paths of names.

    Returns:
        Values by parameter name.

    Raises:
        ConfigError: See ``read_config``.
    """
    tables = (_pyproject_table(path) or {}) if path.name == PYPROJECT else _read(path)
    options = {names: settable(command) for names, command in known.items()}
    maps: dict[tuple[str, ...], dict[str, Any]] = {names: {} for names in known}
    _fill(path, tables, (), options, maps)
    return maps


def value_source(ctx: click.Context, param: click.Parameter) -> str:
    """The source of a parameter's value, as text."""
    source = ctx.get_parameter_source(str(param.name))
    return describe_source(ctx, param, source)


def describe_source(
    ctx: click.Context, param: click.Parameter, source: ParameterSource | None
) -> str:
    """``source`` as text, with the name of the variable or the path of the file."""
    if source is ParameterSource.ENVIRONMENT:
        names = [param.envvar] if isinstance(param.envvar, str) else param.envvar or []
        return next(
            (f"environment, {name}" for name in names if os.environ.get(name)), "environment"
        )
    if source is ParameterSource.DEFAULT_MAP:
        return preset_of(ctx, param) or str(ctx.meta.get(CONFIG, "config"))
    return "command line" if source is ParameterSource.COMMANDLINE else "default"


def command_values(
    ctx: click.Context, path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[str, Any, str]]:
    """The effective options of a command without arguments: name, value, source.

    Args:
        ctx: Any context below the root.
        path: The command's path of names.
        command: The command.

    Raises:
        ConfigError: See ``read_config``.
    """
    root = ctx.find_root()
    own = click.Context(command, info_name=path[-1] if path else None, parent=root)
    if CONFIG in ctx.meta:
        own.default_map = default_maps(Path(ctx.meta[CONFIG]), dict(commands(root.command)))[path]
    apply_preset(own, {})
    for param in command.params:
        if not isinstance(param, click.Option) or not param.expose_value:
            continue
        value, source = param.consume_value(own, {})
        value = settled(own, param, value)
        yield long_name(param), plain(value), describe_source(own, param, source)


def plain(value: Any) -> Any:
    """A value in JSON types."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _fill(
    path: Path,
    table: Mapping[str, Any],
    names: tuple[str, ...],
    options: Mapping[tuple[str, ...], Mapping[str, click.Option]],
    maps: dict[tuple[str, ...], dict[str, Any]],
) -> None:
    """Add a table's keys to the maps of the commands below ``names``; nested tables come last."""
    below = [command for command in options if command[: len(names)] == names]
    inner = {command[len(names)] for command in below if len(command) > len(names)}
    for key, value in table.items():
        if isinstance(value, dict):
            continue
        spelling = key.replace("_", "-")
        takers = [command for command in below if spelling in options[command]]
        if not takers:
            raise _unknown(path, ".".join((*names, key)), spelling, below, options, inner)
        for command in takers:
            option = options[command][spelling]
            maps[command][str(option.name)] = _value(path, key, option, value)
    for key, value in table.items():
        if isinstance(value, dict):
            if key not in inner:
                raise _unknown(path, ".".join((*names, key)), key, below, options, inner)
            _fill(path, value, (*names, key), options, maps)


def _value(path: Path, key: str, option: click.Option, value: Any) -> Any:
    """A value as it would be typed: text, or true or false for a flag."""
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and "\0" not in str(item) for item in items):
        raise ConfigError(
            f"{path}: {key} must be a string, a number, true or false, or a list of these",
            hint="see autogaze config show",
        )
    if option.is_flag and not isinstance(value, bool | str):
        raise ConfigError(f"{path}: {key} must be true or false, not {reprlib.repr(value)}")
    if option.is_flag:
        return value
    typed = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
    return typed if option.multiple else ",".join(typed)


def settable(command: click.Command) -> dict[str, click.Option]:
    """A command's options that a file can set, by each of their long names."""
    return {
        name[2:]: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--") and name[2:] not in _NEVER
    }


def _unknown(
    path: Path,
    key: str,
    spelling: str,
    below: list[tuple[str, ...]],
    options: Mapping[tuple[str, ...], Mapping[str, click.Option]],
    inner: set[str],
) -> ConfigError:
    if spelling in inner:
        return ConfigError(f"{path}: {key!r} is a command", hint=f"write a table, [{key}]")
    words = {name for command in below for name in options[command]} | inner
    hint = did_you_mean(spelling, words, "see autogaze config show")
    return ConfigError(f"{path}: unknown key {reprlib.repr(key)}", hint=hint)


def _has_our_table(path: Path) -> bool:
    """Whether a ``pyproject.toml`` configures this program.

    Raises:
        ConfigError: The file mentions this program, but is not valid TOML.
    """
    try:
        _read(path)
    except ConfigError as error:  # a template, for example, may not be valid TOML
        with suppress(OSError):
            if b"tool.autogaze" in read_regular(path, MOST_BYTES):
                raise
        logger.warning("%s; the file is ignored", error)
        return False
    return _pyproject_table(path) is not None


def _pyproject_table(path: Path) -> dict[str, Any] | None:
    """The table ``[tool.autogaze]`` without that of the audit; None if there is none.

    Raises:
        ConfigError: ``tool.autogaze`` is not a table.
    """
    tool = _read(path).get("tool")
    if not isinstance(tool, dict) or "autogaze" not in tool:
        return None
    tables = tool["autogaze"]
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: tool.autogaze is not a table", hint="write [tool.autogaze]")
    return {key: value for key, value in tables.items() if key != _AUDIT_TABLE}


def _read(path: Path) -> dict[str, Any]:
    try:
        tables: dict[str, Any] = parse_toml(read_regular(path, MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # from the bytes, or from the TOML
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return tables
