"""Help: complete, quick, and without the heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import Result

from autogaze_cli.cli.main import COMMANDS, cli
from autogaze_cli.version import __version__

HEAVY = {"torch", "av", "numpy", "rich", "PIL", "imageio", "safetensors"}


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from autogaze_cli.cli.main import cli\n"
        f"cli({arguments!r}, prog_name='autogaze', standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: autogaze")
    assert HEAVY & {name.partition(".")[0] for name in done.stderr.split()} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_the_table_says_what_the_command_says(name: str) -> None:
    found = command(name)
    assert COMMANDS[name][1] == found.short_help
    assert found.help is not None
    assert found.help.startswith(COMMANDS[name][1])
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_group_lists_every_command(run: Callable[..., Result]) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


def test_no_command_is_help_and_exit_code_2(run: Callable[..., Result]) -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: autogaze")


def test_version(run: Callable[..., Result]) -> None:
    assert run("--version").stdout == f"autogaze, version {__version__}\n"
