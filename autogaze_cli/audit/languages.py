"""Languages: which files are theirs, their grammars, and the code inside files of other kinds.

Source: audit spec B.4 and B.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from json import JSONDecoder
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from autogaze_cli.errors import ConfigError

if TYPE_CHECKING:
    from tree_sitter import Parser

_GRAMMARS = {
    "rust": ("tree_sitter_rust", "language"),
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "go": ("tree_sitter_go", "language"),
}
_SUFFIXES = {
    ("rust", "rust"): "rs",
    ("python", "python"): "py pyi ipynb",
    ("js", "javascript"): "js jsx mjs cjs",
    ("js", "typescript"): "ts mts cts vue svelte",
    ("js", "tsx"): "tsx",
    ("cpp", "c"): "c",
    ("cpp", "cpp"): "cc cpp cxx h hh hpp hxx cu cuh metal",
    ("go", "go"): "go",
}
_BY_SUFFIX = {f".{s}": pair for pair, suffixes in _SUFFIXES.items() for s in suffixes.split()}

LANGUAGES = ("rust", "python", "js", "cpp", "go")
"""What ``--language`` takes."""

_SCRIPT = re.compile(rb"<script\b[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_LAUNCH = re.compile(rb"<<<[^;{}]{0,400}?>>>")
_CONDITION = re.compile(rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|else|elif|endif)\b([^\n]*)", re.MULTILINE)
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun)\b")
_STRING = JSONDecoder(strict=False)
_SCALAR = re.compile(r"true|false|null|-?[0-9][0-9.eE+-]*")
_SPACES = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Code:
    """What of a file is code.

    Attributes:
        text: In UTF-8; what is not code is blank.
        lines: For each of its lines the line of the file it came from; None = the same.
    """

    text: bytes
    lines: tuple[int, ...] | None = None


def language(path: str) -> str | None:
    """The language of a file by its suffix, one of ``LANGUAGES``; None for other files."""
    pair = _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
    return pair[0] if pair is not None else None


def require_grammars() -> None:
    """Make sure that every grammar is installed.

    Raises:
        ConfigError: When one is not.
    """
    modules = ["tree_sitter", *sorted({module for module, _ in _GRAMMARS.values()})]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"the audit reads source with tree-sitter, and {', '.join(missing)} is not installed",
            hint="reinstall autogaze-cli with its dependencies",
        )


@cache
def _parser(grammar: str) -> Parser:
    from tree_sitter import Language, Parser

    module, function = _GRAMMARS[grammar]
    return Parser(Language(getattr(import_module(module), function)()))


def parser(path: str) -> Parser:
    """The parser for a file that has a language."""
    return _parser(_BY_SUFFIX[PurePosixPath(path).suffix.lower()][1])


def code(path: str, data: bytes) -> Code:
    """What of ``data`` is code.

    Args:
        path: The file's name, which says its language.
        data: Its bytes; what is not UTF-8 is replaced.

    Raises:
        ValueError: When a notebook is not JSON.
    """
    text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode("utf-8", "replace").encode()
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".ipynb":
        return _notebook(text.decode())
    if suffix in (".vue", ".svelte"):
        return Code(_scripts(text))
    if language(path) == "cpp":
        text = _blank(text, _disabled(text)) if b"#" in text else text
        text = _blank(text, (m.span() for m in _LAUNCH.finditer(text)))
    return Code(text)


def _blank(text: bytes, spans: Iterator[tuple[int, int]]) -> bytes:
    out = bytearray(text)
    for start, end in spans:
        out[start:end] = re.sub(rb"[^\n]", b" ", text[start:end])
    return bytes(out)


def _scripts(text: bytes) -> bytes:
    """A Vue or Svelte file without what is outside its script blocks."""

    def outside() -> Iterator[tuple[int, int]]:
        start = 0
        for block in _SCRIPT.finditer(text):
            yield start, block.start(1)
            start = block.end(1)
        yield start, len(text)

    return _blank(text, outside())


def _disabled(text: bytes) -> Iterator[tuple[int, int]]:
    """The spans of C's ``#if 0`` up to its ``#else`` or ``#endif``."""
    depth, start = 0, -1
    for line in _CONDITION.finditer(text):
        word, condition = line[1], line[2].split(b"//")[0].split(b"/*")[0].strip()
        if start < 0:
            if word == b"if" and condition in (b"0", b"false", b"(0)"):
                start, depth = line.end(), 1
        elif word.startswith(b"if"):
            depth += 1
        elif word == b"endif" or depth == 1:
            depth -= word == b"endif"
            if depth == 0 or word != b"endif":
                yield start, line.start()
                start = -1


def _notebook(text: str) -> Code:
    """The code cells of a notebook, one after another."""
    lines: list[str] = []
    origins: list[int] = []
    document, end = _located(text, 0)
    if _skip(text, end) != len(text):
        raise ValueError("not JSON")
    for cell in _items(_member(document, "cells")):
        if _plain(_member(cell, "cell_type")) != "code":
            continue
        source = _member(cell, "source")
        pieces = [source] if isinstance(source[0], str) else _items(source)
        joined: list[tuple[str, int]] = []
        for piece, start in pieces:
            at = text.count("\n", 0, start) + 1
            joined += [(line, at) for line in str(piece).splitlines(keepends=True)]
        foreign = bool(joined) and joined[0][0].startswith("%%")
        foreign = foreign and not _PYTHON_CELL.match(joined[0][0])
        for line, at in joined:
            magic = foreign or line.lstrip().startswith(("%", "!"))
            lines.append("\n" if magic else line.rstrip("\n") + "\n")
            origins.append(at)
    return Code("".join(lines).encode("utf-8", "replace"), tuple(origins) or (1,))


_Located = tuple[object, int]
"""A JSON value with the place it starts at; lists and objects hold located values."""


def _located(text: str, i: int) -> tuple[_Located, int]:
    """Read the JSON value at ``i``; the place after it."""
    i = _skip(text, i)
    head = text[i : i + 1]
    if head == '"':
        value, end = _STRING.raw_decode(text, i)
        return (value, i), end
    if head not in ("{", "["):
        plain = _SCALAR.match(text, i)
        if plain is None:
            raise ValueError("not JSON")
        return (None, i), plain.end()
    close, start, found = ("}" if head == "{" else "]"), i, []
    i = _skip(text, i + 1)
    while text[i : i + 1] != close:
        key = ""
        if close == "}":
            if text[i : i + 1] != '"':
                raise ValueError("not JSON")
            key, i = _STRING.raw_decode(text, i)
            i = _skip(text, i)
            if text[i : i + 1] != ":":
                raise ValueError("not JSON")
            i = _skip(text, i + 1)
        value, i = _located(text, i)
        found.append((key, value))
        i = _skip(text, i)
        if text[i : i + 1] == ",":
            i = _skip(text, i + 1)
        elif text[i : i + 1] != close:
            raise ValueError("not JSON")
    return (found, start), i + 1


def _skip(text: str, i: int) -> int:
    space = _SPACES.match(text, i)
    return space.end() if space is not None else i


def _items(value: _Located) -> list[_Located]:
    return [item for _, item in value[0]] if isinstance(value[0], list) else []


def _member(value: _Located, name: str) -> _Located:
    pairs = value[0] if isinstance(value[0], list) else []
    return next((item for key, item in pairs if key == name), (None, 0))


def _plain(value: _Located) -> object:
    return value[0]
