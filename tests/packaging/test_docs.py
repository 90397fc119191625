"""The documentation: its menu, its examples, and the command lines in it."""

import ast
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from autogaze_cli.cli.main import COMMANDS, cli
from tests.packaging.running import run, run_line, run_python, without_progress

TUTORIAL = "docs/tutorial.md"
RUN = ["tutorial.md", "pipeline.md", "recipes/assets_in_ci.md"]


@pytest.fixture(scope="module")
def site(root: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((root / "mkdocs.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def pages(root: Path, project_files: list[str]) -> dict[str, str]:
    """Markdown by its path."""
    return {name: (root / name).read_text() for name in project_files if name.endswith(".md")}


def entries(menu: Any) -> Iterator[str]:
    """The pages of a menu, however deep."""
    if isinstance(menu, str):
        yield menu
    else:
        for below in menu.values() if isinstance(menu, dict) else menu:
            yield from entries(below)


def test_menu_has_every_page_once(site: dict[str, Any], pages: dict[str, str]) -> None:
    there = [name.removeprefix("docs/") for name in pages if name.startswith("docs/")]
    assert sorted(entries(site["nav"])) == sorted(there)


def test_site_asks_no_other_host_for_anything(site: dict[str, Any]) -> None:
    assert site["theme"]["font"] is False
    assert not {"extra", "extra_css", "extra_javascript", "repo_url"} & site.keys()
    assert {name for entry in site["plugins"] for name in [*entry] if entry != "search"} == {
        "mkdocstrings"
    }


def test_examples_of_docstrings_are_shown_as_code(root: Path) -> None:
    """Outside a section "Examples:" the site takes ``>>>`` for quoted text."""
    package = root / "autogaze_cli"
    files = [path for room in ("api", "readout", "trace") for path in package.glob(f"{room}/*.py")]
    wrong = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if re.search(r"^(>>>|Example:)", text, re.MULTILINE):
                    wrong.append(f"{path.name}: {getattr(node, 'name', 'module')}")
    assert wrong == []


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def command_lines(page: str) -> Iterator[str]:
    """The lines that start with ``autogaze``: in blocks, and in code within a sentence."""
    for language, text in blocks(page):
        if language in ("bash", "console", "make", "yaml"):
            joined = text.replace("\\\n", " ")
            yield from re.findall(
                r"^(?:\$ |[\t ]*(?:- run: )?)?(autogaze .+)$", joined, re.MULTILINE
            )
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    yield from (code.replace("\n", " ") for code in re.findall(r"`(autogaze [^`]+)`", prose))


def test_tutorial_shows_every_command(pages: dict[str, str]) -> None:
    assert set(re.findall(r"\bautogaze ([a-z-]+)", pages[TUTORIAL])) == set(COMMANDS)


def parse(line: str) -> None:
    """Parse a command line as Click does, less the checks of its values.

    Raises:
        click.UsageError: It has an option or a subcommand that is not there.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("|&;<>"):
            break  # what follows is the shell's
        words.append(word)
    command: click.Command = cli
    context = click.Context(cli, info_name=words.pop(0))
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            raise click.UsageError(f"no command {words[0]!r}")
        context = click.Context(below, info_name=words.pop(0), parent=context)
        command = below
    command.make_parser(context).parse_args(words)


def test_command_lines_parse(pages: dict[str, str]) -> None:
    lines = [(name, line) for name, page in pages.items() for line in command_lines(page)]
    assert len(lines) > 50
    problems = []
    for name, line in lines:
        try:
            parse(line)
        except (click.UsageError, ValueError) as error:
            problems.append(f"{name}: {line}: {error}")
    assert problems == []


@pytest.mark.parametrize(
    "line", ["autogaze nothing", "autogaze mask --nothing", "autogaze mask -o"]
)
def test_command_lines_that_are_wrong_do_not_parse(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_examples_print_what_the_page_says(
    root: Path, pages: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Console blocks are run; a text block after a Python block is what it prints."""
    shutil.copytree(root / "fixtures", tmp_path / "fixtures")
    listed = blocks(pages[f"docs/{name}"])
    ran = 0
    for (language, text), (_, after) in zip(listed, [*listed[1:], ("", "")], strict=True):
        if language == "console":
            lines = text.replace("\\\n", "")
            for command, expected in re.findall(
                r"^\$ (.+)\n((?:[^$].*\n|\n)*)", lines, re.MULTILINE
            ):
                assert printed(root, tmp_path, command) == expected
                ran += 1
        elif language == "python":
            assert run_python(tmp_path, text) == after
            ran += 1
        elif language == "toml":
            (tmp_path / text.split()[1]).write_text(text)  # its first line is "# NAME"
    assert ran >= 3


def printed(root: Path, folder: Path, line: str) -> str:
    """What a line prints; it must end well. The shell is asked where it has a part in it."""
    if re.match("autogaze [^|&>]+$", line):
        return run_line(folder, line)
    program = f'autogaze() {{ "{sys.executable}" -m autogaze_cli "$@"; }}\n'
    done = run(root, folder, "bash", "-c", program + line)
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return without_progress(done.stdout)
