"""What a small Python function gives for lists of numbers, found without running it.

The functions that are rewritten are somebody else's: their text is walked here, node by node, with
a few harmless operations, a budget of steps, and nothing else.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from typing import Any

_STEPS = 200_000
_LARGEST = 1 << 40
_LONGEST = 10_000


class UnknownError(Exception):
    """Something that is not evaluated here."""


_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}


def _listed(numbers: range) -> list[int]:
    if len(numbers) > _LONGEST:
        raise UnknownError
    return list(numbers)


_BUILTINS: dict[str, Callable[..., Any]] = {
    "len": len, "int": int, "bool": bool, "sum": sum, "min": min, "max": max, "abs": abs,
    "divmod": divmod,
    "list": lambda x=(): list(x), "tuple": lambda x=(): tuple(x), "sorted": sorted,
    "range": lambda *a: _listed(range(*a)), "zip": lambda *a: list(zip(*a, strict=False)),
    "enumerate": lambda x, start=0: list(enumerate(x, start)), "reversed": lambda x: list(x)[::-1],
}  # fmt: skip
_PLAIN_METHODS = frozenset(["tolist", "item", "cpu", "numpy", "detach", "long", "flatten"])


class _Done(Exception):  # noqa: N818 - not an error
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Next(Exception):  # noqa: N818
    pass


class _Stop(Exception):  # noqa: N818
    pass


class Evaluator:
    """The functions and constants of one module.

    Args:
        module: Its parse.
    """

    def __init__(self, module: ast.Module) -> None:
        self.functions = {n.name: n for n in module.body if isinstance(n, ast.FunctionDef)}
        self.constants: dict[str, Any] = {}
        self._steps = 0
        self._depth = 0
        for node in module.body:
            if isinstance(node, ast.Assign):
                self._steps = 0
                try:
                    self._statement(node, self.constants, [])
                except Exception:  # noqa: BLE001 - a constant of another kind
                    continue

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """What a function of the module gives.

        Raises:
            UnknownError: It does something that is not evaluated here, or fails.
        """
        self._steps = self._depth = 0
        try:
            return self._call(self.functions[name], arguments)
        except UnknownError:
            raise
        except Exception as error:
            raise UnknownError from error

    def with_defaults(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call, and what the others are by default.

        Raises:
            UnknownError: One has no default, or it is not evaluated here.
        """
        self._steps = self._depth = 0
        try:
            return self._given(name, [], given)
        except Exception as error:
            raise UnknownError from error

    def _call(self, function: ast.FunctionDef, arguments: dict[str, Any]) -> Any:
        self._depth += 1
        if self._depth > 20 or function.decorator_list:
            raise UnknownError
        yielded: list[Any] = []
        names = dict(arguments)
        result = None
        try:
            self._block(function.body, names, yielded)
        except _Done as done:
            result = done.value
        self._depth -= 1
        return yielded if _yields(function) else result

    def _block(self, body: list[ast.stmt], names: dict[str, Any], out: list[Any]) -> None:
        for statement in body:
            self._statement(statement, names, out)

    def _statement(self, node: ast.stmt, names: dict[str, Any], out: list[Any]) -> None:
        self._step()
        match node:
            case ast.Assign(targets=targets, value=value):
                found = self._value(value, names, out)
                for target in targets:
                    self._bind(target, found, names)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self._value(value, names, out), names)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                names[name] = self._apply(op, names[name], self._value(value, names, out))
            case ast.For(target=target, iter=source, body=body, orelse=[]):
                self._loop(target, self._value(source, names, out), body, names, out)
            case ast.If(test=test, body=body, orelse=orelse):
                self._block(body if self._value(test, names, out) else orelse, names, out)
            case ast.Return(value=value):
                raise _Done(self._value(value, names, out) if value is not None else None)
            case ast.Expr(value=value):
                self._value(value, names, out)
            case ast.Continue():
                raise _Next
            case ast.Break():
                raise _Stop
            case ast.Pass():
                pass
            case _:
                raise UnknownError

    def _loop(
        self, target: ast.expr, items: Any, body: list[ast.stmt], names: dict[str, Any], out: Any
    ) -> None:
        for item in items:
            self._step()
            self._bind(target, item, names)
            try:
                self._block(body, names, out)
            except _Next:
                continue
            except _Stop:
                break

    def _bind(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                names[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part, item in zip(parts, list(value), strict=True):
                    self._bind(part, item, names)
            case ast.Subscript(value=owner, slice=index):
                self._value(owner, names, [])[self._value(index, names, [])] = value
            case _:
                raise UnknownError

    def _value(self, node: ast.expr, names: dict[str, Any], out: list[Any]) -> Any:
        self._step()
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.Name(id=name):
                return names[name] if name in names else self.constants[name]
            case ast.Tuple(elts=parts):
                return tuple(self._value(part, names, out) for part in parts)
            case ast.List(elts=parts):
                return [self._value(part, names, out) for part in parts]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return {
                    self._value(k, names, out): self._value(v, names, out) for k, v in pairs if k
                }
            case ast.BinOp(left=left, op=op, right=right):
                return self._apply(
                    op, self._value(left, names, out), self._value(right, names, out)
                )
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._value(inner, names, out)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._value(inner, names, out)
            case ast.BoolOp(op=op, values=values):
                return self._truth(isinstance(op, ast.And), values, names, out)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(left, ops, others, names, out)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._value(body if self._value(test, names, out) else orelse, names, out)
            case ast.ListComp(elt=item, generators=loops):
                return list(self._comprehend(item, loops, dict(names)))
            case ast.GeneratorExp(elt=item, generators=loops):
                return list(self._comprehend(item, loops, dict(names)))
            case ast.Yield(value=ast.expr() as value):
                out.append(self._value(value, names, out))
                return None
        return self._access(node, names, out)

    def _access(self, node: ast.expr, names: dict[str, Any], out: list[Any]) -> Any:
        match node:
            case ast.Subscript(value=owner, slice=ast.Slice(lower=low, upper=high, step=None)):
                ends = [self._value(end, names, out) if end else None for end in (low, high)]
                return self._value(owner, names, out)[slice(*ends)]
            case ast.Subscript(value=owner, slice=index):
                return self._value(owner, names, out)[self._value(index, names, out)]
            case ast.Attribute(value=owner, attr=name):
                held = self._value(owner, names, out)
                if isinstance(held, dict) and name in held:
                    return held[name]
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=[]):
                return self._method(self._value(owner, names, out), name, args, names, out)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                values = [self._value(arg, names, out) for arg in args]
                if name in self.functions:
                    given = {str(k.arg): self._value(k.value, names, out) for k in keywords}
                    return self._call(self.functions[name], self._given(name, values, given))
                if name in _BUILTINS and name not in names and not keywords:
                    return self._checked(_BUILTINS[name](*values))
        raise UnknownError

    def _given(self, name: str, values: list[Any], given: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a function, with their defaults."""
        parameters = self.functions[name].args
        order = [parameter.arg for parameter in parameters.args]
        defaults = zip(order[::-1], parameters.defaults[::-1], strict=False)
        found = {key: self._value(value, {}, []) for key, value in defaults}
        found |= dict(zip(order, values, strict=False)) | given
        if set(found) != set(order) or parameters.vararg or parameters.kwonlyargs:
            raise UnknownError
        return found

    def _method(
        self, owner: Any, name: str, args: list[ast.expr], names: dict[str, Any], out: list[Any]
    ) -> Any:
        values = [self._value(arg, names, out) for arg in args]
        if name in _PLAIN_METHODS and not values and isinstance(owner, list | int):
            return owner
        if name == "append" and isinstance(owner, list) and len(owner) < _LONGEST:
            return owner.append(*values)
        if name == "extend" and isinstance(owner, list):
            return owner.extend(self._checked(list(*values)))
        if name in ("get", "items", "values", "keys") and isinstance(owner, dict):
            found = getattr(owner, name)(*values)
            return found if name == "get" else list(found)
        raise UnknownError

    def _truth(
        self, every: bool, values: list[ast.expr], names: dict[str, Any], out: list[Any]
    ) -> Any:
        found: Any = None
        for value in values:
            found = self._value(value, names, out)
            if bool(found) is not every:
                return found
        return found

    def _compare(
        self,
        left: ast.expr,
        ops: list[ast.cmpop],
        others: list[ast.expr],
        names: dict[str, Any],
        out: list[Any],
    ) -> bool:
        one = self._value(left, names, out)
        for op, node in zip(ops, others, strict=True):
            other = self._value(node, names, out)
            if not self._apply(op, one, other):
                return False
            one = other
        return True

    def _comprehend(
        self, item: ast.expr, loops: list[ast.comprehension], names: dict[str, Any]
    ) -> Iterator[Any]:
        first, *rest = loops
        for found in self._value(first.iter, names, []):
            self._step()
            self._bind(first.target, found, names)
            if all(self._value(test, names, []) for test in first.ifs):
                if rest:
                    yield from self._comprehend(item, rest, names)
                else:
                    yield self._value(item, names, [])

    def _apply(self, op: ast.AST, one: Any, other: Any) -> Any:
        if isinstance(op, ast.Pow) and other == 2 and isinstance(one, int):
            return self._checked(one * one)
        if type(op) not in _OPERATORS:
            raise UnknownError
        sized = isinstance(one, list | tuple | str) or isinstance(other, list | tuple | str)
        if isinstance(op, ast.Mult) and sized and max(_size(one), _size(other)) > 100:
            raise UnknownError
        return self._checked(_OPERATORS[type(op)](one, other))

    def _checked(self, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise UnknownError
        if isinstance(value, list | tuple | str) and len(value) > _LONGEST:
            raise UnknownError
        return value

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise UnknownError


def _size(value: Any) -> int:
    return abs(value) if isinstance(value, int) else len(value)


def _yields(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function))
