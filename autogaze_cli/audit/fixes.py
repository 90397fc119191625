"""Rewriting Python decoders so that they call a helper, where that is certain.

A function at the top of a module is rewritten when what it gives is known: its text is evaluated
(``evaluate``) for generated outputs made up by chance, and each time it must give the cells that
the published layout gives, in one of a few forms. Anything else is left as it is.
"""

from __future__ import annotations

# autogaze-audit: ignore-file[AGR1] the layout that decoders are compared with
import ast
import difflib
import os
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autogaze_cli.audit.evaluate import Evaluator, UnknownError
from autogaze_cli.audit.files import common_base
from autogaze_cli.audit.findings import Finding
from autogaze_cli.audit.names import Names, is_frame, normalise
from autogaze_cli.reading import MOST_BYTES, read_regular

SCALES = "32+64+112+224"
_SIDES = (2, 4, 7, 14)
_STARTS = (0, 4, 20, 69)
_PER_FRAME = 265
_TRIALS = 40
_BATCH = frozenset(["b", "batch", "batch_index", "batch_idx", "row", "video", "sample"])
_FRAMES = frozenset(["frames", "num_frames", "n_frames", "frame_count", "steps", "t_total"])
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_TAKEN = frozenset(["config", "found", "points", "frame_set", "number", "cell"])
_IMPORT = "from autogaze_cli.readout import ReadoutConfig, generated_to_fixation_sets"
_COLUMNS = {
    "frame": "[number] * len(points)",
    "scale": "[config.layout.grids.index(grid) for grid in points.grid.tolist()]",
    "grid": "points.grid.tolist()",
    "row": "(points.y * points.grid).astype(int).tolist()",
    "col": "(points.x * points.grid).astype(int).tolist()",
    "local": "points.token.tolist()",
}
"""What a cell of a result may be, and how it comes from the points of a frame."""

Cell = dict[str, int]


@dataclass(slots=True)
class _Form:
    """In which form a function gives the cells.

    Attributes:
        shape: "one" frame's, each frame's ("frames") or all in one list ("flat").
        kind: What one cell is: ``int``, ``tuple``, ``list`` or ``dict``.
        keys: Of a dictionary.
        columns: For each part of a cell what it may be.
    """

    shape: str
    kind: type[Any] | None = None
    keys: tuple[str, ...] = ()
    columns: list[set[str]] = field(default_factory=list)

    def allows(self, result: Any, frames: list[list[Cell]], frame: int) -> bool:
        """Whether a result is these frames' cells in this form; narrows it down."""
        groups = [frames[frame]] if self.shape == "one" else frames
        if self.shape != "frames":
            groups, result = [[cell for group in groups for cell in group]], [result]
        if not isinstance(result, list) or len(result) != len(groups):
            return False
        return all(
            isinstance(part, list) and len(part) == len(group) and self._fits(part, group)
            for part, group in zip(result, groups, strict=True)
        )

    def _fits(self, part: list[Any], group: list[Cell]) -> bool:
        for item, cell in zip(part, group, strict=True):
            if self.kind is None:
                self.kind = type(item)
                self.keys = tuple(item) if isinstance(item, dict) else ()
                self.columns = [set(_COLUMNS) for _ in self._parts(item)]
            parts = self._parts(item)
            if type(item) is not self.kind or len(parts) != len(self.columns):
                return False
            for allowed, value in zip(self.columns, parts, strict=True):
                allowed -= {name for name in allowed if cell[name] != value}
                if not allowed:
                    return False
        return True

    def _parts(self, item: Any) -> list[Any]:
        if isinstance(item, dict):
            return [item.get(key) for key in self.keys]
        return list(item) if isinstance(item, tuple | list) else [item]

    def source(self) -> str | None:
        """The expression of a frame's cells; None where it is not one thing."""
        if self.kind not in (int, tuple, list, dict) or not all(self.columns):
            return None
        parts = [_COLUMNS[min(allowed, key=list(_COLUMNS).index)] for allowed in self.columns]
        if self.kind is int:
            return parts[0]
        cells = f"zip({', '.join(parts)}, strict=True)"
        if self.kind is tuple:
            return f"list({cells})"
        made = "list(cell)" if self.kind is list else f"dict(zip({self.keys!r}, cell, strict=True))"
        return f"[{made} for cell in {cells}]"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A file with its decoders rewritten."""

    path: Path
    name: str
    before: str
    after: str

    def is_read_only(self) -> bool:
        """Whether nobody may write to the file."""
        return not self.path.stat().st_mode & 0o222

    def is_current(self) -> bool:
        """Whether the file is still as it was read."""
        try:
            return read_regular(self.path, MOST_BYTES) == self.before.encode()
        except OSError:
            return False

    def patch(self) -> str:
        """The change as a unified diff."""
        before, after = (_LINE.findall(text) for text in (self.before, self.after))
        names = _quoted(f"a/{self.name}"), _quoted(f"b/{self.name}")
        rows = difflib.unified_diff(before, after, *names)
        end = "\n\\ No newline at end of file\n"
        return "".join(row if row.endswith("\n") else f"{row}{end}" for row in rows)


def _quoted(name: str) -> str:
    """A path as git writes it in a patch, where it would not be one on a line of its own."""
    data = os.fsencode(name)
    if not re.search(rb'[\x00-\x1f"\\\x7f-\xff]', data):
        return name
    plain = re.sub(rb'[\x00-\x1f"\\\x7f-\xff]', lambda found: b"\\%03o" % ord(found[0]), data)
    return f'"{plain.decode("ascii")}"'


def rewrites(paths: list[Path], findings: Iterable[Finding]) -> list[Rewrite]:
    """The Python files that can be rewritten.

    Args:
        paths: What was audited.
        findings: What counts of what was found.
    """
    scopes: dict[str, set[str]] = {}
    for finding in findings:
        if finding.path.endswith(".py"):
            scopes.setdefault(finding.path, set()).add(finding.scope)
    base, found = common_base(paths), []
    for name, functions in sorted(scopes.items()):
        try:
            before = read_regular(base / name, MOST_BYTES).decode()
        except (OSError, UnicodeDecodeError):
            continue
        after = fix(before, functions)
        if after != before:
            found.append(Rewrite(base / name, name, before, after))
    return found


def fix(text: str, scopes: Iterable[str]) -> str:
    """A module's text with its decoders rewritten; the same text where none is certain.

    Args:
        text: The module.
        scopes: Names of the functions that the audit objects to.
    """
    if "\r" in text.replace("\r\n", ""):
        return text  # a carriage return alone ends lines too, which no patch can show
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    evaluator = Evaluator(module)
    lines = _LINE.findall(text)
    end_of_line = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    rewritten = set()
    for name in set(scopes) & evaluator.functions.keys():
        function = evaluator.functions[name]
        rest = function.body[1 if ast.get_docstring(function) is not None else 0 :]
        body = _body(evaluator, function) if rest else None
        if body is not None:
            end = function.end_lineno or 0
            body = body.replace("\n", end_of_line)
            lines[rest[0].lineno - 1 : end] = [body, *[""] * (end - rest[0].lineno)]
            rewritten.add(name)
    lines.insert(_import_line(module), _IMPORT + end_of_line)
    after = "".join(lines)
    return after if rewritten and _outline(after, rewritten) == _outline(text, rewritten) else text


def _outline(text: str, rewritten: set[str]) -> list[str] | None:
    """The statements of a module, but for the bodies of some functions and the import."""
    try:
        module = ast.parse(text.replace(_IMPORT, "", 1))
    except SyntaxError:
        return None
    found = []
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name in rewritten:
            found.append(f"{node.name}: {ast.dump(node.args)} {ast.get_docstring(node)}")
        else:
            found.append(ast.dump(node))
    return found


def _body(evaluator: Evaluator, function: ast.FunctionDef) -> str | None:
    """The new body of a function, None where it is not certain."""
    roles = _roles(function)
    form = _form(evaluator, function.name, roles) if roles is not None else None
    cells = form.source() if form is not None else None
    if roles is None or form is None or cells is None or function.decorator_list:
        return None
    by_role = {role: name for name, role in roles.items()}
    indent = " " * 4
    sets = f"generated_to_fixation_sets({by_role['out']}, config, {by_role.get('batch', '0')})"
    if form.shape == "one":
        frame = by_role["frame"]
        sets += f"[{frame} : {frame} + 1]"
    head = f"for frame_set in {sets}:"
    if "number" in cells:
        head = f"for number, frame_set in enumerate({sets}):"
    yields = any(isinstance(node, ast.Yield) for node in ast.walk(function))
    give = f"found.append({cells})" if form.shape == "frames" else f"found += {cells}"
    if yields:
        give = f"yield {cells}" if form.shape == "frames" else f"yield from {cells}"
    rows = [
        f'config = ReadoutConfig(scales="{SCALES}", num_vision_tokens_each_frame={_PER_FRAME})',
        *([] if yields else ["found = []"]),
        head,
        f"{indent}points = frame_set.fixations.select(frame_set.fixations.grid > 0)",
        f"{indent}{give}",
        *([] if yields else ["return found"]),
    ]
    return "".join(f"{indent}{row}\n" for row in rows)


def _roles(function: ast.FunctionDef) -> dict[str, str] | None:
    """What each parameter is: "out", "frame", "batch", "per_frame", "frames" or its "default"."""
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        return None
    names = [argument.arg for argument in arguments.args]
    optional = names[len(names) - len(arguments.defaults) :]
    roles: dict[str, str] = {}
    for number, name in enumerate(names):
        word = normalise(name)
        if number == 0:
            roles[name] = "out"
        elif is_frame(name):
            roles[name] = "frame"
        elif word in _BATCH:
            roles[name] = "batch"
        elif name in optional:
            roles[name] = "default"
        elif word in _FRAMES:
            roles[name] = "frames"
        elif Names().is_vocab(name) or Names().is_per_frame(name):
            roles[name] = "per_frame"
        else:
            return None
    used = list(roles.values())
    if not names or names[0] in ("self", "cls") or _TAKEN & set(names):
        return None
    return roles if used.count("frame") < 2 and used.count("batch") < 2 else None


def _form(evaluator: Evaluator, name: str, roles: dict[str, str]) -> _Form | None:
    """The form in which a function gives the cells, None where it gives something else."""
    chance = random.Random(265)
    shapes = ["one"] if "frame" in roles.values() else ["frames", "flat"]
    forms = [_Form(shape) for shape in shapes]
    for _ in range(_TRIALS):
        rows, counts = _rows(chance, 2)
        batch = chance.randrange(2) if "batch" in roles.values() else 0
        frame = chance.randrange(len(counts))
        out = {
            "gazing_pos": [[ids for ids, _, _ in row] for row in rows],
            "if_padded_gazing": [[padded for _, padded, _ in row] for row in rows],
            "num_gazing_each_frame": counts,
            "num_vision_tokens_each_frame": _PER_FRAME,
        }
        values: dict[str, Any] = {
            "out": out, "frame": frame, "batch": batch, "per_frame": _PER_FRAME,
            "frames": len(counts),
        }  # fmt: skip
        given = {key: values[role] for key, role in roles.items() if role in values}
        try:
            result = evaluator.call(name, evaluator.with_defaults(name, given))
        except UnknownError:
            return None
        frames: list[list[Cell]] = [[] for _ in counts]
        for _, padded, cell in rows[batch]:
            if not padded:
                frames[cell["frame"]].append(cell)
        forms = [form for form in forms if form.allows(result, frames, frame)]
    return forms[0] if forms else None


def _rows(
    chance: random.Random, count: int
) -> tuple[list[list[tuple[int, bool, Cell]]], list[int]]:
    """The slots of some rows of a batch, each an id, its flag and its cell; slots per frame."""
    counts = [chance.randint(1, 8) for _ in range(chance.randint(1, 4))]
    rows = []
    for _ in range(count):
        row = []
        for frame, slots in enumerate(counts):
            for _ in range(slots):
                scale = chance.randrange(4)
                side = _SIDES[scale]
                place_row, col = chance.randrange(side), chance.randrange(side)
                local = _STARTS[scale] + place_row * side + col
                padded = chance.random() < 0.25
                cell = {
                    "frame": frame, "scale": scale, "grid": side, "row": place_row, "col": col,
                    "local": local,
                }  # fmt: skip
                row.append((frame * _PER_FRAME + (_PER_FRAME if padded else local), padded, cell))
        rows.append(row)
    return rows, counts


def _import_line(module: ast.Module) -> int:
    """The line, from 0, before which an import may stand."""
    line = 0
    for node in module.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not (docstring or future):
            break
        line = node.end_lineno or line
    return line
