"""Expressions: from a grammar's parse to the nodes that the rules look at.

One table serves all grammars: where two of them use a name, they use it for the same construct.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autogaze_cli.audit.nodes import Node, words
from autogaze_cli.audit.reader import Handler, Reader, named

if TYPE_CHECKING:
    from tree_sitter import Node as Raw

COMPARISONS = frozenset(["<", "<=", ">", ">=", "==", "!=", "===", "!==", "in", "not in", "is"])
CHOICES = frozenset(["or", "and", "||", "&&", "??"])

_TRANSPARENT = words(
    "parenthesized_expression type_cast_expression as_expression satisfies_expression "
    "non_null_expression type_assertion await_expression await try_expression "
    "reference_expression cast_expression pointer_expression spread_element "
    "expression_statement generic_function reference_declarator pointer_declarator "
    "array_declarator ref_pattern mut_pattern reference_pattern captured_pattern "
    "literal_element initializer_pair type_conversion_expression parenthesized_declarator "
    "type"
)
"""Constructs that stand for their operand."""

_SEQUENCES = words(
    "list tuple set pattern_list tuple_pattern list_pattern expression_list tuple_expression "
    "array_pattern slice_pattern array initializer_list structured_binding_declarator "
    "sequence_expression"
)
_STRINGS = words(
    "string string_literal raw_string_literal template_string interpreted_string_literal "
    "char_literal rune_literal concatenated_string"
)
_CASTS = frozenset(["static_cast", "reinterpret_cast", "const_cast", "dynamic_cast"])


class ExpressionReader(Reader):
    """Reads the expressions of one file."""

    def transparent(self, raw: Raw) -> Node | None:
        """What stands for its one operand, such as parentheses or a cast."""
        parts = self.children(raw)
        if len(parts) == 1:
            return parts[0]
        return self.node("group", raw, parts) if parts else None

    def _sequence(self, raw: Raw) -> Node | None:
        parts = self.children(raw)
        if raw.type == "expression_list" and len(parts) == 1:
            return parts[0]  # Go puts every side of an assignment in a list
        return self.node("sequence", raw, parts)

    def _array(self, raw: Raw) -> Node:
        """A Rust array; ``[value; length]`` is not a table."""
        repeated = raw.child_by_field_name("length") is not None
        return self.node("group" if repeated else "sequence", raw, self.children(raw))

    def _binary(self, raw: Raw) -> Node | None:
        operator = raw.child_by_field_name("operator")
        if operator is None:
            return self.transparent(raw)
        text = self.text(operator)
        kind = "compare" if text in COMPARISONS else "choice" if text in CHOICES else "binary"
        node = self._fields(kind, raw, "left", "right", text=text, at=operator.start_byte)
        if text == "+" and [part.kind for part in node.parts] == ["string", "string"]:
            left, right = node.parts
            return self.node("string", raw, left.parts + right.parts, text=left.text + right.text)
        return node

    def _comparison(self, raw: Raw) -> Node | None:
        """Python's chain ``a < b < c`` as the comparisons it stands for."""
        operators = raw.children_by_field_name("operators")
        operands = [c for c in raw.named_children if not c.type.endswith("comment")]
        nodes = [self.read(child) for child in operands]
        pairs = []
        for operator, left, right in zip(operators, nodes, nodes[1:], strict=False):
            parts = [side for side in (left, right) if side is not None]
            at = operator.start_byte
            pairs.append(self.node("compare", raw, parts, text=self.text(operator), at=at))
        return pairs[0] if len(pairs) == 1 else self.node("test", raw, pairs)

    def _unary(self, raw: Raw) -> Node | None:
        operator = raw.children[0].type if raw.children else ""
        operator = "not" if raw.type == "not_operator" else operator
        inner = self.transparent(raw)
        if inner is None or operator in ("*", "&", "+"):
            return inner
        if operator in ("not", "!"):
            return self.node("test", raw, [inner], text="not")
        if operator == "-" and inner.kind == "number":
            return self.node("number", raw, text=f"-{inner.text}")  # as C's grammar has it
        return self.node("group", raw, [inner], text="-" if operator == "-" else "")

    def _member(self, raw: Raw) -> Node | None:
        last = next(
            (c for f in ("attribute", "field", "property") if (c := raw.child_by_field_name(f))),
            None,
        )
        if last is None:
            return self.transparent(raw)
        if last.type == "template_method" or last.type == "dependent_name":
            last = last.child_by_field_name("name") or last
        owner = next(
            (
                c
                for f in ("object", "value", "argument", "operand")
                if (c := raw.child_by_field_name(f))
            ),
            None,
        )
        node = self.node("member", raw, text=self.word(last), at=last.start_byte)
        inner = self.read(owner)
        node.parts = [inner] if inner is not None else []
        return node

    def _scoped(self, raw: Raw) -> Node | None:
        """``path::name``: only the name counts, but the path may mention the package."""
        name = raw.child_by_field_name("name")
        self.type_words(raw)
        return self.read(name) if name is not None else None

    def _index(self, raw: Raw) -> Node:
        children = [c for c in raw.named_children if c.type != "optional_chain"]
        if len(children) == 2 and children[1].type == "subscript_argument_list":
            children = [children[0], *children[1].named_children]
        parts = self.read_all(children)
        key = parts[1] if len(parts) == 2 else None
        if key is not None and key.kind == "binary" and key.text == "+" and key.parts:
            key = key.parts[0]  # out["gazing_pos_" + view]
        if key is not None and key.kind == "string" and (not key.parts or "gaz" in key.text):
            return self._field_by_name(raw, parts[0], key)
        return self.node("index", raw, parts)

    def _field_by_name(self, raw: Raw, owner: Node, key: Node, *rest: Node) -> Node:
        """``out["gazing_pos"]`` and ``out.get("gazing_pos")`` are accesses to that field."""
        node = self.node("member", raw, [owner, *rest], text=key.text)
        node.at = key.start
        if "gaz" in key.text.lower():
            self.words.append((key.start, key.text))
        return node

    def _call(self, raw: Raw) -> Node | None:
        function = raw.child_by_field_name("function") or raw.child_by_field_name("constructor")
        if function is None:
            return self.transparent(raw)
        callee = self.read(function)
        holder = raw.child_by_field_name("arguments")
        arguments = []
        if holder is not None:
            single = holder.type in ("generator_expression", "template_string")
            arguments = self.read_all([holder] if single else named(holder))
        name = callee.text if callee is not None else ""
        if name in _CASTS and len(arguments) == 1:
            return arguments[0]
        first = arguments[0] if arguments else None
        if callee is not None and first is not None and first.kind == "string" and not first.parts:
            if name in ("get", "at") and callee.kind == "member" and callee.parts:
                return self._field_by_name(raw, callee.parts[0], first, *arguments[1:])
            if name == "require":
                self._required(first)
        if name == "getattr" and len(arguments) > 1 and arguments[1].kind == "string":
            return self._field_by_name(raw, arguments[0], arguments[1], *arguments[2:])
        at = callee.at - self.shift if callee is not None else -1
        lead = callee or self.node("name", function)
        kind = "assertion" if "assert" in name.lower() else "call"
        return self.node(kind, raw, [lead, *arguments], text=name, at=at)

    def _required(self, path: Node) -> None:
        """``require("path")`` imports."""
        if "gaz" in path.text.lower():
            self.words.append((path.start, path.text))

    def _range(self, raw: Raw) -> Node:
        """``a:b`` in a subscript, and Rust's ``a..b``."""
        return self.node("group", raw, self.children(raw), text="range")

    def _return(self, raw: Raw) -> Node:
        return self.node("group", raw, self.children(raw), text="return")

    def _keyword(self, raw: Raw) -> Node:
        name = raw.child_by_field_name("name")
        return self._fields("keyword", raw, "value", text=self.text(name) if name else "")

    def _pair(self, raw: Raw) -> Node:
        """A key with its value; a shorthand is both."""
        key = next((c for f in ("key", "field", "name") if (c := raw.child_by_field_name(f))), None)
        value = raw.child_by_field_name("value") or raw.child_by_field_name("pattern")
        if key is None:
            key = next(iter(raw.named_children), raw)
        inner = self.read(value) if value is not None else None
        if inner is None and value is None:
            inner = self.node("name", key, text=self.text(key).removeprefix("r#"))
        node = self.node("pair", raw, text=self.text(key).strip("\"'`"))
        node.parts = [inner] if inner is not None else []
        return node

    def _mapping(self, raw: Raw) -> Node:
        pairs = self.children(raw)
        if raw.type == "struct_expression":
            body = raw.child_by_field_name("body")
            name = raw.child_by_field_name("name")
            if name is not None:
                self.type_words(name)
            pairs = self.children(body) if body is not None else []
        elif raw.type == "struct_pattern":
            pairs = [part for part in pairs if part.kind == "pair"]
        return self.node("mapping", raw, pairs)

    def _composite(self, raw: Raw) -> Node:
        """A Go literal: a mapping where its elements have keys."""
        kind = raw.child_by_field_name("type")
        if kind is not None:
            self.type_words(kind)
        body = raw.child_by_field_name("body") or raw
        return self._literal_value(body)

    def _literal_value(self, raw: Raw) -> Node:
        parts = self.children(raw)
        keyed = any(part.kind == "pair" for part in parts)
        return self.node("mapping" if keyed else "sequence", raw, parts)

    def _string(self, raw: Raw) -> Node:
        """A string; what it interpolates stays code."""
        parts: list[Node] = []
        content = []
        for child in raw.named_children:
            if child.type in ("interpolation", "template_substitution"):
                parts += self.children(child)
            elif child.type in ("string", "string_literal"):
                piece = self._string(child)
                parts += piece.parts
                content.append(piece.text)
            elif not child.type.startswith("string_start") and child.type != "string_end":
                content.append(self.text(child))
        text = "".join(content)
        if raw.type == "string_literal" and not content:
            text = self.text(raw).strip('"')
        return self.node("string", raw, parts, text=text)

    def _conditional(self, raw: Raw) -> Node:
        """``c ? a : b`` and ``a if c else b``: the condition is not one of the values."""
        if raw.type == "conditional_expression" and raw.child_by_field_name("condition") is None:
            children = named(raw)
            order = [children[1], children[0], *children[2:]] if len(children) == 3 else children
        else:
            order = [
                c
                for f in ("condition", "consequence", "alternative")
                for c in raw.children_by_field_name(f)
            ]
        parts = self.read_all(order)
        if len(parts) < 3:
            return self.node("group", raw, parts)
        values = self.node("choice", raw, parts[1:])
        return self.node("choice", raw, [self.node("test", raw, parts[:1]), values])


EXPRESSIONS: Mapping[str, Handler] = {
    **dict.fromkeys(_TRANSPARENT, ExpressionReader.transparent),
    **dict.fromkeys(_SEQUENCES, ExpressionReader._sequence),
    **dict.fromkeys(_STRINGS, ExpressionReader._string),
    **dict.fromkeys(
        words("binary_operator binary_expression boolean_operator"), ExpressionReader._binary
    ),
    **dict.fromkeys(words("unary_operator not_operator unary_expression"), ExpressionReader._unary),
    **dict.fromkeys(
        words("attribute field_expression member_expression selector_expression"),
        ExpressionReader._member,
    ),
    **dict.fromkeys(
        words("scoped_identifier qualified_identifier template_function"), ExpressionReader._scoped
    ),
    **dict.fromkeys(
        words("subscript index_expression subscript_expression slice_expression"),
        ExpressionReader._index,
    ),
    **dict.fromkeys(words("call call_expression new_expression"), ExpressionReader._call),
    **dict.fromkeys(
        words(
            "pair pair_pattern field_initializer field_pattern keyed_element "
            "shorthand_field_initializer shorthand_property_identifier_pattern "
            "object_assignment_pattern"
        ),
        ExpressionReader._pair,
    ),
    **dict.fromkeys(
        words("dictionary object object_pattern struct_expression struct_pattern"),
        ExpressionReader._mapping,
    ),
    **dict.fromkeys(
        words("conditional_expression ternary_expression"), ExpressionReader._conditional
    ),
    "array_expression": ExpressionReader._array,
    "comparison_operator": ExpressionReader._comparison,
    "composite_literal": ExpressionReader._composite,
    "keyword_argument": ExpressionReader._keyword,
    **dict.fromkeys(words("slice range_expression"), ExpressionReader._range),
    **dict.fromkeys(words("return_statement return_expression yield"), ExpressionReader._return),
    "literal_value": ExpressionReader._literal_value,
}
