"""Mutation testing: change one thing in a module, run the tests of its room, and see if they fail.

    python -m scripts.mutate gaze readout --count 40 --seed 1

A mutant is one comparison, operator, condition or number that is different. A sample of each room's
mutants is drawn with the seed. Each is run by a fork of this process, which has imported the heavy
libraries, so a mutant costs little more than its tests. Only tests that run in one process count.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROOMS = {
    "gaze": ("gaze/*.py", "unit/test_gaze_*.py"),
    "readout": ("readout/*.py", "unit/test_readout_*.py"),
    "visualize": ("visualize/*.py", "unit/test_visualize_*.py"),
    "sources": ("sources/*.py", "unit/test_sources_*.py"),
    "batch": ("batch/*.py", "unit/test_batch_*.py cli/test_batch.py"),
    "decode": (
        "model/decode.py model/choose.py model/cache.py",
        "unit/test_model_decode.py unit/test_model_native.py unit/test_inference.py golden/*.py",
    ),
}
"""By room: its modules below autogaze_cli, and its tests below tests."""
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


def main() -> int:
    """Print what survives in each room, and the fraction that the tests kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; default all")
    parser.add_argument("--count", type=int, default=40, help="mutants per room")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import hypothesis
    import torch  # noqa: F401  imported once, for all forks

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutate", deadline=None, database=None, phases=phases)
    hypothesis.settings.load_profile("mutate")
    for room in args.rooms or ROOMS:
        modules, patterns = ROOMS[room]
        tests = [str(path) for path in _files("tests", patterns)]
        mutants = [one for path in _files("autogaze_cli", modules) for one in find(path)]
        chosen = random.Random(args.seed).sample(mutants, min(args.count, len(mutants)))
        start = time.monotonic()
        if run(None, tests, 600):
            print(f"{room}: the tests fail without a mutation")
            return 1
        limit = 30 + 5 * (time.monotonic() - start)
        survivors = []
        for mutant in chosen:
            if not run(mutant, tests, limit):
                survivors.append(mutant)
                where = mutant.path.relative_to(ROOT)
                print(f"  survived: {where}:{mutant.line}: {mutant.change}", flush=True)
        killed = len(chosen) - len(survivors)
        print(f"{room}: {killed} of {len(chosen)} killed, of {len(mutants)} possible", flush=True)
    return 0


def _files(folder: str, patterns: str) -> list[Path]:
    return [path for pattern in patterns.split() for path in sorted((ROOT / folder).glob(pattern))]


def find(path: Path) -> Iterator[Mutant]:
    """All mutants of a module, except those of annotations and others that change no behaviour."""
    tree = ast.parse(path.read_text())
    typed = {id(inner) for outer in ast.walk(tree) for inner in _inert(outer)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in typed:
            continue
        mutated = mutate(copy.deepcopy(node))
        if mutated is not None and isinstance(node, ast.expr | ast.If | ast.While):
            shown, other = (
                x.test if isinstance(x, ast.If | ast.While) else x for x in (node, mutated)
            )
            yield Mutant(
                path, number, node.lineno, f"{ast.unparse(shown)}  ->  {ast.unparse(other)}"
            )


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
        case ast.Constant(value=int() | float() as value):
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


def run(mutant: Mutant | None, tests: list[str], limit: float) -> int:
    """The exit code of the tests with a mutant; 1 if they take longer than the limit in seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os._exit(_test(mutant, tests))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _test(mutant: Mutant | None, tests: list[str]) -> int:
    import pytest

    if mutant:
        sys.meta_path.insert(0, _Finder(mutant))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported already
    return int(pytest.main([*options, *tests]))


class _Finder(MetaPathFinder):
    """Finds the mutant's module, and no other."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name.removesuffix(".__init__"):
            return None
        loader = _Loader(name, str(self.mutant.path))
        loader.number = self.mutant.node
        return spec_from_file_location(name, self.mutant.path, loader=loader)


class _Loader(SourceFileLoader):
    """Compiles the module with one node changed."""

    number: int

    def get_code(self, fullname: str) -> Any:
        tree = ast.parse(Path(self.path).read_text())
        mutate(list(ast.walk(tree))[self.number])
        return compile(tree, self.path, "exec")


if __name__ == "__main__":
    sys.exit(main())
