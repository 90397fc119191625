"""Following ids through a file, by name.

Ids are followed by name within a scope, in any order of its lines, and from a call into the
parameters of a function of the same file.

Source: audit spec B.6.
"""

from __future__ import annotations

from collections.abc import Iterator

from autogaze_cli.audit.deadline import Deadline
from autogaze_cli.audit.facts import CLAMPS, CUMULATIONS, INDEXED, PLAIN, Facts
from autogaze_cli.audit.names import (
    RAW,
    VOCABULARY_SIZES,
    Names,
    is_accessor,
    is_count,
    is_pad,
    is_padding,
    is_picking,
    is_start,
    normalise,
)
from autogaze_cli.audit.nodes import Node, Tree
from autogaze_cli.audit.operands import (
    VALUES,
    division,
    given,
    is_own,
    minus,
    operand,
    operands,
)
from autogaze_cli.audit.scopes import Scope, own_field
from autogaze_cli.audit.tables import OFFSET_TABLES, is_table

PASSES = 3
MOST_NAMES = 3
"""Names of one destructuring that are followed; more is a record, not a pair."""


class File(Facts):
    """A parsed file, ready for the rules: all that can be known of its names is."""

    def __init__(self, source: bytes, tree: Tree, names: Names, deadline: Deadline) -> None:
        super().__init__(source, tree, names, deadline)
        self._callers: dict[str, dict[str, Scope]] = {}
        self._by_name: dict[tuple[str, str | None], list[Scope]] = {}
        for scope in self.scopes[1:]:
            self._by_name.setdefault((scope.name, scope.owner), []).append(scope)
            self._by_name.setdefault((scope.name, None), []).append(scope)
        for scope in self.scopes:
            self._constants(scope)
            self._defaults(scope)
        self._find_starts()
        self._find_pickers()
        for scope in self.scopes:
            self._accesses(scope)
        for scope in self.scopes:
            self._count(scope)
        known = -1
        for _ in range(PASSES):
            for scope in self.scopes:
                self._follow(scope)
            self._pass_on()
            self._hand_on()
            known, before = self._known(), known
            if known == before:
                break

    def _known(self) -> int:
        """How much is known of the names: it only grows, so the same twice is all there is."""
        found = len(self.fields) + len(self.running) + len(self.givers)
        for scope in self.scopes:
            found += len(scope.ids) + len(scope.offsets) + len(scope.products) + len(scope.vocab)
            found += scope.reads_field
        return found

    def _constants(self, scope: Scope) -> None:
        for node in scope.of("assign"):
            if len(node.parts) < 2:
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
            if self.is_frame_product(value, scope):
                scope.offsets.add(target.text)
            if self.is_offset(value, scope, by_id=True) or self._runs(target, value, scope):
                scope.products.add(target.text)
            if is_clamp(value) and self.is_id(value, scope) and _is_written_at(target.text, scope):
                scope.clamped.add(target.text)
        if node.kind == "loop":
            self._iterate(target, value, scope)
        elif self.is_id(value, scope):
            pair = value.kind == "call" and value.text == "divmod" and len(target.parts) == 2
            self._taint(target.parts[1] if pair else target, scope)

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
            lists = [node.parts[1] for node in value.parts if node.kind == "loop"]
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

    def _stands_for_vocab(self, value: Node, scope: Scope) -> bool:
        value = operand(value)
        if value.number() is not None:
            return False
        if value.kind == "call" and value.text in VALUES:
            value = operand(given(value))
        return value.kind in ("name", "member") and self.is_vocab(value, scope)

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
                names = parameter.names[1:] if indexed else parameter.names
                if len(names) <= MOST_NAMES:
                    scope.ids.update(name for name in names if name != "_")

    def _hand_on(self) -> None:
        """Find the functions that only give ids away, and do not compute with them."""
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
        if not (scope.ids or scope.accesses or scope.reads_field):
            return -1
        place: int | None = -1
        for value in self._results(scope):
            several = value.kind == "sequence" and len(value.parts) > 1
            for number, part in enumerate(value.parts if several else [value]):
                if place == -1 and self.is_id(part, scope):
                    place = number if several else None
        if place == -1:
            return place
        for node in scope.of("binary", "call"):
            sides = minus(node) or division(node)
            if sides is not None and self.is_id(sides[0], scope):
                return -1
            used = node.kind == "call" and node.text not in PLAIN
            if used and any(self.is_id(part, scope) for part in node.parts[1:]):
                return -1
        return place

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


def _is_pattern(node: Node, scope: Scope) -> bool:
    """Whether a pair stands in a pattern: on the left of an assignment or loop, or in an arm."""
    below, above = node, scope.parents.get(node)
    while above is not None and above.kind in ("mapping", "pair", "sequence", "group"):
        below, above = above, scope.parents.get(above)
    if above is None or above.kind not in ("assign", "loop", "arm"):
        return False
    return bool(above.parts) and above.parts[0] is below


def _ends_indexed(node: Node) -> bool:
    """Whether a chain of calls ends with one that adds an index."""
    while node.kind == "call" and node.parts[0].kind == "member" and node.parts[0].parts:
        if node.text in INDEXED:
            return True
        node = node.parts[0].parts[0]
    return False


def _grows(target: Node, value: Node) -> bool:
    """Whether ``target`` is moved on by something that is not one: ``begin += count``."""
    if value.kind != "binary" or value.text != "+" or len(value.parts) != 2:
        return False
    left, right = map(operand, value.parts)
    return left.kind == "name" and left.text == target.text and right.number() is None


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
