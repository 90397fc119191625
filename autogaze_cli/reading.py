"""Reading files that somebody else wrote: regular ones, up to a size, TOML, and JSON by its types.

A document is described once, by a type whose fields state their types and ranges (``Annotated``
with ``msgspec.Meta``). ``checked`` holds a value to it, and ``docs/schemas`` is made from it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import reprlib
import stat
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, get_type_hints

from autogaze_cli.errors import AutogazeError, ConfigError, FormatError, InputError

T = TypeVar("T")

MOST_BYTES = 1 << 20
"""Of a settings file, a manifest of a package, or a list of patterns."""

MOST_DOCUMENT_BYTES = 256 << 20
"""Of a trace or a readout, as a text file and unpacked."""

DOCUMENT_VARIABLE = "AUTOGAZE_MAX_DOCUMENT_BYTES"
"""The environment variable that takes the place of ``MOST_DOCUMENT_BYTES``."""

_LARGE = 1 << 24
_MEMORY = 6  # times the size of a document, which its parts may take
_PART_BYTES = {",": 32, "[": 56, "{": 184, '"': 28}
"""What a part that begins so takes in Python, about: a number, a list, an object, half a text."""

_MOST_TENSOR_LIST = 1 << 24
_FRACTION = re.compile(r"-?[0-9]{1,19}(/[0-9]{1,19})?", re.ASCII)
_STRING = re.compile(r"""\"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?""")
_LONG_KEY = re.compile(r"(?<![\w-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){100}+")

_LIMITS = {" >=": " of at least", " <=": " of at most", " >": " above", " <": " below"}
_NAMES = {
    "int": "an integer", "float": "a number", "str": "text", "bool": "true or false",
    "object": "an object", "array": "a list", "null": "null",
}  # fmt: skip


class TooLargeError(OSError):
    """A file has more bytes than were asked for."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(None, f"{size} bytes, more than {most}")
        self.size = size


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading; never waits for a device or a pipe.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(None, "not a regular file")
    return open(handle, "rb")  # noqa: PTH123 - a descriptor, not a path


def read_regular(path: str | Path, most: int) -> bytes:
    """The bytes of a regular file; see ``open_regular``.

    Args:
        path: The file; a link to one will do.
        most: How many bytes it may have.

    Raises:
        TooLargeError: It has more.
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        data = file.read(most + 1) or b""  # None: the system has nothing to say yet
        if len(data) > most:
            raise TooLargeError(max(os.fstat(file.fileno()).st_size, len(data)), most)
    return data


def most_document_bytes() -> int:
    """How many bytes a trace or a readout may have.

    Raises:
        ConfigError: The environment variable is not a number of bytes.
    """
    text = os.environ.get(DOCUMENT_VARIABLE, "").strip()
    if text and not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise ConfigError(
            f"{DOCUMENT_VARIABLE} is {reprlib.repr(text)}, not a number of bytes",
            hint=f"unset it, or give {MOST_DOCUMENT_BYTES}",
        )
    return int(text) if text else MOST_DOCUMENT_BYTES


def read_document(path: Path) -> str:
    """The text of a trace or a readout.

    Raises:
        FormatError: It is larger than ``most_document_bytes``, or not UTF-8.
        OSError: It cannot be read, or is not a regular file.
    """
    try:
        return read_regular(path, most_document_bytes()).decode("utf-8")
    except TooLargeError as error:
        raise FormatError(
            f"has {error}", hint=f"write it as safetensors, or raise {DOCUMENT_VARIABLE}"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"is not text at byte {error.start}") from error


def read_saved(path: Path, kind: type[T], name: str, version: int, what: str, hint: str) -> T:
    """A JSON document that an earlier run saved.

    Args:
        path: The file.
        kind: What of it is used; other fields are left out.
        name: Its ``format``.
        version: Its ``version``.
        what: What it is, for a message.
        hint: What to give instead.

    Raises:
        InputError: The file cannot be read.
        FormatError: It is something else, or of another version.
    """
    try:
        found = parse_json(read_document(path), "the file")
        if not isinstance(found, dict) or found.get("format") != name:
            raise FormatError(f"is not {what}", hint=hint)
        if found.get("version") != version:
            raise FormatError(f"version is {reprlib.repr(found.get('version'))}, not {version}")
        return checked(found, kind, "the file")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}", hint=error.hint) from error


def parse_toml(text: str) -> Any:
    """The table that a TOML text holds.

    Raises:
        ValueError: It is not TOML, or nests tables so deeply that reading them is not worth it.
    """
    if _LONG_KEY.search(_STRING.sub("_", text)):
        raise ValueError("a key has over 100 dots")  # the parser needs their square in memory
    import tomllib  # only needed if there is a file

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json(text: str | bytes, what: str, object_hook: Any = dict) -> Any:
    """JSON without repeated keys and without NaN.

    Args:
        text: The JSON.
        what: How a message names it.
        object_hook: Called with each object's key-value pairs once they are known to be unique.

    Raises:
        FormatError: It is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        if len(dict(pairs)) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise FormatError(f"{what} has {reprlib.repr(twice)} twice")
        return object_hook(pairs)

    def refuse(constant: str) -> None:
        raise FormatError(f"{what} holds {constant}, which JSON has no number for")

    _require_memory(text, what)
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{what} is not JSON at line {error.lineno}, column {error.colno} ({error.msg})",
            hint="the file may be cut short",
        ) from error
    except RecursionError as error:
        raise FormatError(f"{what} is not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise FormatError(f"{what} is not JSON ({brief(error)})") from error


def _require_memory(text: str | bytes, what: str) -> None:
    """Refuse JSON of so many small parts that it takes far more memory than its text.

    Raises:
        FormatError: It would.
    """
    if len(text) < _LARGE:
        return
    takes = sum(
        size * (text.count(sign) if isinstance(text, str) else text.count(sign.encode()))
        for sign, size in _PART_BYTES.items()
    )
    if takes > (most := _MEMORY * most_document_bytes()):
        raise FormatError(
            f"{what} has so many parts that they take {takes} bytes of memory, more than {most}",
            hint=f"raise {DOCUMENT_VARIABLE}",
        )


def tensor_list(file: BinaryIO) -> Any:
    """What the beginning of a safetensors file declares, which should be an object.

    The library that reads such files takes the last of tensors with one name.

    Args:
        file: Opened for reading, at its beginning.

    Raises:
        FormatError: It is not JSON, is too long, or has a name twice.
    """
    size = int.from_bytes(file.read(8), "little")
    if size > _MOST_TENSOR_LIST:
        raise FormatError(f"a header of {size} bytes")
    return parse_json(file.read(size), "the list of tensors")


def require_unique_names(path: Path) -> None:
    """Refuse a safetensors file that has a name twice.

    Raises:
        FormatError: It has, or its list of tensors cannot be read.
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        tensor_list(file)


def checked(
    value: object,
    kind: type[T],
    what: str,
    prefix: str = "",
    error: type[AutogazeError] = FormatError,
) -> T:
    """``value``, of JSON types, as a ``kind``.

    Args:
        value: What was parsed.
        kind: Any type that msgspec knows; a ``Fraction`` is text such as ``1/8``, or one already.
        what: How a message names the whole; what is in it is named by its path.
        prefix: What a message puts before a path.
        error: What is raised.

    Raises:
        AutogazeError: Something is missing, unknown, of another type, or out of range.
    """
    import msgspec  # only needed if there is a document

    try:
        return msgspec.convert(value, kind, dec_hook=_fraction)
    except msgspec.ValidationError as problem:
        raise error(_told(str(problem), value, what, prefix)) from problem
    except UnicodeError as problem:
        raise error(f"{what} holds half of a surrogate pair, which is no text") from problem
    except RecursionError as problem:
        raise error(f"{what} is nested too deeply") from problem


def brief(error: object) -> str:
    """A library's message, which may repeat what it read, as part of one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def document_of(kind: Any, name: str, version: int) -> type[Any]:
    """The record that a dataclass becomes in a file: ``format``, ``version``, then its fields."""
    import msgspec

    marks = [("format", Literal[name]), ("version", Literal[version])]
    base = msgspec.defstruct(kind.__name__, marks, forbid_unknown_fields=True)
    fields = list(get_type_hints(fields_of(kind), include_extras=True).items())
    return msgspec.defstruct(kind.__name__, fields, bases=(base,), forbid_unknown_fields=True)


@cache
def fields_of(kind: Any) -> Any:
    """A closed record with the fields and annotations of a dataclass."""
    import msgspec

    hints = get_type_hints(kind, include_extras=True)
    names = [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]
    return msgspec.defstruct(kind.__name__, names, forbid_unknown_fields=True)


def check_fields(thing: Any) -> None:
    """Refuse a dataclass whose fields are not what their annotations say.

    Raises:
        FormatError: Naming the field, its value, and what it should be.
    """
    kind: Any = type(thing)
    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(kind)}
    checked(values, fields_of(kind), kind.__name__)


def _fraction(kind: type[Any], value: object) -> Fraction:
    """A fraction, or one from its text, for msgspec."""
    if kind is Fraction and isinstance(value, str) and _FRACTION.fullmatch(value):
        with suppress(ZeroDivisionError):
            value = Fraction(value)
    if isinstance(value, Fraction) and max(abs(value.numerator), value.denominator) < 2**63:
        return value
    raise ValueError("Expected `a fraction of 64-bit integers such as '1/8'`")


def _told(problem: str, value: Any, what: str, prefix: str) -> str:
    """A problem that msgspec found, in this program's words and with the value."""
    rule, _, path = problem.replace(" - at `key` in", " - at").partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    try:
        for name, index in re.findall(r"([^.\[\]]+)(?![^\[]*\])|\[(\d+)\]", path):
            value = value[name] if name else value[int(index)]
        shown = reprlib.repr(value)
    except (LookupError, TypeError, ValueError):  # a key, or one with a dot in its name
        shown = "something"
    place = prefix + path if path else what
    if match := re.fullmatch(r"Object missing required field `(.*)`", rule, re.DOTALL):
        return f"{place} has no {match[1]!r}"
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", rule, re.DOTALL):
        return f"{place} has an unknown {reprlib.repr(match[1])}"
    if match := re.fullmatch(r"Expected `(.*?)`( [^,]*)?(, got .*)?", rule, re.DOTALL):
        kinds = " or ".join(_NAMES.get(name, name) for name in match[1].split(" | "))
        limit = re.sub(r" [<>]=?(?= )", lambda sign: _LIMITS[sign[0]], match[2] or "")
        limit = limit.replace("length of", "length")
        return f"{place} is {shown}, not {kinds}{limit.removesuffix('.0')}"
    return f"{place} is {shown}: {brief(rule[:1].lower() + rule[1:])}"
