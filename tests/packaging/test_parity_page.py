"""The page of parity with the reference: what it names is there."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import pytest

from autogaze_cli.cli.main import COMMANDS, cli
from tests.packaging.test_option_names import options

PAGE = "docs/parity.md"
ROW = re.compile(r"^\| (.+?) \| (yes|not applicable) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def rows(root: Path) -> list[tuple[str, ...]]:
    """What is there, the verdict, where it is here, and the test."""
    text = (root / PAGE).read_text()
    found = ROW.findall(text)
    heads = text.count("\n| ---")
    assert len(found) == sum(line.startswith("|") for line in text.splitlines()) - 2 * heads
    return found


@cache
def known_options() -> frozenset[str]:
    return frozenset(options(cli, click.Context(cli)))


def is_there(name: str, root: Path) -> bool:
    """Whether a name in code is an option, a command, a file, a module or a part of one."""
    if name.startswith("--"):
        return name in known_options()
    if name.startswith("autogaze "):
        return name.split()[1] in COMMANDS
    if not name.startswith("autogaze_cli."):
        return (root / name).is_file()
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def holds(name: str, root: Path) -> bool:
    """Whether ``tests/file.py`` has tests, or ``tests/file.py::test`` is one of them."""
    file, _, test = name.partition("::")
    if not (root / file).is_file():
        return False
    tree = ast.parse((root / file).read_text())
    tests = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    return test in tests if test else any(name.startswith("test_") for name in tests)


def test_every_feature_is_listed_once(rows: list[tuple[str, ...]]) -> None:
    assert len({there for there, *_ in rows}) == len(rows) == 72


def test_what_a_row_names_is_there(rows: list[tuple[str, ...]], root: Path) -> None:
    wrong = {
        name: there
        for there, _, here, _ in rows
        for name in re.findall(r"`([^`]+)`", here)
        if not is_there(name, root)
    }
    assert wrong == {}


def test_each_feature_that_is_here_has_a_test(rows: list[tuple[str, ...]], root: Path) -> None:
    tests = [test.strip("`") for _, verdict, _, test in rows if verdict == "yes"]
    assert [test for test in tests if not holds(test, root)] == []
    places = [here for _, verdict, here, _ in rows if verdict == "yes"]
    assert [here for here in places if "`" not in here] == []


def test_what_does_not_apply_has_a_reason_and_no_test(rows: list[tuple[str, ...]]) -> None:
    reasons = [(here, test) for _, verdict, here, test in rows if verdict != "yes"]
    assert all(len(here.split()) > 5 and not test for here, test in reasons)


@pytest.mark.parametrize(
    "name",
    [
        "--nothing",
        "autogaze nothing",
        "docs/nothing.md",
        "autogaze_cli.nothing",
        "autogaze_cli.api.x",
    ],
)
def test_a_name_that_is_not_there_is_found(name: str, root: Path) -> None:
    assert not is_there(name, root)
    assert not holds("tests/nothing.py", root)
    assert not holds("tests/packaging/test_parity_page.py::test_nothing", root)
    assert holds("tests/packaging/test_parity_page.py::test_every_feature_is_listed_once", root)
