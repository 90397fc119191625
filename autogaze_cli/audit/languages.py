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
_COMMENTS = re.compile(rb"(?:^[ \t]*+#[^\n]*+\n){50,}+", re.MULTILINE)
_CUDA = re.compile(
    rb"<<<[^;{}]{0,400}?>>>|\b__launch_bounds__\s{0,9}\([^(){};]{0,200}\)"
    rb"|\b__(?:global|device|host|constant|shared|managed|grid_constant|noinline|forceinline)__\b"
)
"""What CUDA adds to C++: how a kernel is launched, and where code runs and data is."""

_LONE_RETURN = re.compile(rb"\r(?!\n)")
_CONDITION = re.compile(rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|else|elif|endif)\b([^\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Code:
    """What of a file is code.

    Attributes:
        text: In UTF-8; what is not code is blank.
        lines: For each of its lines the line of the file it came from; None = the same.
        comments: Spans of comments that are blank in it.
        uncut: The text before anything was made blank; nothing where that is the same.
    """

    text: bytes
    lines: tuple[int, ...] | None = None
    comments: tuple[tuple[int, int], ...] = ()
    uncut: bytes = b""

    @property
    def original(self) -> bytes:
        """The text before anything was made blank."""
        return self.uncut or self.text


def language(path: str) -> str | None:
    """The language of a file by its suffix, one of ``LANGUAGES``; None for other files."""
    pair = _BY_SUFFIX.get(_suffix(path))
    return pair[0] if pair is not None else None


def _suffix(path: str) -> str:
    return path[path.rfind(".") :].lower()


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
    return _parser(_BY_SUFFIX[_suffix(path)][1])


def with_line_feeds(path: str, text: bytes) -> bytes:
    r"""A text in which each line ends with a line feed, of the same length.

    A carriage return alone ends a line, and with it a comment, for everything that reads Python,
    JavaScript, C or C++; Rust and Go have it as a blank, and their comments go on after it.

    >>> with_line_feeds("a.py", b"# a\rids\r\n"), with_line_feeds("a.rs", b"// a\rids")
    (b'# a\nids\r\n', b'// a\rids')
    """
    if b"\r" not in text or language(path) in ("rust", "go"):
        return text
    return _LONE_RETURN.sub(b"\n", text)


def code(path: str, text: bytes) -> Code:
    """What of a file is code.

    Args:
        path: Its name, which tells its language.
        text: Its text in UTF-8.

    Raises:
        ValueError: When a notebook is not JSON.
    """
    suffix = _suffix(path)
    text = with_line_feeds(path, text)
    if suffix == ".ipynb":
        lines = code_lines(text.decode())
        joined = "".join(f"{line}\n" for line, _ in lines)
        return _python(joined.encode("utf-8", "replace"), tuple(at for _, at in lines) or (1,))
    if suffix in (".vue", ".svelte"):
        return Code(_scripts(text))
    if language(path) == "python":
        return _python(text, None)
    if language(path) == "cpp":
        bare = _blank(text, _disabled(text)) if b"#" in text else text
        bare = _blank(bare, (m.span() for m in _CUDA.finditer(bare)))
        return Code(bare, uncut=text if bare != text else b"")
    return Code(text)


def _python(text: bytes, lines: tuple[int, ...] | None) -> Code:
    """Python code without long runs of comments, for which the grammar takes their square."""
    runs = [match.span() for match in _COMMENTS.finditer(text)] if b"#" in text else []
    return Code(_blank(text, iter(runs)), lines, tuple(runs), text) if runs else Code(text, lines)


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
