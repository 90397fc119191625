"""Values of a call, each of the type that ``Values`` gives it: Python calls may bring anything."""

from __future__ import annotations

import operator
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from autogaze_cli.errors import ConfigError
from autogaze_cli.jobs.values import Values


def checked(values: Values) -> Values:
    """The values, with numbers of other libraries as Python's own.

    Ranges are the matter of the settings that take the values.

    Raises:
        ConfigError: A value is of another type than ``Values`` says; names it.
    """
    kinds = get_type_hints(Values)
    plain = {n: _plain(n, v, kinds[n]) if n in kinds else v for n, v in values.items()}
    return cast("Values", plain)


def check_inputs(names: Sequence[object]) -> None:
    """Refuse inputs that are no paths.

    Raises:
        ConfigError: One is not.
    """
    for name in names:
        if not _is_path(name):
            raise ConfigError(f"an input must be a path, not {reprlib.repr(name)}")


def _plain(name: str, value: object, kind: Any) -> object:
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if any(get_origin(one) is os.PathLike for one in kinds):  # not any text is a path
        kinds = tuple(one for one in kinds if one is not str)
    for one in kinds:
        make = _MAKES.get(get_origin(one) or one)
        made = value if make is None else make(value, get_args(one))
        if made is not _NOTHING:
            return made
    wanted = " or ".join(dict.fromkeys(map(_words, kinds)))
    raise ConfigError(f"{name} must be {wanted}, not {reprlib.repr(value)}")


_NOTHING = object()
"""What stands for a value that is not of the type."""


def _same_if(fits: Callable[[object], bool]) -> Callable[[object, tuple[Any, ...]], object]:
    return lambda value, of: value if fits(value) else _NOTHING


def _integer(value: object, of: tuple[Any, ...]) -> object:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return operator.index(cast("int", value)) if whole else _NOTHING


def _number(value: object, of: tuple[Any, ...]) -> object:
    if isinstance(value, bool) or not isinstance(value, Real):
        return _NOTHING
    if isinstance(value, Integral):
        return operator.index(cast("int", value))
    try:
        return float(value)
    except OverflowError:
        return _NOTHING


def _is_path(value: object) -> bool:
    """Whether it is a path that an operating system can have."""
    if not isinstance(value, str | os.PathLike):
        return False
    try:
        return isinstance(os.fspath(value), str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _items(value: object, of: tuple[Any, ...]) -> object:
    """A list or tuple: of as many items as ``of`` has types, or any number of its only one."""
    if not isinstance(value, list | tuple) or (len(of) > 1 and len(value) != len(of)):
        return _NOTHING
    try:
        return tuple(_plain("", item, of[min(n, len(of) - 1)]) for n, item in enumerate(value))
    except ConfigError:
        return _NOTHING


_MAKES: Mapping[Any, Callable[[object, tuple[Any, ...]], object]] = {
    NoneType: _same_if(lambda value: value is None),
    bool: _same_if(lambda value: isinstance(value, bool)),
    str: _same_if(lambda value: isinstance(value, str)),
    Fraction: _same_if(lambda value: isinstance(value, Fraction)),
    int: _integer,
    float: _number,
    os.PathLike: _same_if(_is_path),
    Literal: lambda value, of: value if isinstance(value, str) and value in of else _NOTHING,
    tuple: _items,
    Sequence: _items,
}
"""How a value becomes one of a type, or ``_NOTHING``; given the type's own arguments."""


def _words(kind: Any) -> str:
    """A type, as messages call it."""
    origin = get_origin(kind) or kind
    if origin is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    return {
        NoneType: "None",
        bool: "True or False",
        str: "text",
        Fraction: "a number",
        int: "a whole number",
        float: "a number",
        os.PathLike: "a path",
        tuple: "two whole numbers",
        Sequence: "a list",
    }[origin]
