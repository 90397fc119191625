"""Whether a migration patch still applies to a checkout.

The patch is read here: git, run inside a tree, follows that tree's own configuration, which may
name programs.

Source: audit spec A.5.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autogaze_cli.audit.deadline import Deadline, TimeLimitError
from autogaze_cli.audit.reading import shown
from autogaze_cli.errors import InputError
from autogaze_cli.reading import read_regular

MIGRATIONS = {
    path.stem: path for path in sorted((Path(__file__).parent / "migrations").glob("*.patch"))
}
"""Patches that come with the program, by the name of the repository they are for."""

_MOST_BYTES = 1 << 23
"""Of a patch, and of a file that it changes; each line takes six times its size in memory."""

_LONGEST_PATH = 4096
_LIMIT_S = 20.0
_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_MODE = re.compile(rb"(new|deleted|new file|deleted file) mode [0-7]{6}$")
_MOVE = re.compile(rb"(rename|copy) from ")
_NOWHERE = b"/dev/null"


@dataclass(slots=True)
class _Hunk:
    start: int
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    followed: bool = False


@dataclass(slots=True)
class _Change:
    """What a patch does to one file.

    Attributes:
        line: Where it says so.
        old: The file, None where it is new.
        new: What it is then called, None where it is gone.
        bare: Whether it is a change without a hunk too: of the name or the mode.
        copied: Whether the file stays as it is.
        hunks: What changes in it.
    """

    line: int
    old: str | None
    new: str | None
    bare: bool = False
    copied: bool = False
    hunks: list[_Hunk] = field(default_factory=list)


@dataclass(slots=True)
class _Checkout:
    """The folder as a patch has left it so far.

    Attributes:
        root: The folder.
        leaving: Names of files that the patch deletes or moves.
        texts: The lines of each file that it has changed, None for one that is gone.
    """

    root: Path
    leaving: set[str | None]
    texts: dict[str, list[bytes] | None] = field(default_factory=dict)

    def is_free(self, name: str) -> bool:
        """Whether a file of this name can be made."""
        if name in self.leaving or name in self.texts:
            return name in self.leaving or self.texts[name] is None
        place = self.root / name
        return not os.path.lexists(place) or place.is_dir()  # git looks into no folder either

    def text(self, name: str) -> list[bytes] | None:
        """The lines of a file, None where there is none."""
        if name not in self.texts:
            original = self.original(name)
            if original is None:
                return None
            self.texts[name] = original
        return self.texts[name]

    def original(self, name: str) -> list[bytes] | None:
        """The lines of a file as it was before."""
        try:
            return _rows(read_regular(self.root / name, _MOST_BYTES))
        except OSError:
            return None


def patch_problems(patch: Path, root: Path) -> list[str]:
    """What keeps ``patch`` from applying to ``root``; nothing is changed.

    Args:
        patch: A unified diff; its paths are relative to ``root``, each after ``a/`` or ``b/``.
        root: The folder it is for.

    Returns:
        One line per problem; empty when the patch applies.

    Raises:
        InputError: When the patch is no patch.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder", hint="give the checkout the patch is for")
    try:
        text = read_regular(patch, _MOST_BYTES)
        changes = _changes(_rows(text))
    except OSError as error:
        message = f"{patch}: cannot be read: {error.strerror}"
        raise InputError(message, hint="give --check-patch a unified diff") from error
    except ValueError as error:
        message = f"{patch}: not a unified diff: {error}"
        raise InputError(message, hint="write one with git diff") from error
    if not changes:
        message = f"{patch}: not a unified diff: it changes nothing"
        raise InputError(message, hint="write one with git diff")
    problems: list[str] = []
    leaving = {c.old for c in changes if c.new != c.old and not c.copied}
    checkout = _Checkout(root, leaving)
    deadline = Deadline(_LIMIT_S)
    try:
        for change in changes:
            problems += _problems(change, checkout, deadline)
    except TimeLimitError as error:
        message = f"{patch}: too many lines that fit in too many places to be tried"
        raise InputError(message, hint="check its files one at a time") from error
    return problems


def _changes(lines: list[bytes]) -> list[_Change]:
    """The files that a patch changes.

    Raises:
        ValueError: A hunk is cut short, of a kind that is not read, or missing.
    """
    changes: list[_Change] = []
    change: _Change | None = None
    head = i = 0
    while i < len(lines):
        line = lines[i]
        after = lines[i + 1] if i + 1 < len(lines) else b""
        if line.startswith(b"GIT binary patch"):
            raise ValueError(f"line {i + 1}: binary changes are not read")
        if line.startswith(b"@@ -"):
            if change is None:
                raise ValueError(f"line {i + 1}: a hunk without a file")
            hunk, i = _hunk(lines, i)
            change.hunks.append(hunk)
            continue
        if line.startswith(b"diff --git "):
            changes += [_Change(head, None, None)] if head and change is None else []
            change, head = None, i + 1
        found = _headed(i + 1, line, after, lines[head - 1] if head and change is None else b"")
        if found is not None and (
            change is None or (change.old, change.new) != (found.old, found.new)
        ):
            change = found
            changes.append(change)
        i += 1 if found is None or not after.startswith(b"+++ ") else 2
    changes += [_Change(head, None, None)] if head and change is None else []
    for change in changes:
        if not (change.hunks or change.bare):
            raise ValueError(f"line {change.line}: a file without a hunk, a new name or a mode")
    return changes


def _headed(number: int, line: bytes, after: bytes, head: bytes) -> _Change | None:
    """The change that a line begins, before its hunks.

    Args:
        number: Of the line, from 1.
        line: The line.
        after: The next one.
        head: The line ``diff --git`` of a change that has not begun yet, or nothing.
    """
    if line.startswith(b"--- ") and after.startswith(b"+++ "):
        return _Change(number, _name(line), _name(after))
    move = _MOVE.match(line)
    if move is not None and after.startswith(move[1] + b" to "):
        old, new = (_unquoted(row.split(b" ", 2)[2]) for row in (line, after))
        return _Change(number, old, new, bare=True, copied=move[1] == b"copy")
    mode = _MODE.match(line.rstrip(b"\r\n")) if head else None
    names = head.rstrip(b"\r\n").removeprefix(b"diff --git ")
    half = len(names) // 2
    old, new = _stripped(names[:half]), _stripped(names[half + 1 :])
    if mode is None or old != new:  # of a new name the next lines tell
        return None
    return _Change(
        number,
        None if mode[1] == b"new file" else old,
        None if mode[1] == b"deleted file" else new,
        bare=True,
    )


def _hunk(lines: list[bytes], i: int) -> tuple[_Hunk, int]:
    """The hunk at ``i``, and the line after it."""
    head = _HUNK.match(lines[i])
    if head is None:
        raise ValueError(f"line {i + 1}: not the head of a hunk")
    removed, added = (int(count) if count is not None else 1 for count in (head[2], head[4]))
    hunk = _Hunk(int(head[1]))
    i += 1
    while removed or added:
        kind = lines[i][:1] if i < len(lines) else b""
        row = lines[i][1:] if kind in (b" ", b"-", b"+") else b"\n"
        if kind in (b" ", b"-", b"\n", b"\r") and removed:
            removed -= 1
            hunk.before.append(row)
        elif kind != b"+":
            raise ValueError(f"line {i + 1}: the hunk is cut short")
        if kind != b"-":
            if not added:
                raise ValueError(f"line {i + 1}: the hunk is longer than its head says")
            added -= 1
            hunk.after.append(row)
        hunk.followed = kind in (b" ", b"\n", b"\r")
        i += 1
        if lines[i : i + 1] and lines[i].startswith(b"\\"):  # no newline at the end
            for side, changed in ((hunk.before, kind != b"+"), (hunk.after, kind != b"-")):
                if changed and side:
                    side[-1] = side[-1].removesuffix(b"\n")
            i += 1
    return hunk, i


def _name(line: bytes) -> str | None:
    """The path of a ``---`` or ``+++`` line, without its first folder."""
    name = line[4:].rstrip(b"\r\n").split(b"\t")[0]
    return None if name == _NOWHERE else _stripped(name)


def _stripped(name: bytes) -> str:
    """A path without its first folder."""
    text = _unquoted(name)
    return text.partition("/")[2] or text


def _unquoted(name: bytes) -> str:
    name = name.rstrip(b"\r\n")
    if name.startswith(b'"') and name.endswith(b'"'):
        text = name[1:-1].decode("latin-1")
        name = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text).encode("latin-1")
    return os.fsdecode(name)


def _problems(change: _Change, checkout: _Checkout, deadline: Deadline) -> Iterator[str]:
    """What keeps one change from applying; the checkout is then as the change leaves it."""
    old, new = change.old, change.new
    for name in {old, new} - {None}:
        if name is not None and not _is_inside(name, checkout.root):
            yield f"{shown(name)}: not a path inside the folder"
            return
    if new not in (old, None) and not checkout.is_free(new):
        yield f"{shown(new)}: already there"
        return
    if old is None:
        if new is not None:
            checkout.texts[new] = [row for hunk in change.hunks for row in hunk.after]
        return
    # As git has it, what is moved or copied is the file before any other change.
    lines = checkout.text(old) if new in (old, None) else checkout.original(old)
    if lines is None:
        yield f"{shown(old)}: no such file"
        return
    shift = 0
    for hunk in change.hunks:
        place = _place(lines, hunk, shift, deadline)
        if place is None:
            yield f"{shown(old)}: the hunk at line {hunk.start} does not apply"
            return
        shift = place - max(hunk.start - 1, 0) + len(hunk.after) - len(hunk.before)
        lines[place : place + len(hunk.before)] = hunk.after
    if new is None and lines:
        yield f"{shown(old)}: has more than what the patch deletes"
    if not change.copied:
        checkout.texts[old] = None if new != old else lines
    if new is not None:
        checkout.texts[new] = lines


def _is_inside(name: str, root: Path) -> bool:
    if len(name) > _LONGEST_PATH or "\0" in name:
        return False
    path = PurePosixPath(name)
    if "\0" in name or path.is_absolute() or not path.parts or {"..", ".git"} & {*path.parts}:
        return False
    inside = [root.joinpath(*path.parts[: n + 1]) for n in range(len(path.parts))]
    try:
        return not any(place.is_symlink() for place in inside)
    except OSError:  # no file can have such a name
        return False


def _rows(data: bytes) -> list[bytes]:
    """Lines with their ends; only a line feed ends one."""
    rows = data.split(b"\n")
    return [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])


def _place(lines: list[bytes], hunk: _Hunk, shift: int, deadline: Deadline) -> int | None:
    """The line, from 0, at which a hunk fits that is nearest to where it should.

    As git has it: a hunk from line 1 on stands at the beginning, one without context after it at
    the end.
    """
    size = len(hunk.before)
    wanted = min(max(hunk.start - 1 + shift, 0), len(lines))
    if not size:
        return wanted if hunk.start else 0 if not lines else None
    first = hunk.before[0]
    places = [i for i, line in enumerate(lines[: len(lines) - size + 1]) if line == first]
    if hunk.start <= 1:
        places = places[:1] if places[:1] == [0] else []
    if not hunk.followed:
        places = [i for i in places if i + size == len(lines)]
    for i in sorted(places, key=lambda i: abs(i - wanted)):
        if deadline.is_over():
            raise TimeLimitError
        if lines[i : i + size] == hunk.before:
            return i
    return None
