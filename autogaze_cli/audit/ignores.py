"""Patterns as ``.gitignore`` has them.

A pattern becomes a regular expression in which every wildcard is followed by what comes after it in
an atomic group: the first place that fits is kept, since what a later one could reach, the next
wildcard can reach as well. So no pattern, whatever its wildcards, goes back over a name.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Self

from autogaze_cli.errors import InputError

_LONGEST = 500
_MOST = 2000
"""Characters of a pattern, and patterns of a file; what is more ignores nothing."""

_PATIENCE_S = 10.0
"""How long the patterns of all files may take together; those of large repositories take two."""


class Patience:
    """The time that is left for the patterns of a tree, whose files may have many.

    Args:
        seconds: Of processor time, at first.
    """

    def __init__(self, seconds: float = _PATIENCE_S) -> None:
        self._left = seconds

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count the time that the block takes.

        Raises:
            InputError: None is left: what is not scanned would not be known.
        """
        start = time.thread_time()
        yield
        self._left -= time.thread_time() - start
        if self._left < 0:
            raise InputError(
                "the patterns of .gitignore files, or of files to leave out, take too long",
                hint="audit with --no-gitignore, or fewer --exclude and --include",
            )


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
        found = (pattern for line in lines if (pattern := _pattern(line)) is not None)
        return cls(base, tuple(islice(found, _MOST)))

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
    if not line or line.startswith("#") or len(line) > _LONGEST:
        return None
    negated = line.startswith("!")
    line = line.removeprefix("!")
    only_folders = line.endswith("/")
    line = line.rstrip("/")
    if not line:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of sets such as ``[[a&&b]``
        try:
            return re.compile(_path(line), re.DOTALL), negated, only_folders
        except (re.error, OverflowError):
            return None  # as git: a pattern that is none matches nothing


def _path(glob: str) -> str:
    """The expression of a whole pattern: runs of names, with ``**`` between them."""
    if "/" not in glob:
        return f"(?:[^/]*+/)*+{_name(glob)}"
    names = glob.removeprefix("/").split("/")
    inside = names[-1] == "**" and len(names) > 1
    runs: list[list[str]] = [[]]
    for name in names[:-1] if inside else names:
        if name == "**":
            runs.append([])
        else:
            runs[-1].append(_name(name))
    end = "/.+" if inside else ""
    if len(runs) == 1:
        return "/".join(runs[0]) + end
    out = ["/".join(runs[0]) + "/" if runs[0] else ""]
    out += [f"(?>(?:[^/]*+/)*?{'/'.join(run)}/)" for run in runs[1:-1] if run]
    if runs[-1]:
        out.append(f"(?:[^/]*+/)*?{'/'.join(runs[-1])}")
    return "".join(out) + (end if runs[-1] else ".+")


def _name(glob: str) -> str:
    """The expression of one name between slashes: runs of characters, with ``*`` between them."""
    runs, i = [""], 0
    while i < len(glob):
        end = glob.find("]", i + 2) if glob[i] == "[" else -1
        if glob[i] == "*":
            runs.append("")
            i += 1
        elif glob[i] == "?":
            runs[-1] += "[^/]"
            i += 1
        elif end > 0:
            inner = glob[i + 1 : end].replace("\\", "\\\\")
            inner = "^" + inner[1:] if inner[0] in "!^" else inner
            runs[-1] += f"(?!/)[{inner}]"
            i = end + 1
        else:
            i += glob[i] == "\\" and i + 1 < len(glob)
            runs[-1] += re.escape(glob[i])
            i += 1
    if len(runs) == 1:
        return runs[0]
    middle = "".join(f"(?>[^/]*?{run})" for run in runs[1:-1] if run)
    return f"(?>{runs[0]}{middle}[^/]*{runs[-1]}(?![^/]))"
