"""Following ids through a file, by name.

Ids are followed by name within a scope, in any order of its lines, from a call into the parameters
of a function of the same file, out of functions that give them, and through fields.

Source: audit spec B.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from autogaze_cli.audit.deadline import Deadline
from autogaze_cli.audit.facts import CLAMPS, INDEXED, PLAIN
from autogaze_cli.audit.imports import Imported
from autogaze_cli.audit.linking import Call, Seeds
from autogaze_cli.audit.named import NamedFacts
from autogaze_cli.audit.names import Names, is_padding
from autogaze_cli.audit.nodes import Node, Tree, words
from autogaze_cli.audit.operands import is_own, negated, operand, operands
from autogaze_cli.audit.scopes import Scope, own_field

PASSES = 3
_FIRST = words("unique unique_consecutive sort topk max min mode kthvalue")
"""Calls that give ids, and then something about them."""

MOST_NAMES = 3
"""Names of one destructuring that are followed; more is a record, not a pair."""


class File(NamedFacts):
    """A parsed file, ready for the rules: all that can be known of its names is."""

    def __init__(
        self, source: bytes, tree: Tree, names: Names, deadline: Deadline, seeds: Seeds
    ) -> None:
        super().__init__(source, tree, names, deadline)
        self.givers.update(seeds.givers)
        self.imported.update(seeds.givers)
        self.known_numbers.update(seeds.numbers)
        self.read_names()
        self._callers: dict[str, dict[str, Scope]] = {}
        self._by_name: dict[tuple[str, str | None], list[Scope]] = {}
        for scope in self.scopes[1:]:
            self._by_name.setdefault((scope.name, scope.owner), []).append(scope)
            self._by_name.setdefault((scope.name, None), []).append(scope)
            self._seed(scope, seeds.given.get(scope.name, ()))
        known = -1
        for _ in range(PASSES):
            for scope in self.scopes:
                self._follow(scope)
            self._pass_on()
            self._hand_on()
            known, before = self._known(), known
            if known == before:
                break

    def _seed(self, scope: Scope, places: Collection[int | str]) -> None:
        """Take the parameters of a function that other files give ids to for ids."""
        parameters = [p for p in scope.parameters() if p.names not in (("self",), ("cls",))]
        for place, parameter in enumerate(parameters if places else ()):
            if place in places or (len(parameter.names) == 1 and parameter.names[0] in places):
                scope.passed.update(set(parameter.names) - scope.ids)
                scope.ids.update(parameter.names)

    def calls_out(self, imports: Imported) -> Iterator[Call]:
        """The calls of imported functions that are given ids."""
        for scope in self.scopes:
            if not (scope.ids or scope.accesses or scope.reads_field):
                continue
            for node in scope.of("call"):
                callee = node.parts[0]
                owner = callee.parts[0].text if callee.kind == "member" and callee.parts else ""
                if (owner or node.text) not in imports:
                    continue
                arguments = enumerate(node.parts[1:])
                given = [
                    argument.text if argument.kind == "keyword" else place
                    for place, argument in arguments
                    if self.is_id(argument, scope)
                ]
                if given:
                    yield Call(node.text, owner, tuple(given))

    def _known(self) -> int:
        """How much is known of the names: it only grows, so the same twice is all there is."""
        found = len(self.fields) + len(self.running) + len(self.givers)
        for scope in self.scopes:
            found += len(scope.ids) + len(scope.offsets) + len(scope.products) + len(scope.vocab)
            found += scope.reads_field
        return found

    def knows_padding(self, scope: Scope) -> bool:
        """Whether a function, or one of this file that calls it, tells padded slots from others."""
        if scope.pads or any(is_padding(node.text) for node in scope.of("name", "member")):
            return True
        if any(is_padding(name) for parameter in scope.parameters() for name in parameter.names):
            return True
        callers = self._callers.get(scope.label, {}).values()
        helpers = [self.function(node, scope) for node in scope.of("call") if is_own(node)]
        around = [*callers, *(helper for helper in helpers if helper is not None)]
        return any(other.pads for other in around)

    def _follow(self, scope: Scope) -> None:
        if self.fields and not scope.reads_field:
            own = (own_field(node, scope) for node in scope.of("member"))
            scope.reads_field = any(place in self.fields for place in own)
        if self.givers and not scope.reads_field:
            called = (node for node in scope.of("call") if node.text in self.givers)
            scope.reads_field = any(self.is_known(node) for node in called)
        if not scope.ids and not scope.accesses and not scope.reads_field:
            return
        for node in scope.of("assign", "loop"):
            if len(node.parts) > 1:
                self._bind(node, scope)
        for node in scope.of("match"):
            if self.is_id(node.parts[0], scope):
                for arm in node.parts[1:]:
                    self._taint(arm.parts[0] if arm.parts else arm, scope)
        for node in scope.of("call"):
            self._closures(node, scope)

    def _bind(self, node: Node, scope: Scope) -> None:
        target, value = node.parts[0], node.parts[1]
        if target.kind in ("member", "index"):
            place = own_field(target, scope)
            if place and node.kind == "assign" and self.is_id(value, scope):
                self.fields.add(place)
            if place and node.kind == "assign" and self._runs(target, value, scope):
                self.running.add(place)
            return
        if target.kind == "sequence" and node.kind == "assign":
            number = self._place_of_ids(value)
            if number is not None:
                for part in target.parts[number : number + 1]:
                    self._taint(part, scope)
                return
        both = target.kind == value.kind == "sequence" and len(target.parts) == len(value.parts)
        if both and node.kind == "assign":
            for one, other in zip(target.parts, value.parts, strict=True):
                if self.is_id(other, scope):
                    self._taint(one, scope)
            return
        if target.kind == "name" and node.kind == "assign":
            whole = operand(value)
            if whole.kind in ("name", "member") and self.names.is_ids(whole.text):
                scope.batches.add(target.text)
            if self.is_frame_product(value, scope):
                scope.offsets.add(target.text)
            if self.is_offset(value, scope, by_id=True) or self._runs(target, value, scope):
                scope.products.add(target.text)
            positive = negated(value, scope.negatives)
            if positive is not None and self.is_offset(positive, scope, by_id=True):
                scope.negatives[target.text] = positive
            if is_clamp(value) and self.is_id(value, scope) and _is_written_at(target.text, scope):
                scope.clamped.add(target.text)
        if node.kind == "loop":
            self._iterate(target, value, scope)
        elif self.is_id(value, scope):
            several = target.kind == "sequence" and value.kind == "call"
            if several and value.text == "divmod" and len(target.parts) == 2:
                target = target.parts[1]
            elif several and value.text in _FIRST:
                target = target.parts[0]
            self._taint(target, scope)

    def _place_of_ids(self, value: Node) -> int | None:
        """Which of the values that are unpacked are ids, where that can be told."""
        value = operand(value)
        if value.kind == "call" and self.is_known(value):
            return self.givers.get(value.text)
        keys = list(self._asked_keys(value))
        return next((i for i, key in enumerate(keys) if self.names.is_ids(key)), None)

    def _asked_keys(self, value: Node) -> Iterator[str]:
        """The fields that a generator, ``map(out.get, ...)`` or ``itemgetter`` goes through."""
        if value.kind == "comprehend":
            lists = [node.parts[1] for node in value.walk() if node.kind == "loop"]
        elif value.kind == "call" and value.text == "map":
            lists = value.parts[2:3]
        elif value.kind == "call" and value.parts[0].text == "itemgetter":
            lists = [Node("sequence", 0, 0, 0, parts=value.parts[0].parts[1:])]
        else:
            return
        for node in lists[:1]:
            parts = node.parts if node.kind == "sequence" else self.lists_of_keys.get(node.text, [])
            yield from (part.text for part in parts)

    def _runs(self, target: Node, value: Node, scope: Scope) -> bool:
        """Whether ``target`` moves on by a frame: ``base += 265``."""
        if value.kind != "binary" or value.text != "+" or self.is_id(target, scope):
            return False
        left, right = map(operand, value.parts)
        return left.text == target.text and self.is_vocab(right, scope, by_id=True)

    def _iterate(self, pattern: Node, value: Node, scope: Scope) -> None:
        """Bind a loop's names to what it runs over; counters and flags are not ids."""
        value = operand(value)
        if value.kind == "call" and pattern.kind == "sequence" and len(pattern.parts) > 1:
            arguments = operands(value)
            if value.text in INDEXED:
                for argument in arguments[:1]:
                    self._iterate(pattern.parts[-1], argument, scope)
                return
            if value.text in ("zip", "izip") and len(arguments) == len(pattern.parts):
                for part, argument in zip(pattern.parts, arguments, strict=True):
                    self._iterate(part, argument, scope)
                return
        if self.is_id(value, scope):
            self._taint(pattern, scope)
        elif pattern.kind == "name" and (
            self.is_offset(value, scope, by_id=True) or self._steps(value, scope)
        ):
            scope.products.add(pattern.text)

    def _steps(self, value: Node, scope: Scope) -> bool:
        """Whether a loop runs over the first ids of the frames: ``range(0, end, 265)``."""
        stepped = value.text == "step_by" or (value.text == "range" and len(value.parts) == 4)
        return (
            stepped and value.kind == "call" and self.is_vocab(value.parts[-1], scope, by_id=True)
        )

    def _taint(self, pattern: Node, scope: Scope) -> None:
        names = [name for name in pattern.names() if name not in ("_", "self", "this", "None")]
        if len(names) <= MOST_NAMES:
            scope.ids.update(names)

    def _closures(self, node: Node, scope: Scope) -> None:
        """Bind the parameters of closures that are called with ids."""
        closures = [part for part in node.parts[1:] if part.kind == "closure"]
        if not closures:
            return
        others = [part for part in node.parts if part.kind != "closure"]
        receiver = node.parts[0]
        indexed = False
        if receiver.kind == "member" and receiver.parts:
            others[0] = receiver.parts[0]
            indexed = _ends_indexed(receiver.parts[0])
        if not any(self.is_id(other, scope) for other in others):
            return
        for closure in closures:
            chosen = closure.parameters
            if node.text in ("map", "forEach", "flatMap", "filter", "some", "every", "find"):
                chosen = chosen[:1]  # what follows is the index
            elif node.text in ("reduce", "fold", "try_fold", "scan"):
                chosen = chosen[1:2]
            for parameter in chosen:
                several = indexed and len(parameter.names) > 1  # Rust's `_` is no name
                names = parameter.names[1:] if several else parameter.names
                if len(names) <= MOST_NAMES:
                    scope.ids.update(name for name in names if name != "_")

    def _hand_on(self) -> None:
        """Find the functions that give ids, or what is left of them."""
        for (name, owner), scopes in self._by_name.items():
            if owner is not None or name in self.givers:
                continue
            places = {self._gives_ids(scope) for scope in scopes}
            if len(places) == 1 and (place := places.pop()) != -1:
                self.givers[name] = place
                if place is None:
                    self.fields.update((scope.owner, name) for scope in scopes if scope.owner)

    def _gives_ids(self, scope: Scope) -> int | None:
        """Which of the values that a function gives are ids: None = the only one, -1 = none."""
        for value in self._results(scope):
            bare = value.parts[1] if value.text in ("tuple", "list") and value.parts[1:] else value
            place = self._place_of_ids(bare)
            if place is not None:
                return place
            if not (scope.ids or scope.accesses or scope.reads_field):
                continue
            several = value.kind == "sequence" and len(value.parts) > 1
            for number, part in enumerate(value.parts if several else [value]):
                if self.is_id(part, scope) and not self._passes_through(scope):
                    return number if several else None
        return -1

    def _passes_through(self, scope: Scope) -> bool:
        """Whether ids are given to a function that may make anything of them."""
        calls = (node for node in scope.of("call") if node.text not in PLAIN)
        return any(self.is_id(part, scope) for node in calls for part in node.parts[1:])

    def _results(self, scope: Scope) -> Iterator[Node]:
        """What a function gives: what it returns or yields, and an expression that ends it."""
        for node in scope.of("group"):
            above: Node | None = node
            while above is not None and above.kind != "closure":
                above = scope.parents.get(above)
            if node.text == "return" and above is None:
                yield from node.parts
        body = scope.function.parts[-1] if scope.function and scope.function.parts else None
        if body is None or body.text == "return":
            return
        last = body.parts[-1] if body.kind == "group" and body.text == "block" else body
        bare = body.kind != "group" or self.source[last.end : body.end].split() == [b"}"]
        if bare and last.kind not in ("assign", "loop"):
            yield last

    def _pass_on(self) -> None:
        """Follow ids from calls into the parameters of this file's own functions."""
        for scope in self.scopes:
            for node in scope.of("call"):
                target = self.function(node, scope) if is_own(node) else None
                if target is not None and target is not scope:
                    self._callers.setdefault(target.label, {})[scope.label] = scope
                    self._pass_arguments(node, scope, target)

    def function(self, call: Node, scope: Scope) -> Scope | None:
        """The function of this file that a call names, if there is one such."""
        owner = scope.owner if call.parts[0].kind == "member" else scope.label
        for key in ((call.text, owner), (call.text, None)):
            targets = self._by_name.get(key, [])
            if targets:
                return targets[0] if len(targets) == 1 else None
        return None

    def _pass_arguments(self, call: Node, scope: Scope, target: Scope) -> None:
        parameters = [p for p in target.parameters() if p.names not in (("self",), ("cls",))]
        for place, argument in enumerate(call.parts[1:]):
            if not self.is_id(argument, scope):
                continue
            if argument.kind == "keyword":
                names: tuple[str, ...] = (argument.text,)
                if names not in [p.names for p in parameters]:
                    continue
            elif place < len(parameters) and len(parameters[place].names) == 1:
                names = parameters[place].names
            else:
                continue
            target.passed.update(set(names) - target.ids)
            target.ids.update(names)


def _ends_indexed(node: Node) -> bool:
    """Whether a chain of calls ends with one that adds an index."""
    while node.kind == "call" and node.parts[0].kind == "member" and node.parts[0].parts:
        if node.text in INDEXED:
            return True
        node = node.parts[0].parts[0]
    return False


def is_clamp(node: Node) -> bool:
    """Whether a call forces its operand into a range."""
    node = operand(node)
    return node.kind == "call" and node.text.rstrip("_") in CLAMPS


def _is_written_at(name: str, scope: Scope) -> bool:
    """Whether something is set at the index ``name``."""
    for node in scope.of("assign", "call"):
        target = node.parts[0]
        places = target.parts[1:] if node.kind == "assign" and target.kind == "index" else []
        if node.kind == "call" and node.text.rstrip("_") in ("scatter", "index_fill", "index_put"):
            places = node.parts[1:3]
        if any(below.text == name for place in places for below in place.walk()):
            return True
    return False
