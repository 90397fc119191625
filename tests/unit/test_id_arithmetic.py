"""Arithmetic on token ids stands in ``autogaze_cli/gaze/`` alone.

An id means a cell only together with the scales, the frame and the padding flag, so anything that
adds to ids, subtracts from them or divides them belongs where those rules are. The rest of the
program calls it: ``ScaleLayout.cells``, ``ids``, ``global_ids``, ``clip_ids``, ``grid_cells``.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from autogaze_cli.cli.main import cli

ROOT = Path(__file__).parents[2]
ELSEWHERE = [
    path
    for folder in ("autogaze_cli", "commands")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.relative_to(ROOT).parts[:2] not in (("autogaze_cli", "gaze"), ("autogaze_cli", "audit"))
]

IDS = {"gazing_pos", "ids", "id", "token", "token_id"}
"""Names of ids, and of arrays of them."""

COUNTS = {"num_vision_tokens_each_frame", "eos_token_id"}
"""Names of how many ids there are: what is added to them, or divides them."""

LAYOUT = {"num_tokens", "offsets"}
"""The same, as attributes of a ``ScaleLayout``, whose variables are called ...layout or own."""

DIVISIONS = {"divmod", "floor_divide", "mod", "remainder", "fmod", "floordiv", "fix"}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
PASSED_THROUGH = {"astype", "long", "int", "cpu", "numpy", "to", "asarray", "array", "item", "view"}

OTHER_IDS = {
    "autogaze_cli/model/kernels.py": {"token", "ids"},  # a position in the sequence; a pointer
    "autogaze_cli/readout/coords.py": {"ids"},  # of the reading model's own grid
    "autogaze_cli/readout/grids.py": {"token"},  # of the reading model's own grid
}
"""Files in which one of these names is of something else."""

WIDTH = ("autogaze_cli/model/config.py", "self.num_vision_tokens_each_frame + 1")
"""The width of the network's output, the one sum that is of no id."""


def base(node: ast.expr) -> ast.expr:
    """What a value is of, without indices and conversions."""
    while True:
        if isinstance(node, ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.UnaryOp):
            node = node.operand
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name not in PASSED_THROUGH:
                return node
            of_module = isinstance(called, ast.Name) or ast.unparse(called).startswith(
                ("np.", "torch.")
            )
            if of_module and not node.args:
                return node
            if of_module:
                node = node.args[0]
            elif isinstance(called, ast.Attribute):
                node = called.value
        else:
            return node


def is_of_ids(node: ast.expr, other: Collection[str] = ()) -> bool:
    """Whether a value is an id, or how many ids a frame or a scale has."""
    node = base(node)
    if isinstance(node, ast.Constant):
        return node.value in (265, 266)
    if isinstance(node, ast.Name):
        return node.id in (IDS | COUNTS) - set(other)
    if not isinstance(node, ast.Attribute):
        return False
    if node.attr in LAYOUT:
        owner = ast.unparse(node.value).lower()
        return owner.endswith(("layout", "own", "target"))
    return node.attr in (IDS | COUNTS) - set(other)


def arithmetic(tree: ast.AST, other: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """Lines and text of arithmetic on ids."""
    for node in ast.walk(tree):
        operands: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
            text = isinstance(node.left, ast.JoinedStr) or (
                isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
            )
            operands = [] if text else [node.left, node.right]
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, OPERATORS):
            operands = [node.target, node.value]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            operands = node.args if name in DIVISIONS else []
        if any(is_of_ids(operand, other) for operand in operands):
            yield node.lineno, ast.unparse(node)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        "local = gazing_pos - frame * n",
        "row = out.gazing_pos[0, at].astype(np.int64) // grid",
        "frame = np.asarray(token) % 265",
        "row, col = np.divmod(ids, grid)",
        "first = layout.num_tokens * frame",
        "ids -= own.offsets[scale]",
        "place = frame * config.num_vision_tokens_each_frame",
        "cell = fixations.token[at].long() + 1",
    ],
)
def test_arithmetic_on_ids_is_recognised(code: str) -> None:
    assert len(list(arithmetic(ast.parse(code)))) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "cells = layout.cells(ids)",
        "length = len(ids) + 1",
        "share = fixations.width * 2",
        "text = 'ids: ' + ids",
        "total = n_tokens + counts.sum()",
        "gazed = (ids >= 0) & ~padded",
    ],
)
def test_other_code_is_not(code: str) -> None:
    assert list(arithmetic(ast.parse(code))) == []


def test_ids_are_computed_with_in_gaze_alone() -> None:
    assert len(ELSEWHERE) > 150
    found, named = [], set()
    for path in ELSEWHERE:
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named.add(name)
        for line, text in arithmetic(tree, OTHER_IDS.get(name, ())):
            if (name, text) != WIDTH:
                found.append(f"{name}:{line}: {text}")
    assert found == []
    assert OTHER_IDS.keys() <= named


def test_the_audit_finds_nothing_in_this_program() -> None:
    """Its own rules, over its own source: what a user's code is told, this code obeys."""
    result = CliRunner().invoke(
        cli,
        ["audit-readout", *(str(ROOT / name) for name in ("autogaze_cli", "commands", "scripts"))],
    )
    assert result.exit_code == 0, result.stdout
    assert "no local AutoGaze token math" in result.stdout


def test_gaze_itself_computes_with_them() -> None:
    """The rule would pass over nothing if the names had changed."""
    path = ROOT / "autogaze_cli" / "gaze" / "tokens.py"
    assert len(list(arithmetic(ast.parse(path.read_text(encoding="utf-8"))))) >= 4
