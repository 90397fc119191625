"""Reading a grammar's parse, construct by construct."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze_cli.audit.deadline import Deadline
from autogaze_cli.audit.nodes import Node, words

if TYPE_CHECKING:
    from tree_sitter import Node as Raw
    from tree_sitter import Parser

Handler = Callable[[Any, "Raw"], Node | None]

MOST_DEPTH = 1500
"""Constructs one in another that are read; what is nested more deeply is reported as not read."""

NAMES = words(
    "identifier field_identifier property_identifier shorthand_property_identifier self this "
    "private_property_identifier shorthand_field_identifier super dotted_name"
)
_NUMBERS = words("integer float integer_literal float_literal number number_literal int_literal")
TYPE_FIELDS = words("type return_type type_arguments result type_parameters")
_TEST_ATTRIBUTE = re.compile(
    r"^#!?\[\s*(?:[\w:]+::)?test\b|^#!?\[\s*cfg\s*\((?!\s*not\b).*\btest\b"
)


class Reader:
    """Reads the expressions of one file.

    Attributes:
        handlers: What reads which construct of the grammars.
        deadline: When to give up.
        deep: Offset of the first construct that is nested too deeply to be read, or None.
        code: What is parsed: the file, or one of its macros with what makes it a function.
        shift: What maps the offsets of a macro's own parse to the file's.
        path: Names of the classes and functions around the place.
        inside: How many functions are around it, up to the next class.
    """

    handlers: ClassVar[Mapping[str, Handler]] = {}

    def __init__(self, source: bytes, parser: Parser, deadline: Deadline) -> None:
        self.source = self.code = source
        self.parser = parser
        self.deadline = deadline
        self.deep: int | None = None
        self._depth = 0
        self.shift = 0
        self.path: list[str] = []
        self.inside = 0
        self.comments: list[tuple[int, int]] = []
        self.tests: list[tuple[int, int]] = []
        self.words: list[tuple[int, str]] = []
        self.imports: list[str] = []

    # What one construct becomes.

    def read(self, raw: Raw | None) -> Node | None:
        """The node for ``raw``; None where it holds nothing that a rule could see."""
        if raw is None:
            return None
        kind = raw.type
        if kind in NAMES:
            return self.name(raw)
        self.deadline.check()
        if self._depth >= MOST_DEPTH:
            place = raw.start_byte + self.shift
            self.deep = place if self.deep is None else min(place, self.deep)
            return None
        self._depth += 1
        node = self._construct(raw, kind)
        self._depth -= 1
        return node

    def _construct(self, raw: Raw, kind: str) -> Node | None:
        if kind.endswith("comment"):
            self.comments.append((raw.start_byte + self.shift, raw.end_byte + self.shift))
            return None
        if kind in _NUMBERS:
            return self.node("number", raw, text=self.text(raw))
        handler = self.handlers.get(kind)
        if handler is not None:
            return handler(self, raw)
        if kind.endswith("identifier"):
            self.word(raw)
            return None
        parts = self.children(raw)
        if len(parts) == 1:
            return parts[0]
        text = "block" if kind.endswith(("block", "compound_statement")) else ""
        return self.node("group", raw, parts, text=text) if parts else None

    def node(
        self, kind: str, raw: Raw, parts: list[Node] | None = None, *, text: str = "", at: int = -1
    ) -> Node:
        """A node in the place of ``raw``, which points at the offset ``at``."""
        start, end = raw.start_byte + self.shift, raw.end_byte + self.shift
        return Node(kind, start, end, start if at < 0 else at + self.shift, text, parts or [])

    def text(self, raw: Raw | None) -> str:
        """The text of a construct."""
        if raw is None:
            return ""
        return self.code[raw.start_byte : raw.end_byte].decode("utf-8", "replace")

    def word(self, raw: Raw) -> str:
        """The text of an identifier, noted where it mentions a gaze."""
        text = self.text(raw)
        if "gaz" in text.lower():
            self.words.append((raw.start_byte + self.shift, text))
        return text

    def name(self, raw: Raw) -> Node:
        """The node of an identifier."""
        return self.node("name", raw, text=self.word(raw))

    def children(self, raw: Raw) -> list[Node]:
        """The parts of a construct that needs no rule of its own, types left out."""
        parts: list[Node] = []
        attributes: list[Raw] = []
        cursor = raw.walk()
        if not cursor.goto_first_child():
            return parts
        while True:
            child, field = cursor.node, cursor.field_name
            if child is not None and child.is_named:
                if child.type in ("attribute_item", "inner_attribute_item"):
                    attributes.append(child)
                elif field in TYPE_FIELDS and not child.type.endswith("_specifier"):
                    self.type_words(child)
                else:
                    part = self.read(child)
                    if not child.type.endswith("comment"):
                        self._attributes(attributes, child, part, raw)
                        attributes = []
                    if part is not None:
                        parts.append(part)
            if not cursor.goto_next_sibling():
                return parts

    def _attributes(self, attributes: list[Raw], raw: Raw, part: Node | None, parent: Raw) -> None:
        """Note what Rust's attributes say of the item after them."""
        if not attributes:
            return
        if part is not None and part.kind == "function":
            part.head = attributes[0].start_byte + self.shift
        for attribute in attributes:
            if _TEST_ATTRIBUTE.match(self.text(attribute)):
                span = parent if attribute.type.startswith("inner") else raw
                self.tests.append((span.start_byte + self.shift, span.end_byte + self.shift))

    def type_words(self, raw: Raw) -> None:
        """Note the identifiers of a type, which is otherwise not read."""
        if "gaz" in self.text(raw).lower():
            for leaf in leaves(raw):
                if leaf.type.endswith("identifier"):
                    self.word(leaf)

    def read_all(self, raws: list[Raw]) -> list[Node]:
        """The nodes of several, without those that hold nothing."""
        return [node for node in map(self.read, raws) if node is not None]

    def _fields(self, kind: str, raw: Raw, *fields: str, text: str = "", at: int = -1) -> Node:
        raws = [child for f in fields if (child := raw.child_by_field_name(f)) is not None]
        parts = self.read_all(raws)
        return self.node(kind, raw, parts, text=text, at=at)


def named(raw: Raw) -> list[Raw]:
    """Its parts without punctuation and comments."""
    return [child for child in raw.named_children if not child.type.endswith("comment")]


def leaves(raw: Raw) -> Iterator[Raw]:
    """Its tokens."""
    waiting = [raw]
    while waiting:
        node = waiting.pop()
        if node.child_count == 0:
            yield node
        waiting.extend(reversed(node.children))
