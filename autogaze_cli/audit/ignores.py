"""Patterns as ``.gitignore`` has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Ignores:
    """The patterns of one file, or of the command line.

    Attributes:
        base: Folder that the patterns are relative to, "" or ending in a slash.
        patterns: Expression, whether it takes back, whether only for folders; the last match wins.
    """

    base: str
    patterns: tuple[tuple[re.Pattern[str], bool, bool], ...]

    @classmethod
    def read(cls, lines: Iterable[str], base: str = "") -> Self:
        """Read the lines of a ``.gitignore``.

        Args:
            lines: One pattern each; empty ones and comments are skipped.
            base: Folder that holds it, "" or ending in a slash.
        """
        patterns = (_pattern(line) for line in lines)
        return cls(base, tuple(pattern for pattern in patterns if pattern is not None))

    def match(self, path: str, *, folder: bool) -> bool | None:
        """Whether ``path`` is ignored; None where no pattern says so.

        >>> ignores = Ignores.read(["*.py", "!keep.py", "/top/"])
        >>> [ignores.match(p, folder=False) for p in ("a/b.py", "a/keep.py", "a/top", "top")]
        [True, False, None, None]
        >>> ignores.match("top", folder=True)
        True
        """
        if not path.startswith(self.base):
            return None
        inner = path[len(self.base) :]
        for expression, negated, only_folders in reversed(self.patterns):
            if (folder or not only_folders) and expression.fullmatch(inner):
                return not negated
        return None

    def covers(self, path: str) -> bool:
        """Whether ``path`` or a folder it is in matches."""
        parts = path.split("/")
        folders = ("/".join(parts[:n]) for n in range(1, len(parts)))
        return self.match(path, folder=False) is True or any(
            self.match(folder, folder=True) for folder in folders
        )


def _pattern(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    line = line.rstrip("\r\n")
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line.removeprefix("!")
    only_folders = line.endswith("/")
    line = line.rstrip("/")
    anchored = "/" in line
    if not line:
        return None
    expression = _expression(line.removeprefix("/"))
    try:
        compiled = re.compile(expression if anchored else f"(?:.*/)?{expression}", re.DOTALL)
    except re.error:
        return None  # as git: a pattern that is none matches nothing
    return compiled, negated, only_folders


def _expression(glob: str) -> str:
    out, i = [], 0
    while i < len(glob):
        if glob.startswith("**/", i) and (i == 0 or glob[i - 1] == "/"):
            out.append("(?:.*/)?")
            i += 3
        elif glob.startswith("**", i) and i + 2 == len(glob) and (i == 0 or glob[i - 1] == "/"):
            out.append(".+")
            i += 2
        elif glob[i] == "*":
            out.append("[^/]*")
            i += 1
        elif glob[i] == "?":
            out.append("[^/]")
            i += 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            inner = glob[i + 1 : end].replace("\\", "\\\\")
            inner = "^" + inner[1:] if inner[0] in "!^" else inner
            out.append(f"(?!/)[{inner}]")
            i = end + 1
        else:
            i += glob[i] == "\\" and i + 1 < len(glob)
            out.append(re.escape(glob[i]))
            i += 1
    return "".join(out)
