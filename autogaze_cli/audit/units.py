"""Which functions and classes of a file need no reading: most of a large file, as a rule.

A unit is a function or class at the top of a file. It is read where its text could be what a rule
objects to by itself, or where its name stands in what is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from autogaze_cli.audit.nodes import words

if TYPE_CHECKING:
    from tree_sitter import Node as Raw

_UNITS = words(
    "function_definition function_item function_declaration generator_function_declaration "
    "method_declaration class_definition class_declaration impl_item decorated_definition "
    "export_statement"
)
_LOUD = re.compile(
    rb"gaz|265|\b69\b|sqrt|0?\.5\b|readout|generated|pyramid|image_mask|fixation|scale_token",
    re.IGNORECASE,
)
_TABLES = re.compile(rb"112\W{1,4}224|\b7\W{1,4}14\b|49\W{1,4}196|20\W{1,4}69")
_KEYWORDS = frozenset(b"export const let var static pub fn def from import use".split())
_WORD = re.compile(rb"[A-Za-z_$][\w$]*")


def unread(root: Raw, source: bytes, needed: Iterable[str]) -> set[int]:
    """The ids of the nodes that need no reading.

    Args:
        root: The whole file.
        source: Its text.
        needed: Names that are needed whatever they stand for, or that make a unit worth reading.
    """
    quiet: dict[int, tuple[set[bytes], list[bytes]]] = {}
    if root.child_count < 2 or _TABLES.search(source):
        return set()  # a file that lists the scales may compute with them anywhere
    read = {name.encode() for name in needed}  # words of what is read
    hot = set(read)  # names of what is read, and of what it is about
    for child in root.children:
        text = source[child.start_byte : child.end_byte]
        names = _names(child, source) if child.type in _UNITS else []
        loud = _LOUD.search(text) is not None
        found = set(_WORD.findall(text))
        if names and not loud and hot.isdisjoint(found):
            quiet[child.id] = found, names
            continue
        read |= found
        if names:
            hot.update(names)
        elif loud:
            hot.update(set(_WORD.findall(text.partition(b"=")[0])) - _KEYWORDS)
    return _out_of_reach(quiet, read, hot)


def _out_of_reach(
    quiet: dict[int, tuple[set[bytes], list[bytes]]], read: set[bytes], hot: set[bytes]
) -> set[int]:
    """The units that neither are named in what is read nor name what is."""
    named: dict[bytes, list[int]] = {}
    naming: dict[bytes, list[int]] = {}
    for number, (_, names) in quiet.items():
        for name in names:
            named.setdefault(name, []).append(number)
    for number, (found, _) in quiet.items():
        for word in found & (named.keys() | hot):
            naming.setdefault(word, []).append(number)
    left = set(quiet)
    waiting = [n for word in read & named.keys() for n in named[word]]
    waiting += [n for word in hot & naming.keys() for n in naming[word]]
    while waiting:
        number = waiting.pop()
        if number not in left:
            continue
        left.remove(number)
        found, names = quiet[number]
        waiting += [n for word in found & named.keys() for n in named[word]]
        waiting += [n for name in names for n in naming.get(name, ())]
    return left


def _names(unit: Raw, source: bytes) -> list[bytes]:
    """The names that a unit is called by; none where it is no function or class."""
    parts = [p for f in ("name", "type", "receiver") if (p := unit.child_by_field_name(f))]
    if unit.type in ("decorated_definition", "export_statement"):
        inner = unit.child_by_field_name("definition") or unit.child_by_field_name("declaration")
        return _names(inner, source) if inner is not None and inner.type in _UNITS else []
    if not unit.child_by_field_name("name"):
        parts += _declared(unit)
    return [
        name for part in parts for name in _WORD.findall(source, part.start_byte, part.end_byte)
    ]


def _declared(unit: Raw) -> Iterator[Raw]:
    """The name of a C or C++ function, with the class before it."""
    inner = unit.child_by_field_name("declarator")
    while inner is not None and inner.type != "function_declarator":
        inner = inner.child_by_field_name("declarator")
    name = inner.child_by_field_name("declarator") if inner is not None else None
    if name is not None:
        yield name
