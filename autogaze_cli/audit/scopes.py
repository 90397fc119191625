"""Scopes of a file: a function with its closures; what stands outside functions is one scope more.

Source: audit spec B.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from autogaze_cli.audit.nodes import Node, Parameter


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
        negatives: Names that hold the negative of one, and what of.
        reads_field: Whether it reads a field that its class sets to ids, or calls a function of
            this file that hands ids on.
        sizes: Names that count something.
        totals: Names assigned from a sum.
        running: Names that grow in steps that are not a frame's: the first id of a scale.
        batches: Names of the ids of a whole batch.
        keys: Names that hold the name of the ids' field.
        numbers: Names that are numbers here: defaults of parameters, and what is assigned.
        clamped: Names that hold ids forced into a range.
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
    negatives: dict[str, Node] = field(default_factory=dict)
    reads_field: bool = False
    sizes: set[str] = field(default_factory=set)
    totals: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    batches: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    numbers: dict[str, float] = field(default_factory=dict)
    clamped: set[str] = field(default_factory=set)
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

    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of its function."""
        return self.function.parameters if self.function is not None else ()


def find_scopes(root: Node) -> Iterator[Scope]:
    """The code outside functions first, then the functions in source order."""
    waiting: list[tuple[str, Node | None, list[Node]]] = [("<module>", None, [root])]
    while waiting:
        label, function, roots = waiting.pop()
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
        waiting += reversed(below)


def own_field(node: Node, scope: Scope) -> tuple[str, str] | None:
    """The class and the field of ``self.field``; None for other expressions."""
    if node.kind != "member" or not node.parts or not scope.owner:
        return None
    holder = node.parts[0]
    own = holder.kind == "name" and holder.text in ("self", "this")
    return (scope.owner, node.text) if own else None
