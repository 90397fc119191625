"""Rules about what is done with an id after its frame: its scale, its cell, and anything else."""

from __future__ import annotations

from collections.abc import Iterator

from autogaze_cli.audit.flow import File
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.operands import comparison, division, minus, operand, operands
from autogaze_cli.audit.rules.rule import CELL_HELPERS, Hit, Rule
from autogaze_cli.audit.scopes import Scope
from autogaze_cli.audit.shapes import (
    SEARCHES,
    is_scale_count,
    is_scale_start,
    is_table_of_starts,
    is_wrong_size,
)

_ORDER = frozenset(["<", "<=", ">", ">="])
_TRIVIAL = frozenset([0.0, 1.0, -1.0])


def scale_split(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """An id minus, compared with, or looked up among the first ids of the scales."""
    seen = {hit.node for hit in hits}
    for node in scope.of("binary", "compare", "call"):
        if node in seen:
            continue
        sides = minus(node, scope.negatives)
        if sides is not None:
            by_id = file.is_id(sides[0], scope) and is_scale_start(sides[1], file, scope)
            split = by_id or is_table_of_starts(sides[1], file)
        else:
            by_id, split = _compared(node, file, scope)
            by_id, split = _looked_up(node, file, scope) if not split else (by_id, split)
        if split:
            yield Hit(
                "AGR115",
                node,
                f"`{file.text(node)}` splits AutoGaze ids by where a scale starts, which repeats "
                "the scale layout of one checkpoint",
                by_id=by_id,
                value=sides is not None,
            )


def cell_from_id(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """An id, or what is left of one, divided by the side of a grid."""
    split = any(hit.value and hit.rule in ("AGR105", "AGR115") for hit in hits)
    wrong = "which repeats the scale layout of one checkpoint"
    if not split:
        wrong = "so that ids of a coarse scale come out as fine cells in the top rows"
    for node, left, right in _divisions(file, scope, hits):
        if file.is_side(right, scope) and not file.is_offset(right, scope):
            yield Hit(
                "AGR116",
                node,
                f"`{file.text(node)}` takes a row or column from AutoGaze id `{file.text(left)}`, "
                f"{wrong}",
                by_id=True,
                value=True,
            )


def wrong_size_remainder(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """An id modulo a size that is not the number of ids of a frame."""
    for node, left, right in _divisions(file, scope, hits):
        remainder = node.text == "%" or "rem" in node.text.lower() or "mod" in node.text.lower()
        if remainder and is_wrong_size(right, file, scope):
            yield Hit(
                "AGR117",
                node,
                f"`{file.text(node)}` wraps AutoGaze id `{file.text(left)}` by a size that is not "
                "the number of ids of a frame, so that ids of other scales land on wrong cells",
                by_id=True,
                value=True,
            )


def id_arithmetic(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """Any other difference, quotient or remainder of an id."""
    seen = {hit.node for hit in hits}
    for node in scope.of("binary", "call"):
        sides = minus(node, scope.negatives) or division(node)
        if sides is None or node in seen:
            continue
        left, right = sides
        if not file.is_id(left, scope) or _is_harmless(right, file, scope):
            continue
        if node.text == "-" and (_is_set(left, file) or _is_set(right, file)):
            continue  # ids without some of them
        yield Hit(
            "AGR118",
            node,
            f"`{file.text(node)}` computes with AutoGaze ids, whose meaning is the model's own",
            by_id=True,
        )


def _divisions(file: File, scope: Scope, hits: list[Hit]) -> Iterator[tuple[Node, Node, Node]]:
    """Divisions of an id that no other rule objects to."""
    seen = {hit.node for hit in hits}
    for node in scope.of("binary", "call"):
        sides = division(node)
        if sides is not None and node not in seen and file.is_id(sides[0], scope):
            yield node, *sides


def _compared(node: Node, file: File, scope: Scope) -> tuple[bool, bool]:
    """Whether a comparison is with an id, and whether it is with the start of a scale."""
    sides = comparison(node)
    if sides is None or sides[1] not in _ORDER:
        return False, False
    for one, other in ((sides[0], sides[2]), (sides[2], sides[0])):
        if file.is_id(one, scope) and not file.is_id(other, scope):
            split = is_scale_start(other, file, scope) or is_scale_count(other)
            return True, split
        if is_table_of_starts(other, file):
            return False, True
    return False, False


def _looked_up(node: Node, file: File, scope: Scope) -> tuple[bool, bool]:
    """Whether an id is searched for in a table, or anything in a table of starts."""
    if node.kind != "call" or node.text not in SEARCHES:
        return False, False
    sides = operands(node)
    by_id = any(file.is_id(side, scope) for side in sides) or any(
        below.kind == "name" and below.text in scope.ids
        for side in sides
        if side.kind == "closure"
        for below in side.walk()
    )
    table = any(side.kind == "name" and side.text in file.starts for side in sides)
    return by_id, table or (by_id and len(sides) > 1)


def _is_set(node: Node, file: File) -> bool:
    """Whether ``node`` is one of Python's sets: a call of its name, or in braces."""
    node = operand(node)
    if node.kind == "call":
        return node.parts[0].kind == "name" and node.text in ("set", "frozenset")
    braces = file.source[node.start : node.start + 1] == b"{"
    return node.kind in ("sequence", "comprehend") and braces


def _is_harmless(right: Node, file: File, scope: Scope) -> bool:
    """Whether what an id is combined with makes no cell of it: another id, or 0, 1, -1."""
    number = file.number(right, scope)
    return number in _TRIVIAL or file.is_id(right, scope)


_CELLS = (
    "from autogaze_cli.readout import generated_to_fixation_sets\n\n"
    "frames = generated_to_fixation_sets(out, config, 0)\n"
    "points = frames[t].fixations.active()\n"
    "grid = points.grid  # 2, 4, 7 or 14, in the order of choice\n"
    "row, col = (points.y * grid).astype(int), (points.x * grid).astype(int)"
)
_EXAMPLE = 'ids = out["gazing_pos"][0][~out["if_padded_gazing"][0]]\n'

RULES = (
    Rule(
        id="AGR115",
        name="scale-split",
        level="warning",
        what=(
            "An id minus the first id of a scale, compared with one, or searched for in a table of "
            "them: a running start, an entry of a table (`starts[s]`, `level.start`, "
            "`searchsorted`), or a table that the file adds up from the scales."
        ),
        why="It derives the scale layout of one checkpoint again.",
        example=(
            f"{_EXAMPLE}for token in ids:\n    if token < begin + count:\n"
            "        inside = token - begin\n    begin += count"
        ),
        better=_CELLS,
        use=CELL_HELPERS,
        check=scale_split,
    ),
    Rule(
        id="AGR116",
        name="cell-from-id",
        level="warning",
        what="An id, or what is left of one, divided by the side of a grid, or the remainder.",
        why=(
            "The ids of a frame count through several grids. Taken as one grid, a coarse id is "
            "drawn as a fine cell in the top rows, and the fine ones are shifted."
        ),
        example=f"{_EXAMPLE}row, col = ids // 14, ids % 14",
        better=_CELLS,
        use=CELL_HELPERS,
        check=cell_from_id,
    ),
    Rule(
        id="AGR117",
        name="wrong-size-remainder",
        level="warning",
        what=(
            "An id modulo a size that is not the number of ids of a frame: a length, a shape, the "
            "square of a side, or the vocabulary of another configuration."
        ),
        why="Ids of 265 per frame, wrapped into a map of 196, land on cells nobody gazed at.",
        example=f"{_EXAMPLE}weights = scores[0, ids % scores.shape[1]]",
        better=_CELLS,
        use=CELL_HELPERS,
        check=wrong_size_remainder,
    ),
    Rule(
        id="AGR118",
        name="id-arithmetic",
        level="warning",
        what="Any other difference, quotient or remainder of an id.",
        why="What an id means is the model's own; whatever is computed from it is a decoder.",
        example=f"{_EXAMPLE}place = ids - shift",
        better=_CELLS,
        use=CELL_HELPERS,
        check=id_arithmetic,
    ),
)
"""In the order in which they run: the later look at what the earlier left."""
