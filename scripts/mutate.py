"""Mutation testing: change one thing in a module, run the tests of its room, and see if they fail.

    python -m scripts.mutate gaze readout --count 40 --seed 1

A mutant is one comparison, operator, condition or number that is different. A sample of each room's
mutants is drawn with the seed. The room's tests are run once to see which lines each of them
reaches; then each mutant is run by those that reach it, quickest first, in a fork of this process,
which has imported the heavy libraries. All happens in a copy of the project, where the mutated
module is a file, so that processes which tests start see it too.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOMS = {
    "gaze": ("gaze/*.py", "unit/test_gaze_*.py"),
    "readout": ("readout/*.py", "unit/test_readout_*.py"),
    "visualize": ("visualize/*.py", "unit/test_visualize_*.py native/test_refusals.py"),
    "sources": (
        "sources/*.py",
        "unit/test_sources_*.py unit/test_inference.py native/test_refusals.py",
    ),
    "batch": (
        "batch/[!_r]*.py batch/re*.py batch/run.py",
        "unit/test_batch_*.py unit/test_hostile_files.py cli/test_batch.py cli/test_inputs.py "
        "cli/test_report_command.py faults/test_processes.py",
    ),
    "decode": (
        "model/decode.py model/choose.py model/cache.py",
        "unit/test_model_decode.py golden/test_seeded_parity.py",
    ),
}
"""By room: its modules below autogaze_cli, and its tests below tests.

The modules for Ray are left out of ``batch``: only other processes run them.
"""
MOST_SECONDS = 30
"""Of tests that a mutant is run by: slow tests that might kill it as well are left out.

Those that start processes have as many seconds again.
"""
SWAPS: dict[Any, Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: the number of a node in its file's tree, and the words for it."""

    path: Path
    node: int
    line: int
    change: str
    lines: range
    """Of the statement, or of the part before its body."""


@dataclass
class Test:
    """A test, the lines that it runs, and how long it takes."""

    name: str
    lines: set[tuple[str, int]]
    seconds: float = 0.0
    starts: bool = False
    """Whether it starts processes, whose lines are not seen."""

    def reaches(self, mutant: Mutant) -> bool:
        """Whether the test runs the mutant's statement."""
        return any((str(mutant.path), line) in self.lines for line in mutant.lines)


def main() -> int:
    """Print what survives in each room, and the fraction that the tests kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; default all")
    parser.add_argument("--count", type=int, default=40, help="mutants per room")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import av  # noqa: F401  these are imported once, for all forks
    import hypothesis
    import torch  # noqa: F401

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutate", deadline=None, database=None, phases=phases, derandomize=True
    )
    hypothesis.settings.load_profile("mutate")
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True  # of mutants, which a later one might take for its own
    gc.freeze()  # what is imported by now is no garbage: collections in the forks are quick
    with tempfile.TemporaryDirectory() as folder:
        _enter_copy(Path(folder, "project"))
        return 0 if all(_room(room, args) for room in args.rooms or ROOMS) else 1


def _enter_copy(folder: Path) -> None:
    """Copy the project, and import it and start its processes from there from now on."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "build", "site")
    shutil.copytree(Path(__file__).parent.parent, folder, symlinks=True, ignore=ignored)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
    del sys.modules["scripts"]


def _room(room: str, args: argparse.Namespace) -> bool:
    """Print what survives in a room; False if its tests fail anyway."""
    modules, patterns = ROOMS[room]
    paths = _files("autogaze_cli", modules)
    mutants = [one for path in paths for one in find(path)]
    chosen = random.Random(args.seed).sample(mutants, min(args.count, len(mutants)))
    tests = watch(paths, _files("tests", patterns))
    if tests is None:
        print(f"{room}: the tests fail without a mutation")
        return False
    killed = 0
    for mutant in chosen:
        reached = within(test for test in tests if test.reaches(mutant))
        reached += within(test for test in tests if test.starts and test not in reached)
        if reached and run(mutant, reached):
            killed += 1
            continue
        unseen = "" if reached else " (no test runs it)"
        where = f"{mutant.path.relative_to(Path.cwd())}:{mutant.line}"
        print(f"  survived: {where}: {mutant.change}{unseen}", flush=True)
    print(f"{room}: {killed} of {len(chosen)} killed, of {len(mutants)} possible", flush=True)
    return True


def _files(folder: str, patterns: str) -> list[Path]:
    return [
        path for one in patterns.split() for path in sorted(Path.cwd().joinpath(folder).glob(one))
    ]


def find(path: Path) -> Iterator[Mutant]:
    """All mutants of a module, except those of annotations and others that change no behaviour."""
    tree = ast.parse(path.read_text())
    typed = {id(inner) for outer in ast.walk(tree) for inner in _inert(outer)}
    lines = {id(inner): span for outer in ast.walk(tree) for inner, span in _spans(outer)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in typed:
            continue
        mutated = mutate(copy.deepcopy(node))
        if mutated is not None and isinstance(node, ast.expr | ast.If | ast.While):
            shown, other = (
                x.test if isinstance(x, ast.If | ast.While) else x for x in (node, mutated)
            )
            change = f"{ast.unparse(shown)}  ->  {ast.unparse(other)}"
            yield Mutant(path, number, node.lineno, change, lines[id(node)])


def _spans(node: ast.AST) -> Iterator[tuple[ast.AST, range]]:
    """What is in a statement, with the lines that run it; later statements are further in.

    Default values are run by what calls their function.
    """
    if not isinstance(node, ast.stmt):
        return
    first, last = node.lineno, node.end_lineno or node.lineno
    body = getattr(node, "body", None)
    if isinstance(node, ast.FunctionDef):
        first = node.body[0].lineno
    elif body:
        last = max(first, body[0].lineno - 1)
    for inner in ast.walk(node):
        yield inner, range(first, last + 1)


def mutate(node: Any) -> Any:
    """Change a node in place and return it; None where there is nothing to change."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in SWAPS:
            node.ops[0] = SWAPS[type(op)]()
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            node.op = SWAPS[type(op)]()
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            node.value = not value
        case ast.Constant(value=int() | float() as value) if value + 1 != value:
            node.value = value + 1
        case _:
            return None
    return ast.fix_missing_locations(node)


def _inert(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, what decorators are given, ``strict=``, and imports for type checkers."""
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    parts += getattr(node, "decorator_list", [])
    if isinstance(node, ast.keyword) and node.arg == "strict":
        parts.append(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        parts.append(node)
    for part in parts:
        if isinstance(part, ast.AST):
            yield from ast.walk(part)


def watch(paths: list[Path], files: list[Path]) -> list[Test] | None:
    """The tests, quickest first, with the lines each runs; None, and their output, if any fails."""
    with tempfile.TemporaryDirectory() as folder:
        log, found = Path(folder, "log"), Path(folder, "found")

        def body() -> int:
            plugin = _Watch(paths)
            return _test([str(file) for file in files], plugin) or plugin.save(found)

        if _fork(body, 1200, log):
            print(log.read_text())
            return None
        saved = json.loads(found.read_text())
        tests = [
            Test(name, {(file, line) for file, line in lines}, *s) for name, lines, *s in saved
        ]
    return sorted(tests, key=lambda test: test.seconds)


def within(tests: Iterable[Test]) -> list[Test]:
    """The first of the tests, until they take ``MOST_SECONDS``."""
    chosen, seconds = [], 0.0
    for test in tests:
        if seconds < MOST_SECONDS:
            chosen.append(test)
        seconds += test.seconds
    return chosen


def run(mutant: Mutant, tests: list[Test]) -> int:
    """The exit code of the tests with a mutant; 1 if they take much longer than without."""

    def body() -> int:
        files = dict.fromkeys(test.name.partition("::")[0] for test in tests)
        return _test([*files], _Select([test.name for test in tests]))

    text, stat = mutant.path.read_text(), mutant.path.stat()
    tree = ast.parse(text)
    mutate(list(ast.walk(tree))[mutant.node])
    try:
        mutant.path.write_text(ast.unparse(tree))
        return _fork(body, 30 + 5 * sum(test.seconds for test in tests), Path(os.devnull))
    finally:
        mutant.path.write_text(text)
        os.utime(mutant.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _fork(body: Callable[[], int], limit: float, log: Path) -> int:
    """The exit code of a fork that calls body; 1 after the limit in seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        quiet = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os._exit(body())
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _test(files: list[str], plugin: object) -> int:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported already
    return int(pytest.main([*options, *files], plugins=[plugin]))


class _Select:
    """Keeps the named tests alone, in their order."""

    def __init__(self, names: list[str]) -> None:
        self.order = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order),
            key=lambda item: self.order[item.nodeid],
        )


class _Watch:
    """Notes which lines of some files each test runs.

    What runs once, at an import or for a fixture that tests share, belongs to all tests, and caches
    are emptied before each.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.files = {str(path) for path in paths}
        self.shared: set[tuple[str, int]] = set()
        self.tests: list[Test] = []
        self.lines = self.shared
        threading.settrace(self._call)
        sys.settrace(self._call)
        self.modules = [importlib.import_module(_name(path)) for path in paths]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        for value in (value for module in self.modules for value in vars(module).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
        self.lines = set()
        self.tests.append(Test(nodeid, self.lines))
        self.start, self.children = time.monotonic(), _reaped()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        own = self.lines
        if fixturedef.scope != "function":
            self.lines = self.shared
        try:
            return (yield)
        finally:
            self.lines = own

    def pytest_runtest_logfinish(self) -> None:
        self.tests[-1].seconds = time.monotonic() - self.start
        self.tests[-1].starts = _reaped() > self.children
        self.lines = self.shared

    def save(self, path: Path) -> int:
        tests = [
            (test.name, [*(test.lines | self.shared)], test.seconds, test.starts)
            for test in self.tests
        ]
        path.write_text(json.dumps(tests))
        return 0

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename in self.files else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def _reaped() -> int:
    """A number that grows with each process that was started and has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


def _name(path: Path) -> str:
    return ".".join(path.relative_to(Path.cwd()).with_suffix("").parts).removesuffix(".__init__")


if __name__ == "__main__":
    sys.exit(main())
