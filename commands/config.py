"""``autogaze config``."""

from __future__ import annotations

import json
from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.streams import print_line, print_text
from autogaze_cli.errors import ConfigError


@click.group(
    "config",
    short_help="Show effective option values and their sources.",
    no_args_is_help=True,
)
@options.always
def config() -> None:
    """Show effective option values and their sources.

    The first source that sets an option wins: the command line, the environment
    (AUTOGAZE_RENDER_ASSETS_FPS, or AUTOGAZE_FPS for all commands), a TOML file, the default.
    """


@config.command(
    "show", cls=options.Command, short_help="Print the value of each option and its source."
)
@click.argument("command", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Include options at their defaults.")
@options.as_json
@options.always
@click.pass_context
def show(ctx: click.Context, /, **values: Any) -> None:
    """Print the value of each option and its source.

    COMMAND is one command, such as render-assets or models list; without it, all commands. Options
    at their defaults are left out unless --all or a COMMAND is given.
    """
    from autogaze_cli.cli.config import commands

    wanted = tuple(values["command"])
    found = [
        (path, command)
        for path, command in commands(ctx.find_root().command)
        if path[: len(wanted)] == wanted
    ]
    if not found:
        raise ConfigError(f"there is no command {' '.join(wanted)!r}", hint="see autogaze --help")
    rows = [
        row
        for path, command in found
        for row in _rows(ctx, path, command)
        if wanted or values["everything"] or row["source"] != "default"
    ]
    if values["json"]:
        print_text(json.dumps(rows, indent=2))
    elif values["jsonl"]:
        for row in rows:
            print_text(json.dumps(row))
    else:
        _print(ctx, rows)


def _rows(
    ctx: click.Context, path: tuple[str, ...], command: click.Command
) -> list[dict[str, Any]]:
    from autogaze_cli.cli.config import command_values

    return [
        {"command": " ".join(path), "option": option, "value": value, "source": source}
        for option, value, source in command_values(ctx, path, command)
    ]


def _print(ctx: click.Context, rows: list[dict[str, Any]]) -> None:
    from autogaze_cli.cli.config import CONFIG

    print_line(f"config file: {ctx.meta.get(CONFIG, 'none')}")
    command = None
    wide = max((len(row["option"]) for row in rows), default=0)
    values = [json.dumps(row["value"]) if row["value"] is not None else "-" for row in rows]
    across = max(map(len, values), default=0)
    for row, value in zip(rows, values, strict=True):
        if row["command"] != command:
            command = row["command"]
            print_text(f"\n{command}")
        print_line(f"  {row['option']:<{wide}}  {value:<{across}}  {row['source']}")
    if not rows:
        print_text("every option is at its default")
