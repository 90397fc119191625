"""What a file imports, and which file of the same repository that is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator

from autogaze_cli.audit.languages import language

WHOLE = "*"
"""Stands for a module itself, where none of its names is imported."""

_FROM = re.compile(r"from\s+([.\w]+)\s+import\s+(.*)", re.DOTALL)
_NAME = re.compile(r"([\w$]+)(?:\s+as\s+([\w$]+)|\s*:\s*([\w$]+))?")
_SCRIPT = re.compile(r"""import\s+(.{0,4000}?)\s*from\s*['"]([^'"]{1,300})['"]""", re.DOTALL)
_REQUIRE = re.compile(
    r"""(?:const|let|var)\s+(\{[^}]{0,2000}\}|[\w$]{1,100})\s*=\s*require\(\s*['"]([^'"]{1,300})['"]"""
)
_USE = re.compile(r"use\s+([\w:]+?)(?:::\{([^}]*)\}|(?:\s+as\s+(\w+))?)\s*;?$")
_SUFFIXES = (".js", ".ts", ".tsx", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte")

Imported = dict[str, tuple[str, str]]
"""For each local name the module it is from and its name there, or ``WHOLE``."""


def imported(path: str, source: bytes, statements: list[str]) -> Imported:
    """The names that a file imports.

    Args:
        path: The file's name, which tells its language.
        source: Its text.
        statements: The texts of its import statements.
    """
    found: Imported = {}
    tongue = language(path)
    for text in statements:
        text = re.sub(r"(?:#|//)[^\n]*", "", text).strip()
        if tongue == "python":
            found.update(_python(text))
        elif tongue == "js":
            found.update(_script(text))
        elif tongue == "rust":
            found.update(_rust(text))
    if tongue == "js" and b"require" in source:
        for names, module in _REQUIRE.findall(source.decode("utf-8", "replace")):
            found.update(_script_names(names, module))
    return found


def _python(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    match = _FROM.match(text)
    if match is not None:
        for name, alias, _ in _NAME.findall(match[2].strip("() \n")):
            yield alias or name, (match[1], name)
    elif text.startswith("import"):
        for part in text.removeprefix("import").split(","):
            module, _, alias = part.strip().partition(" as ")
            yield alias.strip() or module.rpartition(".")[2], (module.strip(), WHOLE)


def _script(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    match = _SCRIPT.match(text)
    if match is not None:
        yield from _script_names(match[1], match[2])


def _script_names(names: str, module: str) -> Iterator[tuple[str, tuple[str, str]]]:
    before, brace, inner = names.partition("{")
    for name, alias, other in _NAME.findall(inner.partition("}")[0]):
        yield alias or other or name, (module, name)
    whole = re.match(r"(?:\*\s*as\s+)?([\w$]+)", before.strip(" ,\n"))
    if whole is not None and (before.strip() or not brace):
        yield whole[1], (module, WHOLE)


def _rust(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    match = _USE.match(text.removeprefix("pub").strip())
    if match is None:
        return
    if match[2] is not None:
        for name, alias, _ in _NAME.findall(match[2]):
            yield alias or name, (match[1], name)
    else:
        module, _, name = match[1].rpartition("::")
        yield match[3] or name, (module, name)


def file_of(path: str, module: str, name: str, files: Container[str]) -> str | None:
    """The file of the repository that an import is from, None where it is not from one.

    Args:
        path: The importing file.
        module: The module as it is written.
        name: What is imported from it; it may itself be a module.
        files: The names of the repository's files.
    """
    return next((place for place in _places(path, module, name) if place in files), None)


def _places(path: str, module: str, name: str) -> Iterator[str]:
    tongue, folder = language(path), posixpath.dirname(path)
    if tongue == "js":
        if module.startswith("."):
            place = posixpath.normpath(posixpath.join(folder, module))
            yield place
            yield from (place + suffix for suffix in _SUFFIXES)
            yield from (f"{place}/index{suffix}" for suffix in _SUFFIXES[:3])
        return
    if tongue == "rust":
        parts = [p for p in module.split("::") if p not in ("crate", "self", "super")]
        suffixes = (".rs", "/mod.rs")
    elif tongue == "python":
        dots = len(module) - len(module.lstrip("."))
        for _ in range(dots - 1):
            folder = posixpath.dirname(folder)
        parts, suffixes = [part for part in module.split(".") if part], (".py", "/__init__.py")
    else:
        return
    relative = tongue == "python" and module.startswith(".")
    while True:  # from the file's own folder up
        for names in ([*parts, name], parts):
            yield from (posixpath.join(folder, *names) + suffix for suffix in suffixes if names)
        if relative or not folder:
            return
        folder = posixpath.dirname(folder)
