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
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from autogaze_cli.audit.notebooks import code_lines
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

_SCRIPT = re.compile(rb"<script\b[^>]{0,1000}>|</script\s*>", re.IGNORECASE)
_LAUNCH = re.compile(rb"<<<[^;{}]{0,400}?>>>")
_CONDITION = re.compile(rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|else|elif|endif)\b([^\n]*)", re.MULTILINE)


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


def code(path: str, text: bytes) -> Code:
    """What of a file is code.

    Args:
        path: Its name, which tells its language.
        text: Its text in UTF-8.

    Raises:
        ValueError: When a notebook is not JSON.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".ipynb":
        lines = code_lines(text.decode())
        joined = "".join(f"{line}\n" for line, _ in lines)
        return Code(joined.encode("utf-8", "replace"), tuple(at for _, at in lines) or (1,))
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
        start: int | None = 0
        for tag in _SCRIPT.finditer(text):
            closing = tag[0].startswith(b"</")
            if closing and start is None:
                start = tag.start()
            elif not closing and start is not None:
                yield start, tag.end()
                start = None
        if start is not None:
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
