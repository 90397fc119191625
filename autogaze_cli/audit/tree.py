"""From the text of a file to its tree, as far as it can be parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from autogaze_cli.audit.deadline import Deadline, parse_within
from autogaze_cli.audit.definitions import SourceReader
from autogaze_cli.audit.nodes import Node, Tree
from autogaze_cli.audit.units import unread

if TYPE_CHECKING:
    from tree_sitter import Node as Raw
    from tree_sitter import Parser

_STRING_EDGE = re.compile(rb"/\*|[a-zA-Z]{0,3}#*(\"\"\"|'''|[\"'`])")
_MOST_ERRORS = 50
"""Places without valid syntax that are looked at for the beginning of an open string."""


def parse(
    source: bytes, parser: Parser, deadline: Deadline, needed: Iterable[str] | None = None
) -> Tree:
    """Parse ``source``, as far as it can be.

    Args:
        source: The file's text in UTF-8.
        parser: A parser of its language.
        deadline: When to give up.
        needed: Names that make a function worth reading, see ``units``; None = read them all.

    Raises:
        TimeLimitError: It took too long.
    """
    root = parse_within(source, parser, deadline)
    cut = _open_edge(root, source, deadline) if root.has_error else None
    if cut is not None:
        root = parse_within(source[:cut], parser, deadline)
    reader = SourceReader(source, parser, deadline)
    if needed is not None:
        reader.unread = unread(root, source, needed)
    node = reader.read(root) or Node("group", 0, len(source), 0)
    errors = _errors(root, deadline)
    damage = cut if cut is not None else next((error.start_byte for error, _ in errors), None)
    places = [place for place in (damage, reader.deep) if place is not None]
    first = min(places, default=None)
    return Tree(node, reader.comments, reader.tests, reader.words, reader.imports, first, cut)


def _errors(root: Raw, deadline: Deadline) -> Iterator[tuple[Raw, Raw]]:
    """The places without valid syntax, in order, each with the node that it is in.

    That node is kept on the way down: to find it, the parser's library would search from the root.
    """
    waiting = [(root, root)]
    while waiting:
        deadline.check()
        node, parent = waiting.pop()
        if node.is_error or node.is_missing:
            yield node, parent
        elif node.has_error:
            waiting.extend((child, node) for child in reversed(node.children))


def _open_edge(root: Raw, source: bytes, deadline: Deadline) -> int | None:
    """Where a string or comment begins that is never closed."""
    for count, (error, parent) in enumerate(_errors(root, deadline)):
        if count == _MOST_ERRORS:
            return None
        around = [parent] if error.is_missing else []
        places = [error, *error.children[:_MOST_ERRORS], *around]
        for start in (place.start_byte for place in places):
            edge = _STRING_EDGE.match(source, start)
            if edge is None:
                continue
            quote = edge[1]
            close = b"*/" if quote is None else quote
            one_line = quote is not None and len(quote) == 1 and quote != b"`"
            end = source.find(b"\n", start) if one_line else -1
            if source.find(close, edge.end(), len(source) if end < 0 else end) < 0:
                return start
    return None
