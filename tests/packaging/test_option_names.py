"""Every ``--option`` that a message, a help text or a page names is one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from autogaze_cli.cli.main import cli
from autogaze_cli.jobs.request import _FIXED_BY_A_TRACE

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*(?![\w-]*\()")
FOREIGN = {
    "diff --git": {"--git"},
    "docker": {"--rm", "--user", "--network", "--build-arg"},
    "ray start": {"--head", "--port"},
    "pip install": {"--require-hashes"},
    "pip_audit": {"--disable-pip", "--strict"},
    "coverage report": {"--skip-covered", "--sort"},
    "gh attestation": {"--repo"},
    "python -m autogaze_cli.upstream": {"--rows", "--replace"},
}
"""Options of other programs, by the words that name the program on the page or in the module."""


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The options of a command and of those below it."""
    yield "--help"
    for param in command.params:
        yield from (*param.opts, *param.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below, context)


@pytest.fixture(scope="module")
def known() -> frozenset[str]:
    return frozenset(options(cli, click.Context(cli)))


def unknown(text: str, known: frozenset[str], also: str = "") -> set[str]:
    """The options in ``text`` that neither this program nor one named in it or ``also`` has."""
    foreign = {one for words, of in FOREIGN.items() if words in text + also for one in of}
    return {*OPTION.findall(text)} - known - foreign


def scripts(root: Path) -> frozenset[str]:
    """The options that the programs in ``scripts`` define."""
    files = [*(root / "scripts").rglob("*.py")]
    return frozenset(name for file in files for name in OPTION.findall(file.read_text()))


def strings(module: str) -> Iterator[str]:
    """The strings of a module, those of docstrings included."""
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_options_in_messages_exist(root: Path, known: frozenset[str]) -> None:
    found = {}
    for path in [*(root / "autogaze_cli").rglob("*.py"), *(root / "commands").glob("*.py")]:
        source = path.read_text()
        names = set().union(*(unknown(text, known, source) for text in strings(source)))
        if names:
            found[str(path.relative_to(root))] = names
    assert found == {}


def test_options_in_pages_exist(
    root: Path, known: frozenset[str], project_files: list[str]
) -> None:
    pages = [name for name in project_files if name.endswith(".md") and name != "CHANGELOG.md"]
    assert len(pages) > 25
    there = known | scripts(root)
    wrong = {name: unknown((root / name).read_text(), there) for name in pages}
    # Click breaks the line of a help text at the hyphen of a long name.
    wrong["docs/commands/index.md"] -= {"--out-"}
    assert {name: names for name, names in wrong.items() if names} == {}


def test_settings_that_a_trace_refuses_are_options(known: frozenset[str]) -> None:
    """A message makes an option's name of each."""
    assert {f"--{name.replace('_', '-')}" for name in _FIXED_BY_A_TRACE} <= known


@pytest.mark.parametrize("text", ["give --no-such-thing", "`--framez 3`", "(--out-dirs)"])
def test_an_option_that_is_not_there_is_found(known: frozenset[str], text: str) -> None:
    assert unknown(text, known)
    assert not unknown("give --frames 3, --out-dir or -v; a -- b --- c", known)
