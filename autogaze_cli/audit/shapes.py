"""What stands beside an id: the start of a scale, the side of a grid, a size that is wrong."""

from __future__ import annotations

from autogaze_cli.audit.facts import CUMULATIONS, Facts
from autogaze_cli.audit.names import SIDES, is_end, is_side, is_start
from autogaze_cli.audit.nodes import Node, words
from autogaze_cli.audit.operands import operand
from autogaze_cli.audit.scopes import Scope

SEARCHES = words(
    "bisect bisect_right bisect_left searchsorted digitize bucketize partition_point upper_bound "
    "lower_bound binary_search binary_search_by binarySearch bisectRight bisectLeft"
)
"""Calls that look up in which of several ranges a number lies."""

_LEAST_SIZE = 100.0


def is_scale_start(node: Node, file: Facts, scope: Scope) -> bool:
    """Whether ``node`` is where a scale starts or ends: by its name, or because it grows."""
    node = operand(node)
    if node.kind == "binary" and node.text in ("+", "-"):
        return any(is_scale_start(part, file, scope) for part in node.parts)
    if node.kind == "index" and node.parts:
        node = node.parts[0]
    if node.kind == "call" and node.text in CUMULATIONS:
        return True
    if node.kind == "name" and (node.text in scope.running or node.text in file.starts):
        return True
    return node.kind in ("name", "member") and (is_start(node.text) or is_end(node.text))


def is_table_of_starts(node: Node, file: Facts) -> bool:
    """Whether ``node`` is an entry of a table that this file computes from the scales."""
    node = operand(node)
    return node.kind == "index" and bool(node.parts) and node.parts[0].text in file.starts


def is_grid_side(node: Node, file: Facts, scope: Scope) -> bool:
    """Whether ``node`` is the cells along a side of a grid."""
    number = file.number(node, scope)
    if number is not None:
        return number in SIDES
    node = operand(node)
    if node.kind == "index" and node.parts:
        node = node.parts[0]
    return node.kind in ("name", "member") and is_side(node.text)


def is_wrong_size(node: Node, file: Facts, scope: Scope) -> bool:
    """Whether ``node`` is a size that is not the number of ids of a frame."""
    number = file.number(node, scope)
    if number is None:
        number = file.fold(node)
    if number is not None:
        return number >= _LEAST_SIZE
    node = operand(node)
    if node.kind == "binary" and node.text in ("*", "**"):
        return True
    return file.is_size(node, scope)
