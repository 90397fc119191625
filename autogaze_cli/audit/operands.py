"""Operators and calls alike: what is taken from, divided by, or given to what."""

from __future__ import annotations

from collections.abc import Mapping

from autogaze_cli.audit.names import (
    ADDING_CALLS,
    COMPARING_CALLS,
    DIVIDING_CALLS,
    DIVISIONS,
    NEGATING_CALLS,
    SUBTRACTING_CALLS,
    normalise,
)
from autogaze_cli.audit.nodes import Node, words

VALUES = words(
    "int long float to cpu cuda item astype max min clamp clip get i64 usize u32 int64 int32 "
    "Number parseInt unwrap unwrap_or copied cloned clone tensor as_tensor detach numpy"
)
"""Calls that give the value of their operand back."""

MULTIPLYING_CALLS = frozenset(["mul", "multiply", "wrapping_mul", "saturating_mul", "mul_scalar"])


def operands(node: Node) -> list[Node]:
    """What a call works on: its receiver, unless that is a module, and its arguments."""
    callee, arguments = node.parts[0], node.parts[1:]
    if callee.kind == "member" and callee.parts:
        owner = callee.parts[0]
        if owner.kind == "name" and owner.text in ("torch", "np", "numpy", "math", "Math", "jnp"):
            return arguments
        return [owner, *arguments]
    return arguments


def minus(node: Node, negatives: Mapping[str, Node]) -> tuple[Node, Node] | None:
    """What something is taken off, and what is: by a subtraction, or by adding its negative.

    Args:
        node: An operator, or a call that stands for one.
        negatives: Names, and what they are the negative of.
    """
    word = node.text if node.kind == "binary" else normalise(node.text)
    sides = operands(node) if node.kind == "call" else node.parts
    if len(sides) != 2:
        return None
    left, right = sides
    if word == "-" or (node.kind == "call" and word in SUBTRACTING_CALLS):
        return left, right
    if word == "+" or (node.kind == "call" and word in ADDING_CALLS):
        for one, other in ((left, right), (right, left)):
            positive = negated(other, negatives)
            if positive is not None:
                return one, positive
    return None


def negated(node: Node, negatives: Mapping[str, Node]) -> Node | None:
    """What ``node`` is the negative of: ``-x``, ``-x * y``, ``x * -y``, ``neg(x)``, or a name."""
    node = operand(node)
    if node.kind == "name":
        return negatives.get(node.text)
    if node.kind == "number" and node.text.startswith("-"):
        return Node("number", node.start, node.end, node.at, node.text[1:])
    if node.kind == "group" and node.text == "-":
        return node.parts[0]
    sides = operands(node) if node.kind == "call" else node.parts
    if node.kind == "call" and normalise(node.text) in NEGATING_CALLS and len(sides) == 1:
        return sides[0]
    if len(sides) == 2 and (node.text == "*" or node.text in MULTIPLYING_CALLS):
        for place, side in enumerate(sides):
            positive = negated(side, negatives)
            if positive is not None:
                factors = [positive, sides[1 - place]]
                return Node("binary", node.start, node.end, node.at, "*", factors)
    return None


def division(node: Node) -> tuple[Node, Node] | None:
    """Left and right side of a division or a remainder; the right one without its sign."""
    sides: list[Node] = []
    if node.kind == "binary" and node.text in DIVISIONS:
        sides = node.parts
    elif node.kind == "call" and normalise(node.text) in DIVIDING_CALLS:
        sides = [side for side in operands(node) if side.kind != "keyword"]
    if len(sides) == 2:
        return sides[0], negated(sides[1], {}) or sides[1]
    if node.kind == "call" and node.text == "unravel_index":
        sides = operands(node)
        if len(sides) == 2 and sides[1].kind == "sequence" and sides[1].parts:
            return sides[0], sides[1].parts[-1]
    return None


def comparison(node: Node) -> tuple[Node, str, Node] | None:
    """Left side, operator and right side of a comparison, written as an operator or as a call."""
    if node.kind == "compare" and len(node.parts) == 2:
        return node.parts[0], node.text, node.parts[1]
    if node.kind == "call" and normalise(node.text) in COMPARING_CALLS:
        sides = operands(node)
        if len(sides) == 2:
            return sides[0], COMPARING_CALLS[normalise(node.text)], sides[1]
    return None


def is_own(call: Node) -> bool:
    """Whether a call names a function of its own file: ``f(x)``, ``self.f(x)``, ``Self::f(x)``."""
    callee = call.parts[0]
    if callee.kind == "name":
        return True
    owner = callee.parts[0] if callee.kind == "member" and callee.parts else None
    return owner is not None and owner.kind == "name" and owner.text in ("self", "this", "cls")


def operand(node: Node) -> Node:
    """``node`` without what changes only its type."""
    while (node.kind == "group" and len(node.parts) == 1 and node.text not in ("range", "-")) or (
        node.kind == "call"
        and len(node.parts) == 2
        and node.parts[0].kind == "name"
        and (node.text in VALUES or node.text.startswith(("uint", "int", "float", "size_t")))
    ):
        node = node.parts[-1]
    return node


def given(call: Node) -> Node:
    """What a call that gives a value back was given."""
    return next(iter(operands(call)), call)
