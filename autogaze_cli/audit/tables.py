"""Literal tables of the scale layout of one checkpoint."""

from __future__ import annotations

from autogaze_cli.audit.nodes import Node

OFFSET_TABLES = (
    (0.0, 4.0, 20.0, 69.0),
    (4.0, 20.0, 69.0),
    (4.0, 20.0, 69.0, 265.0),
    (0.0, 4.0, 20.0, 69.0, 265.0),
)
COUNT_TABLES = ((4.0, 16.0, 49.0, 196.0), (2.0, 4.0, 7.0, 14.0))
SCALE_TABLES = (*COUNT_TABLES, (32.0, 64.0, 112.0, 224.0))
SCALES_TEXT = b"32+64+112+224"


def is_table(node: Node, tables: tuple[tuple[float, ...], ...]) -> bool:
    """Whether a literal is one of ``tables``, or a table of rows with one of them as a column."""
    if node.kind == "mapping":
        cells = [part.parts[-1] for part in node.parts if part.kind == "pair" and part.parts]
        numbers = tuple(cell.number() for cell in cells)
    else:
        cells = node.parts
        numbers = tuple(cell.number() for cell in cells)
    if numbers in tables:
        return True
    rows = [_row(cell) for cell in cells]
    if len({len(row) for row in rows}) != 1:
        return False
    return any(column in tables for column in zip(*rows, strict=True))


def _row(node: Node) -> list[float | None]:
    """The numbers of one row of a table: a list, or a record with fields."""
    if node.kind not in ("sequence", "mapping", "call"):
        return []
    cells = node.parts[1:] if node.kind == "call" else node.parts  # a call: of a constructor
    return [
        (cell.parts[-1].number() if cell.parts else None)
        if cell.kind in ("pair", "keyword")
        else cell.number()
        for cell in cells
    ]
