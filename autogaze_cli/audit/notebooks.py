"""The code cells of a notebook, each line with the line of the file that holds it.

Formats 3 and 4. Outputs are passed over, so that their size does not count.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

_STRING = r'"(?:[^"\\]++|\\.)*+"'
_TOKEN = re.compile(
    rf"(?P<key>{_STRING})\s*+:|(?P<string>{_STRING})|(?P<open>[{{\[])|(?P<close>[}}\]])", re.DOTALL
)
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun)\b")
_SOURCES = ("source", "input")
"""Where a cell's code is, in format 4 and in format 3."""

Line = tuple[str, int]
"""A line of code, and the line of the file that it came from, from 1."""


@dataclass(slots=True)
class _Cell:
    values: dict[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def is_code(self) -> bool:
        language = self.values.get("language", "python").lower()
        return self.values.get("cell_type") == "code" and language.startswith(("python", "ipython"))


def code_lines(text: str) -> list[Line]:
    """The lines of the code cells, one cell after another; magics are blank.

    Raises:
        ValueError: It is not JSON, or has no cells.
    """
    try:
        document = json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    except ValueError as error:
        raise ValueError("not JSON") from error
    if not isinstance(document, dict) or not document.keys() & {"cells", "worksheets"}:
        raise ValueError("not a notebook: it has no cells")
    del document
    found: list[Line] = []
    for cell in _cells(text):
        if not cell.is_code():
            continue
        first = cell.lines[0][0] if cell.lines else ""
        foreign = first.startswith("%%") and not _PYTHON_CELL.match(first)
        for line, at in cell.lines:
            magic = foreign or line.lstrip().startswith(("%", "!"))
            found.append(("" if magic else line, at))
    return found


def _cells(text: str) -> Iterator[_Cell]:
    """The cells of a text that is JSON, in one pass over its tokens."""
    ends = [match.start() for match in re.finditer("\n", text)]
    path: list[str | None] = []  # of each open object the key it is at, of each open list None
    cell: _Cell | None = None
    depth = 0
    for token in _TOKEN.finditer(text):
        if token["key"] is not None:
            path[-1] = json.loads(token["key"], strict=False)
        elif token["open"] is not None:
            path.append("" if token["open"] == "{" else None)
            if cell is None and _is_cell(path):
                cell, depth = _Cell(), len(path)
        elif token["close"] is not None:
            if cell is not None and len(path) == depth:
                yield cell
                cell = None
            path.pop()
        elif cell is not None and path[depth:] in ([], [None]):
            line = bisect_right(ends, token.start()) + 1
            _note(cell, str(path[depth - 1]), json.loads(token["string"], strict=False), line)


def _is_cell(path: list[str | None]) -> bool:
    """Whether the object just opened is a cell: in the list ``cells``, of a sheet in format 3."""
    above = path[:-1]
    return path[-1] == "" and (
        above == ["cells", None] or above == ["worksheets", None, "cells", None]
    )


def _note(cell: _Cell, key: str, value: str, line: int) -> None:
    if key not in _SOURCES:
        cell.values.setdefault(key, value)
        return
    pieces = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not pieces[-1]:
        pieces.pop()
    cell.lines += [(piece, line) for piece in pieces]
