"""Macros of C and of Rust: what stands in them is read as what it most likely is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autogaze_cli.audit.deadline import parse_within
from autogaze_cli.audit.expressions import ExpressionReader
from autogaze_cli.audit.nodes import Node, Parameter
from autogaze_cli.audit.reader import NAMES, leaves, named

if TYPE_CHECKING:
    from tree_sitter import Node as Raw

_TELLING = re.compile(rb"[%/-]|gaz|265", re.IGNORECASE)
"""Without any of these a macro decodes no id; headers of devices have ten thousands of them."""

_C_FORMS = (b"int m(){return ", b"int m(){")
_RUST_FORMS = ((b"fn m(){f(", b");}"), (b"fn m(){[", b"];}"), (b"fn m(){", b"}"))


class MacroReader(ExpressionReader):
    """Reads the macros of one file."""

    # C's: what the preprocessor puts in place of a name.

    def _define(self, raw: Raw) -> Node | None:
        """``#define NAME 265``: an assignment where the value is a number, else the value."""
        name, value = raw.child_by_field_name("name"), raw.child_by_field_name("value")
        if name is None or value is None:
            return None
        text = self.text(value).strip()
        whole = self._replacement(value, []) if "/" in text or not text.isalnum() else None
        while text.startswith("(") and text.endswith(")"):
            text = text[1:-1].strip()
        number = self.node("number", value, text=text)
        if number.number() is not None:
            return self.node("assign", raw, [self.name(name), number], at=name.start_byte)
        if whole is None:
            return None
        return self.node("group", raw, whole.parts if whole.text == "return" else [whole])

    def _define_function(self, raw: Raw) -> Node | None:
        """``#define LOCAL(id) ((id) % 265)``: a function that gives what stands for it."""
        name, value = raw.child_by_field_name("name"), raw.child_by_field_name("value")
        holder = raw.child_by_field_name("parameters")
        names = [self.text(item) for item in named(holder)] if holder is not None else []
        body = self._replacement(value, names) if value is not None else None
        if name is None or body is None:
            return None
        text = ".".join([*self.path, self.word(name)])
        node = self.node("function", raw, [body], text=text, at=name.start_byte)
        node.parameters = tuple(Parameter((name,)) for name in names)
        node.head = node.start
        return node

    def _replacement(self, value: Raw, names: list[str]) -> Node | None:
        """What C puts in place of a name, where it is an expression or statements.

        Args:
            value: Its text.
            names: The parameters of the macro.
        """
        text = self.code[value.start_byte : value.end_byte]
        if not _TELLING.search(text):
            return None
        # In ``(x) - (t)``, the grammar takes a parameter for a type, and the minus for a sign.
        plain = "|".join(re.escape(name) for name in names if name.isidentifier())
        alone = re.compile(rf"(?<![\w)\]])\(({plain})\)".encode())
        bare = alone.sub(rb" \1 ", text) if plain else text
        for before, content in ((b, t) for t in dict.fromkeys((bare, text)) for b in _C_FORMS):
            code = before + content + b"\n;}"
            root = parse_within(code, self.parser, self.deadline)
            body = named(root)[0].child_by_field_name("body") if len(named(root)) == 1 else None
            if body is not None and not root.has_error:
                with self._elsewhere(code, value.start_byte - len(before)):
                    found = self.read(body)
                if found is not None and content != text:
                    start = value.start_byte + self.shift
                    _widen(found, {m.start(1) + start for m in alone.finditer(text)})
                return found
        return None

    # Rust's: their arguments are tokens.

    def _macro(self, raw: Raw) -> Node | None:
        name = raw.child_by_field_name("macro")
        tokens = next((c for c in raw.named_children if c.type == "token_tree"), None)
        if name is None or tokens is None:
            return None
        text = self.text(name).rpartition("::")[2]
        content = self.code[tokens.start_byte + 1 : tokens.end_byte - 1]
        for before, after in _RUST_FORMS:
            if (before.endswith(b"[")) != (text == "vec") and not before.endswith(b"{"):
                continue
            code = before + content + after
            root = parse_within(code, self.parser, self.deadline)
            if not root.has_error:
                shift = tokens.start_byte + 1 - len(before)
                return self._macro_call(raw, text, root, code, shift)
        parts = [self.name(leaf) for leaf in leaves(tokens) if leaf.type in NAMES]
        return self.node("group", raw, parts)

    def _macro_call(self, raw: Raw, name: str, root: Raw, code: bytes, shift: int) -> Node:
        item = root.named_children[0]
        with self._elsewhere(code, shift):
            found = self.read(item.child_by_field_name("body"))
        if name == "vec" and found is not None:
            return found
        parts = [found] if found is not None else []
        if found is not None and found.kind == "call" and found.text == "f":
            parts = found.parts[1:]
        kind = "assertion" if "assert" in name else "call"
        lead = self.node("name", raw, text=name)
        return self.node(kind, raw, parts if kind == "assertion" else [lead, *parts], text=name)

    @contextmanager
    def _elsewhere(self, code: bytes, shift: int) -> Iterator[None]:
        """Read ``code``, which stands in the file ``shift`` bytes further on."""
        kept = self.shift, self.code, self.inside, self.path
        self.shift, self.code = self.shift + shift, code
        self.inside, self.path = self.inside + 1, [*self.path]
        yield
        self.shift, self.code, self.inside, self.path = kept


def _widen(root: Node, places: set[int]) -> None:
    """Take the parentheses around the names at ``places`` into the nodes."""
    for node in reversed(list(root.walk())):
        if node.kind == "name" and node.start in places:
            node.start, node.end = node.start - 1, node.end + 1
        node.start = min([node.start, *(part.start for part in node.parts)])
        node.end = max([node.end, *(part.end for part in node.parts)])
