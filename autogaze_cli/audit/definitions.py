"""Bindings and functions: what an expression stands in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from autogaze_cli.audit.expressions import EXPRESSIONS
from autogaze_cli.audit.macros import MacroReader
from autogaze_cli.audit.nodes import Node, Parameter, words
from autogaze_cli.audit.reader import NAMES, TYPE_FIELDS, Handler, leaves, named

if TYPE_CHECKING:
    from tree_sitter import Node as Raw

_FUNCTIONS = words(
    "function_definition function_item function_declaration generator_function_declaration "
    "method_definition method_declaration function_signature_item"
)
_CLOSURES = words(
    "lambda closure_expression arrow_function function_expression generator_function "
    "lambda_expression func_literal"
)
_HOLDERS = words(
    "class_definition class_declaration class_specifier struct_specifier impl_item mod_item "
    "namespace_definition trait_item abstract_class_declaration"
)

_DEFINING = words(
    "variable_declarator public_field_definition field_definition assignment_expression"
)


class SourceReader(MacroReader):
    """Reads one file."""

    # Bindings.

    def _assign(self, raw: Raw) -> Node | None:
        fields = (
            ("left", "right"),
            ("name", "value"),
            ("pattern", "value"),
            ("declarator", "value"),
        )
        for first, second in fields:
            if raw.child_by_field_name(first) is not None:
                return self._assignment(raw, first, second)
        return self.transparent(raw)

    def _assignment(self, raw: Raw, first: str, second: str) -> Node | None:
        for field in TYPE_FIELDS:
            kind = raw.child_by_field_name(field)
            if kind is not None:
                self.type_words(kind)
        values = raw.children_by_field_name(second)
        if len(values) == 1 and values[0].type in _CLOSURES and not self.inside:
            name = raw.child_by_field_name(first)
            if name is not None and raw.type in _DEFINING:
                return self._function(values[0], self.text(name).rpartition(".")[2], name, raw)
        targets = self.read_all(raw.children_by_field_name(first))
        value = self.read_all(values)
        if not targets:
            return self.node("group", raw, value) if value else None
        target = targets[0] if len(targets) == 1 else self.node("sequence", raw, targets)
        operator = raw.child_by_field_name("operator")
        text = self.text(operator) if operator is not None else "="
        if value and text not in ("=", ":=") and text.endswith("="):
            at = operator.start_byte if operator is not None else -1
            value = [self.node("binary", raw, [target, value[0]], text=text[:-1], at=at)]
        node = self.node("assign", raw, [target, *value[:1]])
        node.at = target.at
        alternative = self.read(raw.child_by_field_name("alternative"))
        body = self.read(raw.child_by_field_name("body"))
        extra = [part for part in (alternative, body) if part is not None]
        return self.node("group", raw, [node, *extra]) if extra else node

    def _loop(self, raw: Raw) -> Node | None:
        """``for pattern in iterable``; Go's first of two names is the index."""
        if not any(raw.child_by_field_name(field) for field in ("right", "value")):
            return self.transparent(raw)  # a loop that counts
        left = next(
            (c for f in ("left", "pattern", "declarator") if (c := raw.child_by_field_name(f))),
            None,
        )
        right = raw.child_by_field_name("right") or raw.child_by_field_name("value")
        pattern = self.read(left) or self.node("group", raw)
        iterable = self.read(right) or self.node("group", raw)
        if raw.type == "range_clause":
            parts = pattern.parts if pattern.kind == "sequence" else [pattern]
            pattern = parts[1] if len(parts) == 2 else self.node("group", raw)
        loop = self.node("loop", raw, [pattern, iterable])
        body = [self.read(raw.child_by_field_name(f)) for f in ("body", "alternative")]
        return self.node("group", raw, [loop, *(part for part in body if part is not None)])

    def _comprehension(self, raw: Raw) -> Node:
        return self.node("comprehend", raw, self.children(raw))

    def _match(self, raw: Raw) -> Node:
        subject = raw.child_by_field_name("value") or raw.child_by_field_name("subject")
        body = raw.child_by_field_name("body")
        first = self.read(subject) or self.node("group", raw)
        arms = self.children(body) if body is not None else []
        return self.node("match", raw, [first, *arms])

    def _arm(self, raw: Raw) -> Node:
        """What a case is compared with as one pattern, then its guard and its body."""
        parts = self.children(raw)
        ends = [c.end_byte for c in named(raw) if c.type in ("case_pattern", "match_pattern")]
        end = max(ends, default=raw.start_byte) + self.shift
        patterns = [part for part in parts if part.end <= end]
        pattern = patterns[0] if len(patterns) == 1 else self.node("group", raw, patterns)
        return self.node("arm", raw, [pattern, *parts[len(patterns) :]])

    def _dict_pattern(self, raw: Raw) -> Node:
        """``case {"gazing_pos": ids}``; what is left over has no key."""
        keys, values = (raw.children_by_field_name(field) for field in ("key", "value"))
        pairs = []
        for key, value in zip(keys, values, strict=False):
            name = self.read(key)
            text = name.text if name is not None and name.kind == "string" else ""
            pairs.append(self.node("pair", key, self.read_all([value]), text=text))
        return self.node("mapping", raw, pairs)

    def _keyword_pattern(self, raw: Raw) -> Node:
        """``case Output(gazing_pos=ids)``."""
        parts = named(raw)
        text = self.word(parts[0]) if parts else ""
        return self.node("pair", raw, self.read_all(parts[1:]), text=text)

    def _match_pattern(self, raw: Raw) -> Node | None:
        parts = self.children(raw)
        return self.node("group", raw, parts) if len(parts) > 1 else next(iter(parts), None)

    def _tuple_struct(self, raw: Raw) -> Node:
        children = named(raw)[1:]
        return self.node("sequence", raw, self.read_all(children))

    def _with_item(self, raw: Raw) -> Node | None:
        """``value as name`` binds like an assignment."""
        alias = raw.child_by_field_name("alias")
        parts = self.read_all(named(raw))
        if alias is None or len(parts) < 2:
            return self.node("group", raw, parts) if parts else None
        return self.node("assign", raw, [parts[1], parts[0]])

    # Functions, and what holds them.

    def _defined(self, raw: Raw) -> Node | None:
        name = raw.child_by_field_name("name")
        holder = raw
        if name is None:  # C and C++: the declarator holds the name and the parameters
            declarator = raw.child_by_field_name("declarator")
            while declarator is not None and declarator.type != "function_declarator":
                inner = declarator.child_by_field_name("declarator")
                declarator = inner or next(iter(named(declarator)), None)
            if declarator is None:
                return self.transparent(raw)
            holder = declarator
            name = declarator.child_by_field_name("declarator")
            while name is not None and (last := name.child_by_field_name("name")) is not None:
                name = last
        if name is None:
            return self.transparent(raw)
        return self._function(raw, self.word(name), name, raw, holder)

    def _function(
        self, raw: Raw, text: str, name: Raw, whole: Raw, holder: Raw | None = None
    ) -> Node:
        receiver = raw.child_by_field_name("receiver")
        kind = re.search(r"\w+(?=\s*\)?$)", self.text(receiver)) if receiver is not None else None
        prefix = [kind[0]] if kind else []
        parameters = self._parameters(holder or raw)
        self.path += [*prefix, text]
        self.inside += 1
        body = self.read(raw.child_by_field_name("body"))
        self.inside -= 1
        node = self.node("function", whole, text=".".join(self.path), at=name.start_byte)
        del self.path[-1 - len(prefix) :]
        node.parts = [body] if body is not None else []
        node.parameters = tuple(parameters)
        node.head = node.start
        return node

    def _closure(self, raw: Raw) -> Node:
        holder = raw
        if raw.type == "lambda_expression":
            holder = raw.child_by_field_name("declarator") or raw
        parameters = self._parameters(holder)
        self.inside += 1
        body = self.read(raw.child_by_field_name("body"))
        self.inside -= 1
        node = self.node("closure", raw, [body] if body is not None else [])
        node.parameters = tuple(parameters)
        return node

    def _parameters(self, raw: Raw) -> list[Parameter]:
        single = raw.child_by_field_name("parameter")
        holder = raw.child_by_field_name("parameters")
        found = [single] if single is not None else named(holder) if holder is not None else []
        parameters = []
        for item in found:
            kind = item.child_by_field_name("type")
            if kind is not None:
                self.type_words(kind)
            text = self.text(kind) if kind is not None else ""
            names: list[Raw] = []
            for field in ("pattern", "name", "declarator", "left"):
                names = names or item.children_by_field_name(field)
            if not names:
                plain = item.type in NAMES or item.type.endswith("_pattern")
                names = [item] if plain else [c for c in named(item) if c != kind]
            read = self.read_all(names)
            if item.type == "parameter_declaration" and item.child_by_field_name("name"):
                parameters += [Parameter((name.text,), text) for name in read]  # Go: a, b int
            elif read:
                bound = tuple(n for node in read for n in node.names())
                parameters.append(Parameter(bound, text, self._default(item)))
        return parameters

    def _default(self, raw: Raw) -> Node | None:
        fields = ("value", "right", "default_value")
        return self.read(next((c for f in fields if (c := raw.child_by_field_name(f))), None))

    def _decorated(self, raw: Raw) -> Node | None:
        parts = self.children(raw)
        for part in parts:
            if part.kind == "function":
                part.head = raw.start_byte + self.shift
        return self.node("group", raw, parts) if len(parts) != 1 else parts[0]

    def _holder(self, raw: Raw) -> Node | None:
        name = raw.child_by_field_name("name") or raw.child_by_field_name("type")
        label = re.match(r"[\w:$]+", self.text(name)) if name is not None else None
        self.path.append(label[0] if label else "")
        inside, self.inside = self.inside, 0
        parts = self.children(raw)
        self.inside = inside
        self.path.pop()
        return self.node("group", raw, parts)

    def _assertion(self, raw: Raw) -> Node:
        return self.node("assertion", raw, self.children(raw))

    def _imports(self, raw: Raw) -> None:
        """An import holds no code, but may mention the package."""
        self.imports.append(self.text(raw))
        for node in leaves(raw):
            text = self.text(node)
            if "gaz" in text.lower():
                self.words.append((node.start_byte + self.shift, text))


_SOURCE: dict[str, Handler] = {
    **EXPRESSIONS,
    **dict.fromkeys(_FUNCTIONS, SourceReader._defined),
    **dict.fromkeys(_CLOSURES, SourceReader._closure),
    **dict.fromkeys(_HOLDERS, SourceReader._holder),
    **dict.fromkeys(
        words(
            "assignment augmented_assignment named_expression let_declaration let_condition "
            "const_item static_item assignment_expression augmented_assignment_expression "
            "compound_assignment_expr variable_declarator public_field_definition field_definition "
            "init_declarator short_var_declaration assignment_statement var_spec const_spec "
            "enumerator enum_assignment"
        ),
        SourceReader._assign,
    ),
    **dict.fromkeys(
        words(
            "for_statement for_expression for_in_statement for_range_loop range_clause "
            "for_in_clause"
        ),
        SourceReader._loop,
    ),
    **dict.fromkeys(
        words("list_comprehension set_comprehension generator_expression dictionary_comprehension"),
        SourceReader._comprehension,
    ),
    **dict.fromkeys(words("match_expression match_statement"), SourceReader._match),
    **dict.fromkeys(words("match_arm case_clause"), SourceReader._arm),
    **dict.fromkeys(
        words(
            "import_statement import_from_statement future_import_statement use_declaration "
            "extern_crate_declaration import_declaration preproc_include"
        ),
        SourceReader._imports,
    ),
    "as_pattern": SourceReader._with_item,
    "class_pattern": SourceReader._tuple_struct,
    "assert_statement": SourceReader._assertion,
    "decorated_definition": SourceReader._decorated,
    "dict_pattern": SourceReader._dict_pattern,
    "keyword_pattern": SourceReader._keyword_pattern,
    "macro_invocation": MacroReader._macro,
    "match_pattern": SourceReader._match_pattern,
    "preproc_def": MacroReader._define,
    "preproc_function_def": MacroReader._define_function,
    "tuple_struct_pattern": SourceReader._tuple_struct,
}
SourceReader.handlers = _SOURCE
