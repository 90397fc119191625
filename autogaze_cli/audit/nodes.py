"""One small syntax tree for five languages: what the rules look at.

The grammars name the same construct differently. ``tree.py`` turns each parse into the nodes
below, so that a rule is written once.

kind        text        parts
name        identifier  -
member      field       object, then what a ``get`` call was given beside the field
index       -           base, subscripts
number      literal     -
string      content     interpolated expressions
binary      operator    left, right
compare     operator    left, right
choice      operator    the values one of which it is (``a or b``, ``c ? a : b``)
test        -           operands of a truth value that is not a comparison (``not a``)
call        last name   function, arguments
keyword     name        value
sequence    -           elements of a list, tuple, array or set
mapping     -           pairs
pair        key         value
assign      -           target, value
loop        -           pattern, iterable
match       -           subject, arms
arm         -           pattern, guard and body
comprehend  -           element, then loops and conditions
function    name        body
closure     -           body
assertion   -           operands
group       -           anything else: its children ("block" of statements, "range", "return",
                        "-" of one that is negated)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


def words(text: str) -> frozenset[str]:
    """The words of ``text``, for tables too long to be read one to a line."""
    return frozenset(text.split())


_NUMBER = re.compile(
    r"-?(?:(?P<whole>0[xX][0-9a-fA-F_']++(?![.pP])|0[bB][01_']++|0[oO][0-7_']++)"
    r"|(?!0[xXbBoO])[0-9][0-9_']*+(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)"
)
_MOST_BITS = 1000
"""Of a whole number; a larger one is no number of ids."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function or closure.

    Attributes:
        names: The names it binds; several where it is a pattern.
        type: The text of its declared type, "" without one.
        default: What it is where nothing is passed, or None.
    """

    names: tuple[str, ...]
    type: str = ""
    default: Node | None = None


@dataclass(slots=True, eq=False)
class Node:
    """One construct, at a place.

    Attributes:
        kind: Which construct, see the table above.
        start: Byte offset of its first byte.
        end: Byte offset past its last byte.
        at: Where a finding about it points: the operator, the field, the function's name.
        text: Its word, see the table above.
        parts: Its operands.
        parameters: Of a function or closure.
        head: Of a function: offset of its first decorator or attribute.
    """

    kind: str
    start: int
    end: int
    at: int
    text: str = ""
    parts: list[Node] = field(default_factory=list)
    parameters: tuple[Parameter, ...] = ()
    head: int = 0

    def number(self) -> float | None:
        """The value of a number literal, else None.

        >>> numbers = "265i64", "-1_000", "0x109u", "2.65e2", "0x1p8", ""
        >>> [Node("number", 0, 0, 0, text).number() for text in numbers]
        [265.0, -1000.0, 265.0, 265.0, None, None]
        """
        digits = _NUMBER.match(self.text) if self.kind == "number" else None
        if digits is None:
            return None
        text = re.sub(r"[_']", "", digits[0])
        if digits["whole"] is None:
            return float(text)
        whole = int(text, 0)
        return float(whole) if whole.bit_length() < _MOST_BITS else None

    def names(self) -> Iterator[str]:
        """The names a pattern binds, in order."""
        if self.kind == "name":
            yield self.text
        elif self.kind in ("sequence", "group", "mapping"):
            for part in self.parts:
                yield from part.names()
        elif self.kind in ("pair", "call", "keyword"):
            for part in self.parts[-1:] if self.kind != "call" else self.parts[1:]:
                yield from part.names()

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in source order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.parts))


@dataclass(slots=True)
class Tree:
    """A parsed file.

    Attributes:
        root: The whole file.
        comments: Spans of comments, byte offsets.
        tests: Spans of items that are compiled for tests only.
        words: Identifiers and imported paths that mention a gaze, with their offsets.
        imports: Texts of the import statements.
        damage: Offset of the first place that is not valid syntax, or None.
        cut: Offset from which nothing was read (an open string or comment), or None.
    """

    root: Node
    comments: list[tuple[int, int]]
    tests: list[tuple[int, int]]
    words: list[tuple[int, str]]
    imports: list[str]
    damage: int | None
    cut: int | None
