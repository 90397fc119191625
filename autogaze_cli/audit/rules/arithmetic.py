"""Rules about one expression: an id minus, divided by, or compared with a number of the format."""

from __future__ import annotations

from collections.abc import Iterator

from autogaze_cli.audit.flow import File, is_clamp
from autogaze_cli.audit.names import SCALE_OFFSETS
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.operands import comparison, division, minus, operand
from autogaze_cli.audit.rules.rule import FRAME_HELPERS, LAYOUT_HELPERS, Hit, Rule
from autogaze_cli.audit.scopes import Scope
from autogaze_cli.audit.tables import OFFSET_TABLES, is_table

_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_RANGE_ENDS = (20.0, 69.0, 265.0)
_FINE_SLICES = ((20.0, 69.0), (69.0, 265.0))


def frame_offset_subtraction(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """An id minus the first id of its frame."""
    for node in scope.of("binary", "call"):
        sides = minus(node, scope.negatives)
        if sides is None:
            continue
        left, right = sides
        by_id = file.is_id(left, scope)
        if not file.is_offset(right, scope, by_id=by_id) or not (by_id or scope.accesses):
            continue
        still = "scales" if file.knows_padding(scope) else "padding and scales"
        yield Hit(
            "AGR103",
            node,
            f"`{_difference(file, node, sides)}` takes a frame's offset off AutoGaze ids; "
            f"what is left still encodes {still}",
            by_id=True,
            value=True,
        )


def frame_vocabulary_division(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """An id divided by the vocabulary, or anything divided by 265."""
    for node in scope.of("binary", "call"):
        sides = division(node)
        if sides is None:
            continue
        left, right = sides
        by_id = file.is_id(left, scope)
        literal = operand(right).text.startswith("265") and operand(right).number() == 265
        literal = literal and "." not in operand(right).text and not file.is_size(left, scope)
        if not (literal or (by_id and file.is_total(right, scope))):
            continue
        padded = "" if file.knows_padding(scope) else ", and a padded id lands in the next frame"
        yield Hit(
            "AGR104",
            node,
            f"`{file.text(node)}` splits AutoGaze ids by the ids of a frame; this breaks with "
            f"another configuration{padded}",
            by_id=by_id,
            value=True,
        )


def scale_offset_table(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """The scale offsets of one checkpoint: as a table, subtracted, or compared with."""
    for node in scope.of("sequence", "mapping", "group"):
        table = is_table(node, OFFSET_TABLES) if node.kind != "group" else _is_slice(node)
        if table and not _is_fixture(node, file, scope):
            text = file.text(node)
            yield Hit("AGR105", node, f"`{text}` is the scale layout of one checkpoint")
    for node in scope.of("binary", "call"):
        sides = minus(node, scope.negatives)
        if sides and file.number(sides[1], scope) in SCALE_OFFSETS and file.is_id(sides[0], scope):
            yield Hit(
                "AGR105",
                node,
                f"`{_difference(file, node, sides)}` derives the scale of an AutoGaze id by hand, "
                "for one checkpoint",
                by_id=True,
                value=True,
            )
    for first, others in _chains(file, scope):
        yield Hit(
            "AGR105",
            first,
            f"`{file.text(first)}` begins a chain of comparisons that derives the scale of an "
            "AutoGaze id by hand, for one checkpoint",
            by_id=True,
            related=[(other, "compared here") for other in others],
        )


def id_range_test(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """An id compared with the end of its frame or scale."""
    for node in scope.of("compare", "call"):
        if _is_bounded(node, file, scope) or any(
            file.is_id(one, scope)
            and (
                _bound(operator, file.number(other, scope)) in _RANGE_ENDS
                or (operator in ("<", ">=") and file.is_vocab(other, scope, by_id=True))
            )
            for one, operator, other in _both_ways(node)
        ):
            yield Hit(
                "AGR111",
                node,
                f"`{file.text(node)}` hides AutoGaze ids of other frames or scales instead of "
                "decoding them",
                by_id=True,
            )
    if scope.clamped:
        for node in scope.of("assign"):
            if (
                len(node.parts) > 1
                and is_clamp(node.parts[1])
                and node.parts[0].text in scope.clamped
            ):
                yield Hit(
                    "AGR111",
                    operand(node.parts[1]),
                    f"`{file.text(node.parts[1])}` moves AutoGaze ids of other frames or scales "
                    "onto its last cell",
                    by_id=True,
                )


def manual_rebase(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """An id plus the first id of a frame."""
    for node in scope.of("binary"):
        if node.text != "+" or len(node.parts) != 2:
            continue
        for one, other in (node.parts, node.parts[::-1]):
            if file.is_id(one, scope) and file.is_offset(other, scope):
                yield Hit(
                    "AGR113",
                    node,
                    f"`{file.text(node)}` moves AutoGaze ids to another frame, which only more id "
                    "arithmetic needs",
                )
                break


def _difference(file: File, node: Node, sides: tuple[Node, Node]) -> str:
    """A subtraction as it reads, without what is around it: ``x -= y`` is ``x - y``."""
    if node.text == "+":
        return file.text(node)
    return f"{file.text(sides[0])} - {file.text(sides[1])}"


def _is_slice(node: Node) -> bool:
    """Whether a subscript cuts out one of the two finest scales."""
    return node.text == "range" and tuple(p.number() for p in node.parts) in _FINE_SLICES


def _is_fixture(node: Node, file: File, scope: Scope) -> bool:
    """Whether a literal is what a test feeds or expects: generated output, or an assertion."""
    below, above = node, scope.parents.get(node)
    while above is not None:
        if above.kind == "assertion":
            return True
        if above.kind in ("pair", "keyword") and file.is_output(above.text):
            return True
        if above.kind == "assign":
            return above.parts[0] is not below and file.is_output(above.parts[0].text)
        if above.kind in ("function", "loop", "closure"):
            return False
        below, above = above, scope.parents.get(above)
    return False


def _both_ways(node: Node) -> Iterator[tuple[Node, str, Node]]:
    """A comparison for order, read from either side."""
    sides = comparison(node)
    if sides is not None and sides[1] in _MIRRORED:
        left, operator, right = sides
        yield left, operator, right
        yield right, _MIRRORED[operator], left


def _bound(operator: str, number: float | None) -> float | None:
    """The first integer on the other side: of ``x <= 68`` and ``x < 69`` the same."""
    return number if number is None or operator in ("<", ">=") else number + 1


def _is_bounded(node: Node, file: File, scope: Scope) -> bool:
    """Whether an id is looked for in a range: ``x in range(a, b)``, ``(a..b).contains(&x)``."""
    if node.kind == "compare":
        within = node.text in ("in", "not in") and len(node.parts) == 2
        sought, place = node.parts if within else (node, node)
    elif node.text == "contains" and len(node.parts) == 2 and node.parts[0].parts:
        sought, place = node.parts[1], node.parts[0].parts[0]
    else:
        return False
    if place.text != "range" or not file.is_id(sought, scope):
        return False
    return any(
        file.number(bound, scope) in _RANGE_ENDS
        or file.is_vocab(bound, scope, by_id=True)
        or file.is_offset(bound, scope, by_id=True)
        for bound in (place.parts[1:] if place.kind == "call" else place.parts)
    )


def _chains(file: File, scope: Scope) -> Iterator[tuple[Node, list[Node]]]:
    """Comparisons of one id with at least two of the scale offsets."""
    found: dict[str, dict[float, Node]] = {}
    for node in sorted(scope.of("compare", "call"), key=lambda node: node.start):
        for one, operator, other in _both_ways(node):
            number = file.number(other, scope)
            for bound in (number, _bound(operator, number)):
                if bound is not None and bound in SCALE_OFFSETS and file.is_id(one, scope):
                    found.setdefault(file.text(operand(one)), {}).setdefault(bound, node)
    for node in scope.of("match"):
        if file.is_id(node.parts[0], scope):
            numbers = {
                number: arm
                for arm in node.parts[1:]
                for part in arm.parts[:1]
                for below in part.walk()
                if (number := below.number()) is not None and number in SCALE_OFFSETS
            }
            if len(numbers) > 1:
                found.setdefault(f"match {node.start}", numbers)
    for comparisons in found.values():
        nodes = sorted(comparisons.values(), key=lambda node: node.start)
        if len(nodes) > 1:
            yield nodes[0], nodes[1:]


_READOUT = "from autogaze_cli.readout import generated_to_frame_readout_tokens\n\n"

RULES = (
    Rule(
        id="AGR103",
        name="frame-offset-subtraction",
        level="error",
        what=(
            "An id minus the first id of a frame, or plus the negative of it: the frame's index "
            "times the number of ids of a frame, written out, under a name assigned from that "
            "product, or under one that grows by it."
        ),
        why=(
            "The offset belongs to the format. What is left still encodes padding and scales, so "
            "it is not a place in the frame."
        ),
        example='ids = out["gazing_pos"][0]\nlocal = ids - frame * TOKENS_PER_FRAME',
        better=f"{_READOUT}tokens = generated_to_frame_readout_tokens(out, config, 0, grid)[frame]",
        use=FRAME_HELPERS,
        check=frame_offset_subtraction,
    ),
    Rule(
        id="AGR104",
        name="frame-vocabulary-division",
        level="error",
        what=(
            "An id divided by the number of ids of a frame, or the remainder of that, as an "
            "operator or a call (`divmod`, `floor_divide`, `div_euclid`, `unravel_index`, ...). By "
            "the literal 265, whatever is divided unless it is a count."
        ),
        why="It breaks when the configuration changes, and a padded id lands in the next frame.",
        example='pos = out["gazing_pos"]\nframe, local = pos // 265, pos % 265',
        better=f"{_READOUT}frames = generated_to_frame_readout_tokens(out, config, 0, grid)",
        use=FRAME_HELPERS,
        check=frame_vocabulary_division,
    ),
    Rule(
        id="AGR105",
        name="scale-offset-table",
        level="error",
        what=(
            "The first ids of the scales: a literal table 0, 4, 20, 69 (with or without its ends, "
            "as a list or as a column of one), a slice 69:265, an id minus 4, 20, 69 or 265, or a "
            "chain of comparisons of one id with these numbers. "
            "Tables that a test feeds in as generated output, or asserts, are left alone."
        ),
        why="It derives the scale layout of one checkpoint again.",
        example="SCALE_OFFSETS = [0, 4, 20, 69]",
        better=(
            "from autogaze_cli.readout import generated_frame_readout_rects\n\n"
            "rects = generated_frame_readout_rects(out, config, 0, frame)"
        ),
        use=LAYOUT_HELPERS,
        check=scale_offset_table,
    ),
    Rule(
        id="AGR111",
        name="id-range-test",
        level="warning",
        what=(
            "An id compared (`<`, `>=`, `ge`, `contains`, ...) with the number of ids of a frame, "
            "or with 265, 69 or 20; or forced into a range (`clamp`) and then written at."
        ),
        why="It hides ids of other frames or scales instead of decoding them.",
        example="if token < TOKENS_PER_FRAME:\n    tokens.append(token)",
        better=f"{_READOUT}tokens = generated_to_frame_readout_tokens(out, config, 0, grid)[frame]",
        use=FRAME_HELPERS,
        check=id_range_test,
    ),
    Rule(
        id="AGR113",
        name="manual-rebase",
        level="note",
        what="An id plus the first id of a frame.",
        why=(
            "The ids of a streaming step are relative to its own call. Moving them to another "
            "frame is needed only for more arithmetic on ids."
        ),
        example="joined.append(ids + frame * TOKENS_PER_FRAME)",
        better=f"{_READOUT}frames += generated_to_frame_readout_tokens(step, config, 0, grid)",
        use=FRAME_HELPERS[:1],
        advice="decode each call's ids with {} and join the lists of frames",
        check=manual_rebase,
    ),
)
