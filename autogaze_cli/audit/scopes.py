"""Scopes of a file, and which of their expressions are AutoGaze ids.

A scope is a function with its closures; what stands outside functions is one scope more. Ids are
followed by name within a scope, in any order of its lines, and from a call into the parameters of
a function of the same file.

Source: audit spec B.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from autogaze_cli.audit.names import (
    DIVISIONS,
    RAW,
    SQUARE_ROOTS,
    VOCABULARY_SIZES,
    Names,
    is_accessor,
    is_count,
    is_frame,
    is_pad,
    normalise,
)
from autogaze_cli.audit.nodes import Node, Parameter, Tree, words
from autogaze_cli.audit.operands import (
    MULTIPLYING_CALLS,
    VALUES,
    division,
    given,
    is_own,
    minus,
    operand,
    operands,
)

PASSES = 3
MOST_NAMES = 3
"""Names of one destructuring that are followed; more is a record, not a pair."""

_SIZES = words(
    "len size shape count is_empty empty numel dim ndim dims dtype device length nbytes cap "
    "capacity ndims type isinstance hash str repr format print id sum mean any all nelement "
    "is_some is_none is_ok is_err contains includes has unwrap_err with_capacity is_cuda "
    "to_string tostring join layout requires_grad stride strides element_size is_contiguous "
    "index indexOf lastIndexOf findIndex findLastIndex position rposition argsort argmax argmin "
    "argwhere nonzero partition_point binary_search"
)
_PICKS = words("gather index_select select masked_select take take_along_dim take_along_axis")
"""Calls that give some of what they are called on."""

_GATHERS = words(
    "embedding scatter scatter_ scatter_add scatter_add_ index_put index_put_ index_add index_add_ "
    "index_fill index_fill_ searchsorted isin bincount histogram eq ne lt le gt ge"
)
_COLLECTS = words("list tuple set sorted reversed zip enumerate array asarray from iter flatten")
_PLAIN = VALUES | _COLLECTS
"""Calls that give the ids they are given, or a list of them."""

_MAPS = words("map flat_map flatMap filter_map")
_MODELS = re.compile(r"embed|encod|loss|entropy|logit|attention|score|model")
"""In the name of a function: it takes ids and gives features, or a loss."""

_LOUD = frozenset([265.0, 69.0, 0.5])
_INDEXED = frozenset(["enumerate", "entries", "each_with_index"])


@dataclass(slots=True, eq=False)
class Scope:
    """One function with its closures, or the code outside functions.

    Attributes:
        label: Its dotted name; ``<module>`` outside functions.
        function: Its node; None outside functions.
        nodes: Everything in it but the functions below it, in source order.
        parents: The node each of them is a part of.
        by_kind: The nodes by their kind.
        ids: Names that hold ids.
        offsets: Names that hold the first id of a frame.
        products: Names that do when they are taken off an id.
        reads_field: Whether it reads a field that its class sets to ids, or calls a function of
            this file that hands ids on.
        sizes: Names that count something.
        totals: Names assigned from a sum.
        vocab: Names that stand for the vocabulary.
        passed: Those of them that came in through a call of this file.
        accesses: Uses of an id list by its name.
        pads: Uses of the padding flags.
        counts: Uses of the counts of the frames.
    """

    label: str
    function: Node | None
    nodes: list[Node]
    parents: dict[Node, Node]
    by_kind: dict[str, list[Node]]
    ids: set[str] = field(default_factory=set)
    offsets: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    reads_field: bool = False
    sizes: set[str] = field(default_factory=set)
    totals: set[str] = field(default_factory=set)
    vocab: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    accesses: list[Node] = field(default_factory=list)
    pads: list[Node] = field(default_factory=list)
    counts: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of its label."""
        return self.label.rpartition(".")[2]

    @property
    def owner(self) -> str:
        """The class or function it is defined in."""
        return self.label.rpartition(".")[0]

    def of(self, *kinds: str) -> list[Node]:
        """Its nodes of these kinds."""
        if len(kinds) == 1:
            return self.by_kind.get(kinds[0], [])
        return [node for kind in kinds for node in self.by_kind.get(kind, ())]

    def is_quiet(self) -> bool:
        """Whether no rule can hit: no id in it, and none of what is wrong without one."""
        return not (
            self.ids
            or self.accesses
            or self.reads_field
            or any(len(node.parts) > 2 for node in self.of("sequence", "mapping"))
            or any(node.number() in _LOUD for node in self.of("number"))
            or any(node.text in SQUARE_ROOTS for node in self.of("call"))
        )

    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of its function."""
        return self.function.parameters if self.function is not None else ()


class File:
    """A parsed file, ready for the rules.

    Attributes:
        source: Its text in UTF-8.
        names: The classes of names.
        tree: The parse.
        scopes: The code outside functions first, then the functions in source order.
        constants: Names bound in this file to 265 or 196, and where.
        fields: Fields that a class of this file sets to ids, each with the class before it.
        sized: Fields that it sets to the number of ids of a frame.
        running: Fields that grow by it.
        givers: Functions of this file that hand ids on as they are.
    """

    def __init__(self, source: bytes, tree: Tree, names: Names) -> None:
        self.source = source
        self.names = names
        self.tree = tree
        self.scopes = list(_scopes(tree.root))
        self.constants: dict[str, Node] = {}
        self.fields: set[tuple[str, str]] = set()
        self.sized: set[tuple[str, str]] = set()
        self.running: set[tuple[str, str]] = set()
        self.givers: set[str] = set()
        self._numbers: dict[str, float] = {}
        for scope in self.scopes:
            self._constants(scope)
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

    def text(self, node: Node, most: int = 60) -> str:
        """The source of ``node`` on one line."""
        words = self.source[node.start : node.end].decode("utf-8", "replace").split()
        line = " ".join(words)
        return line if len(line) <= most else line[: most - 3] + "..."

    # What an expression is.

    def is_output(self, name: str) -> bool:
        """Whether ``name`` is one of the generated output: ids, flags or counts."""
        if "gaz" not in name.lower() and not self.names.extra_id_names:
            return False
        return self.names.is_ids(name) or is_pad(name) or is_count(name)

    def is_vocab(self, node: Node, scope: Scope, *, by_id: bool = False) -> bool:
        """Whether ``node`` is the number of ids of a frame.

        Args:
            node: An expression.
            scope: Where it stands.
            by_id: Whether an id is on the other side, which makes looser names certain.
        """
        node = operand(node)
        number = node.number()
        if number is None and by_id and node.kind in ("binary", "call"):
            number = self._fold(node)
        if number is not None:
            return number == 265 or (by_id and number == 196)
        if node.kind not in ("name", "member", "call"):
            return False
        if node.kind == "call" and len(node.parts) > 1:
            return node.text in VALUES and self.is_vocab(given(node), scope, by_id=by_id)
        name = node.text
        if self.names.is_vocab(name) or name in self.constants:
            return True
        if node.kind == "name" and name in scope.vocab:
            return True
        if _own_field(node, scope) in self.sized:
            return True
        return by_id and (
            self._numbers.get(name) in VOCABULARY_SIZES or self.names.is_per_frame(name)
        )

    def is_total(self, node: Node, scope: Scope) -> bool:
        """Whether an id divided by ``node`` is split by frames: the vocabulary, or a sum."""
        if self.is_vocab(node, scope, by_id=True):
            return True
        node = operand(node)
        if node.kind == "call":
            return node.text == "sum"
        if node.kind == "index" and node.parts:
            node = node.parts[0]
        if node.kind not in ("name", "member"):
            return False
        return self.names.is_total(node.text) or node.text in scope.totals

    def is_size(self, node: Node, scope: Scope) -> bool:
        """Whether ``node`` counts something: a length, a sum, or a name of one."""
        node = operand(node)
        if node.kind == "call":
            value = given(node) if node.text in VALUES else node
            return node.text in _SIZES or (value is not node and self.is_size(value, scope))
        if node.kind in ("index", "group"):
            return bool(node.parts) and self.is_size(node.parts[0], scope)
        if node.kind == "binary":
            return any(self.is_size(part, scope) for part in node.parts)
        return node.kind in ("name", "member") and (
            node.text in (scope.sizes if node.kind == "name" else _SIZES)
        )

    def number(self, node: Node) -> float | None:
        """The number that ``node`` is: a literal, or a name this file binds to one."""
        node = operand(node)
        number = node.number()
        if number is None and node.kind in ("name", "member"):
            return self._numbers.get(node.text)
        return number

    def is_offset(self, node: Node, scope: Scope, *, by_id: bool = False) -> bool:
        """Whether ``node`` is the first id of a frame: frame times vocabulary, or a name of it."""
        node = operand(node)
        if node.kind == "name":
            return node.text in scope.offsets or (by_id and node.text in scope.products)
        if by_id and _own_field(node, scope) in self.running:
            return True
        if node.kind == "comprehend" and node.parts:
            node = node.parts[0]
        return self.is_frame_product(node, scope, by_id=by_id)

    def is_frame_product(self, node: Node, scope: Scope, *, by_id: bool = False) -> bool:
        """Whether ``node`` multiplies a frame's index with the vocabulary.

        Where it is taken off an id, one of the two is enough.
        """
        node = operand(node)
        sides = operands(node) if node.kind == "call" and node.text in MULTIPLYING_CALLS else []
        if node.kind == "binary" and node.text == "*":
            sides = node.parts
        if len(sides) != 2:
            return False
        for one, other in (sides, sides[::-1]):
            index = is_frame(_named_by(one))
            size = self.is_vocab(other, scope, by_id=by_id) or (
                operand(other).number() in VOCABULARY_SIZES
            )
            if index and size:
                return True
            named = bool(_named_by(one) and _named_by(other))
            if by_id and named and (index or size):
                return True
        return False

    def is_id(self, node: Node, scope: Scope) -> bool:
        """Whether the value of ``node`` is an id, or a list of them."""
        kind = node.kind
        if kind == "name":
            return node.text in scope.ids or self.names.is_ids(node.text)
        if kind == "member":
            if self.names.is_ids(node.text):
                return True
            if (
                (node.text in _SIZES and node.text != "id")
                or is_pad(node.text)
                or is_count(node.text)
            ):
                return False
            if _own_field(node, scope) in self.fields:
                return True
            return bool(node.parts) and self.is_id(node.parts[0], scope)
        if kind == "index":
            return bool(node.parts) and self.is_id(node.parts[0], scope)
        if kind == "call":
            return self._call_is_id(node, scope)
        if kind == "binary":
            return node.text not in DIVISIONS - {"%"} and any(
                self.is_id(part, scope) for part in node.parts
            )
        if kind == "group" and node.text == "block":
            return bool(node.parts) and self.is_id(node.parts[-1], scope)
        if kind in ("choice", "sequence", "group", "keyword"):
            return any(self.is_id(part, scope) for part in node.parts)
        if kind == "comprehend":
            return bool(node.parts) and self.is_id(node.parts[0], scope)
        if kind == "match":
            return any(self.is_id(arm.parts[-1], scope) for arm in node.parts[1:] if arm.parts)
        if kind == "assign":
            return len(node.parts) > 1 and self.is_id(node.parts[1], scope)
        if kind == "closure":
            return any(self.is_id(part, scope) for part in node.parts)
        return False

    def _call_is_id(self, node: Node, scope: Scope) -> bool:
        name, callee, arguments = node.text, node.parts[0], node.parts[1:]
        if name in _SIZES or name.endswith("_like") or self.names.is_helper(name):
            return False
        if is_accessor(name) or (name in self.givers and is_own(node)):
            return True
        if _MODELS.search(name.lower()):
            return False
        if name in _PICKS:
            return self.is_id(next(iter(operands(node)), callee), scope)
        if callee.kind == "member" and callee.parts and self.is_id(callee.parts[0], scope):
            mapped = name in _MAPS and any(_gives_size(a, self, scope) for a in arguments)
            return name not in _GATHERS and not mapped
        if name in _GATHERS or name in ("floor", "trunc", "ceil", "round"):
            return False
        ids = [argument for argument in arguments if self.is_id(argument, scope)]
        if ids and arguments[0].kind != "keyword" and all(a.kind == "keyword" for a in ids):
            return False  # a model that is told where to look: ``vit(video, gazing_pos=ids)``
        return bool(ids)

    # Following names.

    def _constants(self, scope: Scope) -> None:
        for node in scope.of("assign"):
            if len(node.parts) < 2:
                continue
            target, number = node.parts[0], self._fold(node.parts[1])
            if target.kind not in ("name", "member") or number is None:
                continue
            if scope.function is None:
                self._numbers.setdefault(target.text, number)
            if operand(node.parts[1]).number() in VOCABULARY_SIZES and (
                self.names.is_vocab(target.text)
                or (number == 265 and self.names.is_per_frame(target.text))
            ):
                self.constants.setdefault(target.text, target)

    def _fold(self, node: Node) -> float | None:
        """The number that a literal, a known name, or a sum or product of them stands for."""
        node = operand(node)
        if node.kind in ("number", "name"):
            return self.number(node)
        if node.kind == "call" and node.text == "sum" and len(node.parts) == 2:
            terms = [self._fold(part) for part in node.parts[1].parts]
            known = [term for term in terms if term is not None]
            return sum(known) if terms and len(known) == len(terms) else None
        if node.kind != "binary" or len(node.parts) != 2:
            return None
        left, right = (self._fold(part) for part in node.parts)
        if left is None or right is None:
            return None
        if node.text == "**":
            return left**2 if right == 2 else None
        if node.text in ("/", "//"):
            return left // right if right and left % right == 0 else None
        return {"+": left + right, "-": left - right, "*": left * right}.get(node.text)

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
            own = (_own_field(node, scope) for node in scope.of("member"))
            scope.reads_field = any(place in self.fields for place in own)
        if self.givers and not scope.reads_field:
            called = (node for node in scope.of("call") if node.text in self.givers)
            scope.reads_field = any(is_own(node) for node in called)
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
            place = _own_field(target, scope)
            if place and self._stands_for_vocab(value, scope):
                self.sized.add(place)

    def _bind(self, node: Node, scope: Scope) -> None:
        target, value = node.parts[0], node.parts[1]
        if target.kind in ("member", "index"):
            place = _own_field(target, scope)
            if place and node.kind == "assign" and self.is_id(value, scope):
                self.fields.add(place)
            if place and node.kind == "assign" and self._runs(target, value, scope):
                self.running.add(place)
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
            if self._stands_for_vocab(value, scope):
                scope.vocab.add(target.text)
        if node.kind == "loop":
            self._iterate(target, value, scope)
        elif self.is_id(value, scope):
            pair = value.kind == "call" and value.text == "divmod" and len(target.parts) == 2
            self._taint(target.parts[1] if pair else target, scope)

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
            if value.text in _INDEXED:
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
        by_name: dict[str, list[Scope]] = {}
        for scope in self.scopes[1:]:
            by_name.setdefault(scope.name, []).append(scope)
        for name, scopes in by_name.items():
            if all(self._gives_ids(scope) for scope in scopes):
                self.givers.add(name)
                self.fields.update((scope.owner, name) for scope in scopes if scope.owner)

    def _gives_ids(self, scope: Scope) -> bool:
        if not (scope.ids or scope.accesses or scope.reads_field):
            return False
        if not any(self.is_id(value, scope) for value in self._results(scope)):
            return False
        for node in scope.of("binary", "call"):
            sides = minus(node) or division(node)
            if sides is not None and self.is_id(sides[0], scope):
                return False
            used = node.kind == "call" and node.text not in _PLAIN
            if used and any(self.is_id(part, scope) for part in node.parts[1:]):
                return False
        return True

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
        by_name: dict[str, list[Scope]] = {}
        for scope in self.scopes[1:]:
            by_name.setdefault(scope.name, []).append(scope)
        for scope in self.scopes:
            for node in scope.of("call"):
                if not is_own(node):
                    continue
                targets = by_name.get(node.text, [])
                method = node.parts[0].kind == "member"
                near = [t for t in targets if t.owner == (scope.owner if method else scope.label)]
                targets = near or targets
                if len(targets) != 1 or targets[0] is scope:
                    continue
                self._pass_arguments(node, scope, targets[0])

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


def _own_field(node: Node, scope: Scope) -> tuple[str, str] | None:
    """The class and the field of ``self.field``; None for other expressions."""
    if node.kind != "member" or not node.parts or not scope.owner:
        return None
    holder = node.parts[0]
    own = holder.kind == "name" and holder.text in ("self", "this")
    return (scope.owner, node.text) if own else None


def _named_by(node: Node) -> str:
    """The name that an expression stands for, through casts and subscripts; "" for others."""
    node = operand(node)
    if node.kind == "call" and node.text in VALUES:
        node = operand(given(node))
    if node.kind == "index" and node.parts:
        node = node.parts[0]
    return node.text if node.kind in ("name", "member", "call") else ""


def _gives_size(node: Node, file: File, scope: Scope) -> bool:
    """Whether a closure counts: ``|row| row.len()``."""
    body = node.parts[-1] if node.kind == "closure" and node.parts else None
    return body is not None and file.is_size(body, scope)


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
        if node.text in _INDEXED:
            return True
        node = node.parts[0].parts[0]
    return False


def _scopes(root: Node) -> Iterator[Scope]:
    waiting: list[tuple[str, Node | None, list[Node]]] = [("<module>", None, [root])]
    while waiting:
        label, function, roots = waiting.pop(0)
        nodes: list[Node] = []
        parents: dict[Node, Node] = {}
        below: list[tuple[str, Node | None, list[Node]]] = []
        stack = roots[::-1]
        while stack:
            node = stack.pop()
            if node.kind == "function":
                below.append((node.text, node, node.parts))
                continue
            nodes.append(node)
            for part in reversed(node.parts):
                parents.setdefault(part, node)
                stack.append(part)
        by_kind: dict[str, list[Node]] = {}
        for node in nodes:
            by_kind.setdefault(node.kind, []).append(node)
        yield Scope(label, function, nodes, parents, by_kind)
        waiting[:0] = below
