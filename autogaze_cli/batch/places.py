"""Finds files by a folder or a glob; a folder is searched once, however many links lead to it."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_DEEP = "**"


def walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder except hidden ones, and ``*`` below each unreadable folder.

    Links to folders are not followed. What is unreadable cannot be opened, so that each such folder
    becomes an input that fails.
    """
    files: list[Path] = []
    denied: list[Path] = []
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            entries = _entries(place)
        except OSError:
            denied.append(place / "*")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                files.append(place / entry.name)
            elif not entry.is_symlink():
                waiting.append(place / entry.name)
    return files, denied


def as_glob(name: str) -> str | None:
    """``name`` as a glob, or None if it has no wildcard.

    Brackets in the name of an existing folder are literal: ``[2024] trip/*.mp4``.
    """
    if not glob.has_magic(name):
        return None
    path = Path(name)
    fixed, parts = Path(path.anchor), list(path.relative_to(path.anchor).parts)
    escaped: list[str] = []
    while parts and (not glob.has_magic(parts[0]) or os.path.lexists(fixed / parts[0])):
        fixed /= parts[0]
        escaped.append(glob.escape(parts.pop(0)))
    if not any(map(glob.has_magic, parts)):
        return None
    return str(Path(path.anchor, *escaped, *parts))


def fixed_part(pattern: str) -> Path:
    """The folders of a glob that precede the first wildcard."""
    path = Path(pattern)
    fixed = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts[:-1]:
        plain = _unescaped(part)
        if plain is None:
            break
        fixed /= plain
    return fixed


def matches(pattern: str) -> list[Path]:
    """The matches of a glob, sorted, as Python's ``glob`` has them with ``recursive``.

    That follows every link again and again, until a path is too long: a folder with a few links to
    itself takes it forever. Here a part of the pattern goes into each real folder once, by the
    shortest path.
    """
    path = Path(pattern)
    found = [Path(path.anchor)]
    *folders, last = path.relative_to(path.anchor).parts
    for part in folders:
        found = _distinct(_below(found, part))
    return sorted({there for there in _below(found, last) if os.path.lexists(there)})


def _below(folders: list[Path], part: str) -> Iterable[Path]:
    """What a part of a pattern matches in some folders."""
    plain = _unescaped(part)
    if plain is not None:
        return [folder / plain for folder in folders]
    if part == _DEEP:
        return _deep(folders)
    return [
        folder / entry.name
        for folder in folders
        for entry in _readable(folder)
        if fnmatch.fnmatch(entry.name, part) and (part[0] == "." or entry.name[0] != ".")
    ]


def _deep(folders: list[Path]) -> Iterator[Path]:
    """Folders, and all that is below them but for hidden entries; links are followed."""
    yield from folders
    level, known = folders, {_identity(folder) for folder in folders}
    while level:
        below = []
        for folder in level:
            for entry in _readable(folder):
                if entry.name.startswith("."):
                    continue
                path = folder / entry.name
                yield path
                if _is_folder(entry) and (where := _identity(path)) not in known:
                    known.add(where)
                    below.append(path)
        level = below


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Those that are folders, each real one once."""
    found: dict[object, Path] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  # False where closed
            found.setdefault(_identity(path), path)
    return list(found.values())


def _identity(folder: Path) -> object:
    """What only other paths of the same folder have too; None if it cannot be reached."""
    with suppress(OSError):
        status = folder.stat()
        return status.st_dev, status.st_ino
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _readable(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder; none if it cannot be read."""
    with suppress(OSError):
        return _entries(folder)
    return []


def _unescaped(part: str) -> str | None:
    """The literal name of a part of a glob; None if the part has wildcards."""
    plain = re.sub(r"\[([*?[])\]", r"\1", part)
    return plain if glob.escape(plain) == part else None
