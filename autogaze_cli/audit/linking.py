"""Following ids from one file into another, through what it imports: one step far."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from autogaze_cli.audit.imports import WHOLE, Imported, file_of

_LIMIT = 2000
"""Calls of a file that are followed."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an imported function that is given ids.

    Attributes:
        name: The function's local name.
        owner: The local name of the module before the dot, "" without one.
        places: Where the ids are: numbers of arguments, and keywords.
    """

    name: str
    owner: str
    places: tuple[int | str, ...]


@dataclass(slots=True)
class Exports:
    """What other files may want to know of a file.

    Attributes:
        imports: What it imports.
        calls: Its calls of imported functions that are given ids.
        givers: Its functions that give ids, see ``Facts``.
        numbers: Its constants.
    """

    imports: Imported = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    givers: dict[str, int | None] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Seeds:
    """What is known of a file from others.

    Attributes:
        given: Its functions that are called with ids, and at which parameters.
        givers: Imported functions that give ids.
        numbers: Imported constants.
    """

    given: dict[str, set[int | str]] = field(default_factory=dict)
    givers: dict[str, int | None] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)


def link(exports: Mapping[str, Exports], files: Container[str]) -> dict[str, Seeds]:
    """What each file has to know of others, for the files where that is anything.

    Args:
        exports: Of the files that were analysed, by name.
        files: The names of all files of the repository.
    """
    seeds: dict[str, Seeds] = {}
    for path, mine in exports.items():
        for call in mine.calls[:_LIMIT]:
            target = _target(path, call, mine.imports, files)
            if target is not None:
                file, name = target
                known = seeds.setdefault(file, Seeds())
                known.given.setdefault(name, set()).update(call.places)
        for local, (module, name) in list(mine.imports.items())[:_LIMIT]:
            source = exports.get(file_of(path, module, name, files) or "")
            if source is None:
                continue
            if name in source.givers:
                seeds.setdefault(path, Seeds()).givers[local] = source.givers[name]
            if name in source.numbers:
                seeds.setdefault(path, Seeds()).numbers[local] = source.numbers[name]
            if name == WHOLE or name not in source.givers:
                for giver, place in source.givers.items():
                    if _is_module(path, module, name, files):
                        seeds.setdefault(path, Seeds()).givers[giver] = place
    return seeds


def _target(
    path: str, call: Call, imports: Imported, files: Container[str]
) -> tuple[str, str] | None:
    """The file and the name of the function that is called."""
    if call.owner:
        module, name = imports.get(call.owner, ("", ""))
        file = file_of(path, module, name, files) if module else None
        return (file, call.name) if file is not None else None
    module, name = imports.get(call.name, ("", ""))
    file = file_of(path, module, name, files) if module else None
    return (file, name) if file is not None and name != WHOLE else None


def _is_module(path: str, module: str, name: str, files: Container[str]) -> bool:
    """Whether an imported name is a module of the repository."""
    if name == WHOLE:
        return True
    file = file_of(path, module, name, files) or ""
    stem = file.rpartition("/")[2].partition(".")[0]
    return stem == name
