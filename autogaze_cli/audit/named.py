"""What the names of a file say by themselves, before anything is followed.

Source: audit spec B.6.
"""

from __future__ import annotations

from autogaze_cli.audit.facts import CUMULATIONS, Facts
from autogaze_cli.audit.names import (
    RAW,
    VOCABULARY_SIZES,
    is_accessor,
    is_count,
    is_pad,
    is_picking,
    is_start,
    normalise,
)
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.operands import VALUES, given, operand
from autogaze_cli.audit.scopes import Scope, own_field
from autogaze_cli.audit.tables import OFFSET_TABLES, is_table


class NamedFacts(Facts):
    """A parsed file, with the constants, keys and accesses in it."""

    def read_names(self) -> None:
        """Find them."""
        for scope in self.scopes:
            self._constants(scope)
            self._defaults(scope)
        self._find_starts()
        self._find_pickers()
        for scope in self.scopes:
            self._accesses(scope)
        for scope in self.scopes:
            self._count(scope)

    def _constants(self, scope: Scope) -> None:
        """Find the names that are numbers; one that is assigned twice in a function is none."""
        seen: set[str] = set()
        for node in scope.of("assign"):
            if len(node.parts) < 2:
                continue
            again = node.parts[0].kind == "name" and node.parts[0].text in seen
            seen.add(node.parts[0].text)
            if again and scope.function is not None:
                scope.numbers.pop(node.parts[0].text, None)
                continue
            if scope.function is None and node.parts[0].text:
                lists = [below for below in node.parts[1].walk() if below.kind == "sequence"]
                self.tables.setdefault(node.parts[0].text, []).extend(lists)
            target, number = node.parts[0], self.fold(node.parts[1])
            if target.kind not in ("name", "member") or number is None:
                continue
            if scope.function is None or own_field(target, scope):
                self.known_numbers.setdefault(target.text, number)
            elif target.kind == "name":
                scope.numbers[target.text] = number
            if operand(node.parts[1]).number() in VOCABULARY_SIZES and (
                self.names.is_vocab(target.text)
                or (number == 265 and self.names.is_per_frame(target.text))
            ):
                self.constants.setdefault(target.text, target)

    def _defaults(self, scope: Scope) -> None:
        """Find the numbers that parameters have where nothing is passed."""
        for parameter in scope.parameters():
            number = self.fold(parameter.default) if parameter.default is not None else None
            for name in parameter.names:
                if number is not None:
                    scope.numbers[name] = number
                else:
                    scope.numbers.pop(name, None)
                if number == 265 or (number == 196 and self.names.is_vocab(name)):
                    scope.vocab.add(name)

    def _accesses(self, scope: Scope) -> None:
        """Find the uses of the generated output, and the names that start as ids."""
        for node in scope.of("name", "member", "pair"):
            if self.is_output(node.text) and self._is_access(node, scope):
                if self.names.is_ids(node.text):
                    scope.accesses.append(node)
                    if node.kind == "pair":
                        scope.ids.update(name for part in node.parts for name in part.names())
                elif is_pad(node.text):
                    scope.pads.append(node)
                elif is_count(node.text):
                    scope.counts.append(node)
        self._keys(scope)
        for parameter in scope.parameters():
            for name in parameter.names:
                if self.names.is_ids(name):
                    scope.ids.add(name)
                    scope.accesses.append(scope.function or scope.nodes[0])
                elif is_pad(name):
                    scope.pads.append(scope.function or scope.nodes[0])
                elif is_count(name):
                    scope.counts.append(scope.function or scope.nodes[0])
        if scope.accesses:
            for node in scope.of("name"):
                if normalise(node.text) in RAW:
                    scope.ids.add(node.text)

    def _keys(self, scope: Scope) -> None:
        """Find the fields of the output that are reached by a name or through a call."""
        for node in scope.of("assign", "loop"):
            if len(node.parts) < 2:
                continue
            value = node.parts[1]
            values = value.parts if value.kind in ("sequence", "choice") else [value]
            strings = [part for part in values if part.kind == "string"]
            if not strings or not any(self.is_output(part.text) for part in strings):
                continue
            if node.kind == "assign" and value.kind == "sequence":
                self.lists_of_keys[node.parts[0].text] = values
            elif any(self.names.is_ids(part.text) for part in strings):
                scope.keys.update(node.parts[0].names())
        for node in scope.of("call"):
            for part in node.parts[1:]:
                value = part.parts[0] if part.kind == "keyword" and part.parts else part
                picked = value.kind == "string" and (
                    is_picking(node.text) or node.text in self.pickers
                )
                if picked and self.names.is_ids(value.text):
                    scope.accesses.append(node)
                elif picked and is_pad(value.text):
                    scope.pads.append(node)
                elif picked and is_count(value.text):
                    scope.counts.append(node)
        for node in scope.of("index"):
            if self._is_keyed(node, scope):
                scope.accesses.append(node)

    def _find_starts(self) -> None:
        """Find the tables of first ids that the file adds up from the scales it lists."""
        if not self.has_scales():
            return
        for scope in self.scopes:
            for node in scope.of("assign"):
                if len(node.parts) < 2 or not is_start(node.parts[0].text):
                    continue
                value = node.parts[1]
                sums = any(b.kind == "call" and b.text in CUMULATIONS for b in value.walk())
                if sums or any(is_table(b, OFFSET_TABLES) for b in value.walk()):
                    self.starts.add(node.parts[0].text)

    def _find_pickers(self) -> None:
        """Find the functions that give the field whose name they are given."""
        for scope in self.scopes[1:]:
            names = {name for parameter in scope.parameters() for name in parameter.names}
            for node in scope.of("index", "call"):
                key = node.parts[1] if len(node.parts) > 1 else None
                get = node.kind == "index" or node.text in ("get", "getattr", "at", "get_tensor")
                if get and key is not None and key.kind == "name" and key.text in names:
                    self.pickers.add(scope.name)

    def _is_access(self, node: Node, scope: Scope) -> bool:
        """Whether a name is read: not a key, nor what an assignment binds."""
        parent = scope.parents.get(node)
        if node.kind == "pair":
            return _is_pattern(node, scope)
        if parent is not None and parent.kind == "call" and parent.parts[0] is node:
            return is_accessor(node.text) or not self.names.is_ids(node.text)
        if parent is None or node.kind == "member":
            return True
        if parent.kind == "assign" and parent.parts[0] is node:
            return False
        return parent.kind != "pair" or not _is_pattern(parent, scope)

    def _count(self, scope: Scope) -> None:
        """Find the names that count, the sums, and the fields that hold the vocabulary."""
        for node in scope.of("assign"):
            if len(node.parts) < 2:
                continue
            target, value = node.parts[0], operand(node.parts[1])
            if target.kind == "name" and self.is_size(value, scope):
                scope.sizes.add(target.text)
            if target.kind == "name" and value.kind == "call" and value.text in ("sum", "cumsum"):
                scope.totals.add(target.text)
            place = own_field(target, scope)
            if place and self._stands_for_vocab(value, scope):
                self.sized.add(place)
            if target.kind == "name" and self._stands_for_vocab(value, scope):
                scope.vocab.add(target.text)
            if target.kind == "name" and _grows(target, value):
                scope.running.add(target.text)

    def _stands_for_vocab(self, value: Node, scope: Scope) -> bool:
        value = operand(value)
        if value.number() is not None:
            return False
        if value.kind == "call" and value.text in VALUES:
            value = operand(given(value))
        return value.kind in ("name", "member") and self.is_vocab(value, scope)


def _is_pattern(node: Node, scope: Scope) -> bool:
    """Whether a pair stands in a pattern: on the left of an assignment or loop, or in an arm."""
    below, above = node, scope.parents.get(node)
    while above is not None and above.kind in ("mapping", "pair", "sequence", "group"):
        below, above = above, scope.parents.get(above)
    if above is None or above.kind not in ("assign", "loop", "arm"):
        return False
    return bool(above.parts) and above.parts[0] is below


def _grows(target: Node, value: Node) -> bool:
    """Whether ``target`` is moved on by something that is not one: ``begin += count``."""
    if value.kind != "binary" or value.text != "+" or len(value.parts) != 2:
        return False
    left, right = map(operand, value.parts)
    return left.kind == "name" and left.text == target.text and right.number() is None
