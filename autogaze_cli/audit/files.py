"""Which files of a tree are scanned.

Source: audit spec B.4.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from autogaze_cli.audit.coverage import Coverage
from autogaze_cli.audit.ignores import Ignores, Patience
from autogaze_cli.audit.languages import language, with_line_feeds
from autogaze_cli.audit.nodes import words
from autogaze_cli.audit.reading import read_lines, shown
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import InputError

_ALWAYS = frozenset([".git", ".hg", ".svn"])
_BUILT = words("target node_modules dist build out .venv venv __pycache__ .tox site-packages .next")
_VENDORED = words("vendor third_party third-party external extern deps _deps")
_GENERATED_NAMES = ("*.min.js", "*.pb.go", "*_pb2.py", "*.generated.*")
_GENERATED = re.compile(rb"Code generated .*DO NOT EDIT|@generated")
_MANIFESTS = words("Cargo.toml pyproject.toml setup.cfg package.json go.mod")
_DEPENDENCIES = re.compile(
    r"^(?:requirements.*\.txt|setup\.py|environment\.ya?ml|go\.mod|.*\.toml)$"
)
_PACKAGES = re.compile(r"\b(?:burn[_-]autogaze|autogaze[_-]cli)\b")
_HEAD = 2000
_LONG_LINE = 5000
_LEAST_CODE = 40
"""Bytes of a long line for each of its brackets and semicolons, where it is minified code."""

NOTEBOOK_ROOM = 20
"""How many times the largest file a notebook may be, whose outputs are passed over."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A file to scan.

    Attributes:
        path: Where it is.
        name: Its path from the common base, with slashes.
        named: Whether the user named it.
    """

    path: str
    name: str
    named: bool = False


@dataclass(slots=True)
class Selection:
    """What was found under the paths.

    Attributes:
        files: To scan, sorted by name.
        coverage: What is left out, and why.
        has_dependency: Whether a manifest names a package with the readout helpers.
    """

    files: list[Selected] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    has_dependency: bool = False


def select(paths: list[Path], settings: AuditSettings) -> Selection:
    """Choose the files to scan.

    Args:
        paths: Folders and files; names are relative to the one folder, or to what several share.
        settings: What to leave out.

    Raises:
        InputError: When a path does not exist.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"{shown(str(path))}: no such file or folder", hint="check the path")
    base = common_base(paths)
    selection = Selection()
    found: dict[str, Selected] = {}
    for path in paths:
        place = path.absolute()
        if place.is_dir():
            files: Iterator[Selected] = _Walk(place, base, settings, selection).files()
        else:
            files = _named(place, _name(place, base), selection.coverage)
        for file in files:
            if file.name not in found or file.named:
                found[file.name] = file
    selection.files = sorted(found.values(), key=lambda file: os.fsencode(file.name))
    return selection


def common_base(paths: list[Path]) -> Path:
    """The folder that names are relative to."""
    places = [path.absolute() for path in paths]
    folders = [place if place.is_dir() else place.parent for place in places]
    return Path(os.path.commonpath(folders))


def _named(place: Path, name: str, coverage: Coverage) -> Iterator[Selected]:
    if language(name) is None:
        coverage.skip("unknown language", name, "not scanned: its suffix is of no language here")
    else:
        yield Selected(str(place), name, named=True)


def generated(name: str, text: bytes) -> str | None:
    """Why a file counts as written by a program: "generated", "minified", or None if it does not.

    A long line alone says nothing: it may be data beside code.
    """
    if any(fnmatchcase(name.rpartition("/")[2], pattern) for pattern in _GENERATED_NAMES):
        return "generated"
    text = with_line_feeds(name, text)
    head = text[:_HEAD].split(b"\n", 5)[:5]
    if any(_GENERATED.search(line[:400]) for line in head):
        return "generated"
    if language(name) == "js" and len(text) > _LONG_LINE:
        for line in text.split(b"\n"):
            if len(line) > _LONG_LINE:
                code = sum(line.count(mark) for mark in (b"(", b"{", b";"))
                if code * _LEAST_CODE > len(line):
                    return "minified"
    return None


class _Walk:
    """One folder, walked in order."""

    def __init__(
        self, root: Path, base: Path, settings: AuditSettings, selection: Selection
    ) -> None:
        self.root, self.base = root, base
        self.prefix = "" if root == base else f"{_name(root, base)}/"
        self.settings, self.selection = settings, selection
        self.coverage = selection.coverage
        self.patience = Patience()
        self.include = Ignores.read(settings.include)
        self.exclude = Ignores.read(settings.exclude)
        self.submodules = _submodules(root)

    def files(self) -> Iterator[Selected]:
        """The files to scan."""
        ignores = list(_outer_ignores(self.root)) if self.settings.gitignore else []
        waiting = [(self.root, "", ignores)]
        while waiting:
            folder, inner, ignores = waiting.pop()
            entries = self._entries(folder)
            names = {entry.name for entry in entries}
            self._dependencies(folder, names)
            if self.settings.gitignore and ".gitignore" in names:
                with self.patience.spent():
                    patterns = Ignores.read(read_lines(folder / ".gitignore"), inner)
                ignores = [*ignores, ("", patterns)]
            for entry in entries:
                name = f"{inner}{entry.name}"
                if entry.is_symlink():
                    self._link(entry)  # what it points to inside is scanned where it lies
                elif entry.is_dir():
                    if not self._leaves_out(entry, name, ignores):
                        waiting.append((Path(entry), f"{name}/", ignores))
                elif language(entry.name) is not None:
                    yield from self._file(entry, name, ignores)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            return sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            message = f"cannot be listed: {error.strerror}"
            self.coverage.fail("unreadable", _name(folder, self.base), message)
            return []

    def _link(self, entry: os.DirEntry[str]) -> None:
        if language(entry.name) is None:
            return
        if not Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(self.root)):
            self.coverage.skip("link", self._name_of(entry), "not scanned: a link that leads out")

    def _leaves_out(
        self, entry: os.DirEntry[str], name: str, ignores: list[tuple[str, Ignores]]
    ) -> bool:
        if entry.name in _ALWAYS:
            return True
        reason = None
        if entry.name in _BUILT or entry.name.startswith("bazel-"):
            reason = "build folder"
        elif not self.settings.include_vendored and (
            entry.name in _VENDORED
            or name in self.submodules
            or os.path.isfile(os.path.join(entry.path, ".git"))  # noqa: PTH113, PTH118 - a hot loop
        ):
            reason = "vendored"
        else:
            reason = self._unwanted(name, ignores, folder=True)
        if reason is not None:
            self.coverage.skip(reason)
        return reason is not None

    def _file(
        self, entry: os.DirEntry[str], name: str, ignores: list[tuple[str, Ignores]]
    ) -> Iterator[Selected]:
        if self.settings.languages and language(name) not in self.settings.languages:
            self.coverage.skip("other language")
        elif (reason := self._unwanted(name, ignores, folder=False)) is not None:
            self.coverage.skip(reason)
        elif not _is_regular(entry):
            self.coverage.skip("special file", self._name_of(entry), "not a regular file")
        else:
            yield Selected(entry.path, self.prefix + name)

    def _unwanted(
        self, name: str, ignores: list[tuple[str, Ignores]], *, folder: bool
    ) -> str | None:
        """Why the user or git leaves a file or folder out, or None."""
        with self.patience.spent():
            included = folder or not self.settings.include or self.include.covers(name)
            if not included or self.exclude.match(name, folder=folder):
                return "excluded"
        for prefix, patterns in reversed(ignores):
            with self.patience.spent():
                verdict = patterns.match(prefix + name, folder=folder)
            if verdict is not None:
                return "ignored by git" if verdict else None
        return None

    def _dependencies(self, folder: Path, names: set[str]) -> None:
        if self.selection.has_dependency or not self.settings.require_helpers:
            return
        for name in names & _MANIFESTS | {n for n in names if _DEPENDENCIES.match(n)}:
            if name == "Cargo.lock":
                continue
            text = "\n".join(line.split("#")[0] for line in read_lines(folder / name))
            if _PACKAGES.search(text):
                self.selection.has_dependency = True

    def _name_of(self, entry: os.DirEntry[str]) -> str:
        return _name(Path(entry), self.base)


def _name(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file; one that is gone, or has too long a path, fails when read."""
    try:
        return stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return True


def _outer_ignores(root: Path) -> Iterator[tuple[str, Ignores]]:
    """The patterns above ``root`` in the same git checkout, outermost first.

    Each with what to put before a name so that it is relative to the file's folder.
    """
    top = next((f for f in (root, *root.parents) if (f / ".git").exists()), None)
    if top is None:
        return
    git = top / ".git"
    prefix = "" if top == root else f"{root.relative_to(top).as_posix()}/"
    yield prefix, Ignores.read(read_lines(git / "info" / "exclude"))
    folder = top
    for part in prefix.split("/")[:-1]:
        patterns = Ignores.read(read_lines(folder / ".gitignore"))
        yield f"{root.relative_to(folder).as_posix()}/", patterns
        folder = folder / part


def _submodules(root: Path) -> set[str]:
    found = set()
    for line in read_lines(root / ".gitmodules"):
        key, _, value = line.partition("=")
        if key.strip() == "path":
            found.add(value.strip().strip('"').rstrip("/"))
    return found
