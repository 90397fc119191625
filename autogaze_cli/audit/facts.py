"""What an expression of a file is, by what is known of its names.

Source: audit spec B.6.
"""

from __future__ import annotations

import re

from autogaze_cli.audit.deadline import Deadline
from autogaze_cli.audit.handing import hands_on, result_of
from autogaze_cli.audit.names import (
    DIVIDING_CALLS,
    SIDES,
    SQUARE_ROOTS,
    VOCABULARY_SIZES,
    Names,
    is_accessor,
    is_count,
    is_frame,
    is_pad,
    is_padding,
    is_picking,
    is_side,
    normalise,
)
from autogaze_cli.audit.nodes import Node, Tree, words
from autogaze_cli.audit.operands import (
    MULTIPLYING_CALLS,
    VALUES,
    given,
    is_own,
    operand,
    operands,
)
from autogaze_cli.audit.scopes import Scope, find_scopes, own_field
from autogaze_cli.audit.tables import OFFSET_TABLES, SCALE_TABLES, SCALES_TEXT, is_table

_SIZES = words(
    "len size shape count is_empty empty numel dim ndim dims dtype device length nbytes cap "
    "capacity ndims type isinstance hash str repr format print id sum mean any all nelement "
    "is_some is_none is_ok is_err contains includes has unwrap_err with_capacity is_cuda "
    "to_string tostring join layout requires_grad stride strides element_size is_contiguous "
    "index indexOf lastIndexOf findIndex findLastIndex position rposition argsort argmax argmin "
    "argwhere nonzero partition_point binary_search reduce fold try_fold"
)
_PICKS = words("gather index_select select masked_select take take_along_dim take_along_axis")
"""Calls that give some of what they are called on."""

_GATHERS = words(
    "embedding scatter scatter_ scatter_add scatter_add_ index_put index_put_ index_add index_add_ "
    "index_fill index_fill_ searchsorted isin bincount histogram eq ne lt le gt ge"
)
_COLLECTS = words("list tuple set sorted reversed zip enumerate array asarray from iter flatten")
PLAIN = VALUES | _COLLECTS
"""Calls that give the ids they are given, or a list of them."""

CLAMPS = words("clamp clip clamp_min clamp_max minimum fmin")
"""Calls that force ids into a range."""

CUMULATIONS = words("accumulate cumsum cumulative_sum partial_sum sum scan")
"""Calls that add up."""

_MAPS = words("map flat_map flatMap filter_map")
_MODELS = re.compile(r"embed|encod|loss|entropy|logit|attention|score|model")
"""In the name of a function: it takes ids and gives features, or a loss."""

_LOUD = frozenset([265.0, 69.0, 0.5])
_REMAINDERS = re.compile("rem|mod")
INDEXED = frozenset(["enumerate", "entries", "each_with_index"])


class Facts:
    """A parsed file, what is known of its names, and what follows for an expression.

    Attributes:
        source: Its text in UTF-8.
        names: The classes of names.
        tree: The parse.
        deadline: When to give up.
        scopes: The code outside functions first, then the functions in source order.
        constants: Names bound in this file to 265 or 196, and where.
        tables: Lists of numbers outside functions, by the name they are bound to.
        fields: Fields that a class of this file sets to ids, each with the class before it.
        sized: Fields that it sets to the number of ids of a frame.
        running: Fields that grow by it.
        givers: Functions that give ids, or what is left of them, and which of several values
            that is; None = the only one.
        pickers: Functions of this file that give the field whose name they are given.
        lists_of_keys: Lists of fields' names, by the name they are bound to.
        imported: Names that come from other files of the repository.
        starts: Names of tables of the first ids of the scales, computed in this file.
        known_numbers: Names that this file binds to a number, its classes' fields too.
    """

    def __init__(self, source: bytes, tree: Tree, names: Names, deadline: Deadline) -> None:
        self.source = source
        self.names = names
        self.tree = tree
        self.deadline = deadline
        self.scopes = list(find_scopes(tree.root))
        self.constants: dict[str, Node] = {}
        self.tables: dict[str, list[Node]] = {}
        self.fields: set[tuple[str, str]] = set()
        self.sized: set[tuple[str, str]] = set()
        self.running: set[tuple[str, str]] = set()
        self.pickers: set[str] = set()
        self.lists_of_keys: dict[str, list[Node]] = {}
        self.imported: set[str] = set()
        self.givers: dict[str, int | None] = {}
        self.known_numbers: dict[str, float] = {}
        self.starts: set[str] = set()

    def text(self, node: Node, most: int = 60) -> str:
        """The source of ``node`` on one line."""
        words = self.source[node.start : node.end].decode("utf-8", "replace").split()
        line = " ".join(words)
        return line if len(line) <= most else line[: most - 3] + "..."

    def is_known(self, call: Node) -> bool:
        """Whether a call names a function of this file, or one that is imported."""
        return is_own(call) or call.text in self.imported

    def is_quiet(self, scope: Scope) -> bool:
        """Whether no rule can hit in a scope: no id in it, nor what is wrong without one."""
        return not (
            scope.ids
            or scope.accesses
            or scope.reads_field
            or any(len(node.parts) > 2 for node in scope.of("sequence", "mapping"))
            or any(abs(node.number() or 0) in _LOUD for node in scope.of("number"))
            or any(node.text in SQUARE_ROOTS for node in scope.of("call"))
            or (self.starts and any(node.text in self.starts for node in scope.of("name")))
        )

    def has_scales(self) -> bool:
        """Whether the file lists the scales of the published model, or their first ids."""
        if SCALES_TEXT in self.source.replace(b" ", b""):
            return True
        sequences = (node for scope in self.scopes for node in scope.of("sequence", "mapping"))
        return any(is_table(node, (*SCALE_TABLES, *OFFSET_TABLES)) for node in sequences)

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
            number = self.fold(node)
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
        if own_field(node, scope) in self.sized:
            return True
        return by_id and (
            self.known_numbers.get(name) in VOCABULARY_SIZES or self.names.is_per_frame(name)
        )

    def is_total(self, node: Node, scope: Scope) -> bool:
        """Whether an id divided by ``node`` is split by frames: the vocabulary, or a sum."""
        if self.is_vocab(node, scope, by_id=True):
            return True
        node = operand(node)
        if node.kind == "call":
            return node.text == "sum" and not self.is_id(given(node), scope)
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

    def number(self, node: Node, scope: Scope | None = None) -> float | None:
        """The number that ``node`` is: a literal, or a name bound to one here or in the file."""
        node = operand(node)
        number = node.number()
        if number is None and node.kind in ("name", "member"):
            if node.kind == "name" and scope is not None and node.text in scope.numbers:
                return scope.numbers[node.text]
            return self.known_numbers.get(node.text)
        return number

    def fold(self, node: Node) -> float | None:
        """The number that a literal, a known name, or a sum or product of them stands for."""
        node = operand(node)
        if node.kind in ("number", "name"):
            return self.number(node)
        if node.kind == "call" and node.text == "sum" and len(node.parts) == 2:
            terms = [self.fold(part) for part in node.parts[1].parts]
            known = [term for term in terms if term is not None]
            return sum(known) if terms and len(known) == len(terms) else None
        if node.kind != "binary" or len(node.parts) != 2:
            return None
        left, right = (self.fold(part) for part in node.parts)
        if left is None or right is None:
            return None
        if node.text == "**":
            return left * left if right == 2 else None
        if node.text in ("/", "//"):
            return left // right if right and left % right == 0 else None
        return {"+": left + right, "-": left - right, "*": left * right}.get(node.text)

    def is_offset(self, node: Node, scope: Scope, *, by_id: bool = False) -> bool:
        """Whether ``node`` is the first id of a frame: frame times vocabulary, or a name of it."""
        node = operand(node)
        if node.kind == "name":
            return node.text in scope.offsets or (by_id and node.text in scope.products)
        if by_id and own_field(node, scope) in self.running:
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
        self.deadline.check()
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
            if own_field(node, scope) in self.fields:
                return True
            return bool(node.parts) and self.is_id(node.parts[0], scope)
        if kind == "index":
            if self._is_keyed(node, scope):
                return True
            place = self._given_place(node)
            if place is not None:
                return place
            return bool(node.parts) and self.is_id(node.parts[0], scope)
        if kind == "call":
            return self._call_is_id(node, scope)
        if kind == "binary":
            return self._is_still_id(node, scope)
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

    def _is_still_id(self, node: Node, scope: Scope) -> bool:
        """Whether what an operator gives is an id, or what is left of one."""
        if node.text in ("/", "//") or len(node.parts) != 2:
            return False
        left, right = node.parts
        if node.text == "%":
            letter = len(operand(right).text) == 1 and operand(right).kind == "name"
            return self.is_id(left, scope) and (letter or not self.is_side(right, scope))
        if node.text == "*":  # by a mask
            return any(
                self.is_id(one, scope)
                and (other.kind in ("test", "compare") or is_padding(operand(other).text))
                for one, other in ((left, right), (right, left))
            )
        return self.is_id(left, scope) or self.is_id(right, scope)

    def is_side(self, node: Node, scope: Scope) -> bool:
        """Whether ``node`` is the cells along a side of a grid."""
        number = self.number(node, scope)
        if number is not None:
            return number in SIDES
        node = operand(node)
        if node.kind == "index" and node.parts:
            node = node.parts[0]
        return node.kind in ("name", "member") and is_side(node.text)

    def _is_keyed(self, node: Node, scope: Scope) -> bool:
        """Whether a subscript is a name that holds the field of the ids."""
        key = node.parts[1] if len(node.parts) == 2 else None
        return key is not None and key.kind == "name" and key.text in scope.keys

    def _given_place(self, node: Node) -> bool | None:
        """Whether ``f(x)[1]`` is ids, where ``f`` gives them as one of several values."""
        call = node.parts[0] if len(node.parts) == 2 else None
        if call is None or call.kind != "call" or self.givers.get(call.text) is None:
            return None
        return self.givers[call.text] == node.parts[1].number()

    def _asks_for_ids(self, node: Node, scope: Scope) -> bool:
        """Whether a call is given the name of the ids' field: ``pick(out, "gazing_pos")``."""
        for part in node.parts[1:]:
            value = part.parts[0] if part.kind == "keyword" and part.parts else part
            named = value.kind == "string" and self.names.is_ids(value.text)
            if named or (value.kind == "name" and value.text in scope.keys):
                return is_picking(node.text) or node.text in self.pickers
        return False

    def _call_is_id(self, node: Node, scope: Scope) -> bool:
        name, callee, arguments = node.text, node.parts[0], node.parts[1:]
        if name in _SIZES or name.endswith("_like") or self.names.is_helper(name):
            return False
        if normalise(name) in DIVIDING_CALLS and not _REMAINDERS.search(name):
            return False
        if is_accessor(name) or self._asks_for_ids(node, scope):
            return True
        if name in self.givers and self.givers[name] is None and self.is_known(node):
            return True
        if _MODELS.search(name.lower()):
            return False
        if name in _PICKS:
            return self.is_id(next(iter(operands(node)), callee), scope)
        if callee.kind == "member" and callee.parts and self.is_id(callee.parts[0], scope):
            if name in _MAPS and arguments and (result := result_of(arguments[0])) is not None:
                return self.is_id(result, scope)
            return name not in _GATHERS
        if name in _GATHERS or name in ("floor", "trunc", "ceil", "round"):
            return False
        ids = [argument for argument in arguments if self.is_id(argument, scope)]
        if ids and arguments[0].kind != "keyword" and all(a.kind == "keyword" for a in ids):
            return False  # a model that is told where to look: ``vit(video, gazing_pos=ids)``
        return bool(ids) and hands_on(node)


def _named_by(node: Node) -> str:
    """The name that an expression stands for, through casts and subscripts; "" for others."""
    node = operand(node)
    if node.kind == "call" and node.text in VALUES:
        node = operand(given(node))
    if node.kind == "index" and node.parts:
        node = node.parts[0]
    return node.text if node.kind in ("name", "member", "call") else ""
