"""Which files of a tree are scanned, and which packages own the decoding.

Source: audit spec B.4.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autogaze_cli.audit.ignores import Ignores
from autogaze_cli.audit.languages import language
from autogaze_cli.audit.nodes import words
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import InputError

PROVIDERS = frozenset(["burn_autogaze", "autogaze", "autogaze_cli"])
"""Packages that own the decoding, with underscores."""

_ALWAYS = frozenset([".git", ".hg", ".svn"])
_BUILT = words("target node_modules dist build out .venv venv __pycache__ .tox site-packages .next")
_VENDORED = words("vendor third_party third-party external extern deps _deps")
_GENERATED_NAMES = ("*.min.js", "*.pb.go", "*_pb2.py", "*.generated.*")
_GENERATED = re.compile(rb"Code generated .*DO NOT EDIT|@generated")
_MANIFESTS = words("Cargo.toml pyproject.toml setup.cfg package.json go.mod")
_DEPENDENCIES = re.compile(
    r"^(?:requirements.*\.txt|setup\.py|environment\.ya?ml|go\.mod|.*\.toml)$"
)
_LONGEST_LINE = 5000


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know about a file that is not a finding."""

    kind: str
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Selected:
    """A file to scan.

    Attributes:
        path: Where it is.
        name: Its path from the common base, with slashes.
        named: Whether the user named it.
        provider: Whether it belongs to a package that owns the decoding.
    """

    path: Path
    name: str
    named: bool = False
    provider: bool = False


@dataclass(slots=True)
class Selection:
    """What was found under the paths.

    Attributes:
        files: To scan, sorted by name.
        skipped: Source files passed over one by one; those in skipped folders are not counted.
        notices: What the user should know.
        has_dependency: Whether a manifest names a package with the readout helpers.
    """

    files: list[Selected] = field(default_factory=list)
    skipped: int = 0
    notices: list[Notice] = field(default_factory=list)
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
        if not path.exists():
            raise InputError(f"{path}: no such file or folder", hint="check the path")
    base = common_base(paths)
    selection = Selection()
    found: dict[str, Selected] = {}
    for path in paths:
        place = path.absolute()
        if place.is_dir():
            files: Iterator[Selected] = _Walk(place, base, settings, selection).files()
        else:
            files = iter([Selected(place, _name(place, base), named=True)])
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


def is_generated(name: str, data: bytes) -> bool:
    """Whether a file was written by a program: by its name, its first lines, or a long line."""
    if any(fnmatchcase(name.rpartition("/")[2], pattern) for pattern in _GENERATED_NAMES):
        return True
    if _GENERATED.search(b"\n".join(data.split(b"\n", 5)[:5])):
        return True
    if len(data) <= _LONGEST_LINE or name.endswith(".ipynb"):
        return False
    return any(len(line) > _LONGEST_LINE for line in data.split(b"\n"))


def upstream_copies(definitions: dict[str, set[str]]) -> set[str]:
    """Folders that hold a copy of the research package, by the classes their files define.

    Args:
        definitions: Which of ``AutoGaze`` and ``AutoGazeModel`` each file defines.

    Returns:
        Folders: the outermost named for the package, or else the one that holds the files.
    """
    by_folder: dict[str, set[str]] = {}
    for name, classes in definitions.items():
        by_folder.setdefault(name.rpartition("/")[0], set()).update(classes)
    copies = set()
    for folder, classes in by_folder.items():
        if {"AutoGaze", "AutoGazeModel"} <= classes:
            parts = folder.split("/")
            named = [i for i, part in enumerate(parts) if part.lower() in ("autogaze", "auto_gaze")]
            copies.add("/".join(parts[: named[0] + 1]) if named else folder)
    return copies


class _Walk:
    """One folder, walked in order."""

    def __init__(
        self, root: Path, base: Path, settings: AuditSettings, selection: Selection
    ) -> None:
        self.root, self.base = root, base
        self.settings, self.selection = settings, selection
        self.include = Ignores.read(settings.include)
        self.exclude = Ignores.read(settings.exclude)
        self.submodules = _submodules(root)

    def files(self) -> Iterator[Selected]:
        """The files to scan."""
        ignores = list(_outer_ignores(self.root)) if self.settings.gitignore else []
        yield from self._folder(self.root, "", ignores, provider=False)

    def _folder(
        self, folder: Path, inner: str, ignores: list[tuple[str, Ignores]], *, provider: bool
    ) -> Iterator[Selected]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._notice("unreadable", folder, f"cannot be listed: {error.strerror}")
            return
        names = {entry.name for entry in entries}
        if not provider and (package := self._package(folder, names)):
            provider = True
            scanned = self.settings.include_provider
            what = "scanned at level note" if scanned else "not scanned"
            self._notice("provider", folder, f"the package {package} owns the decoding: {what}")
            if not scanned:
                return
        self._dependencies(folder, names)
        if self.settings.gitignore and ".gitignore" in names:
            lines = _lines(folder / ".gitignore")
            ignores = [*ignores, ("", Ignores.read(lines, inner))]
        for entry in entries:
            if entry.is_symlink():
                continue  # what it points to inside the tree is scanned where it lies
            name = f"{inner}{entry.name}"
            if entry.is_dir():
                if not self._leaves_out(entry, name, ignores):
                    yield from self._folder(Path(entry), f"{name}/", ignores, provider=provider)
            elif language(entry.name) is not None and entry.is_file():
                yield from self._file(entry, name, ignores, provider=provider)

    def _leaves_out(
        self, entry: os.DirEntry[str], name: str, ignores: list[tuple[str, Ignores]]
    ) -> bool:
        if entry.name in _ALWAYS or entry.name in _BUILT or entry.name.startswith("bazel-"):
            return True
        if not self.settings.include_vendored and (
            entry.name in _VENDORED
            or name in self.submodules
            or os.path.isfile(os.path.join(entry.path, ".git"))  # noqa: PTH113, PTH118 - a hot loop
        ):
            return True
        if self.exclude.match(name, folder=True):
            return True
        return _ignored(name, ignores, folder=True)

    def _file(
        self,
        entry: os.DirEntry[str],
        name: str,
        ignores: list[tuple[str, Ignores]],
        *,
        provider: bool,
    ) -> Iterator[Selected]:
        chosen = not self.settings.languages or language(entry.name) in self.settings.languages
        if self.settings.include and not self.include.covers(name):
            chosen = False
        if not chosen or self.exclude.match(name, folder=False):
            self.selection.skipped += 1
            return
        if _ignored(name, ignores, folder=False):
            self.selection.skipped += 1
            return
        size = entry.stat().st_size
        if size > self.settings.max_file_size_bytes:
            self.selection.skipped += 1
            limit = self.settings.max_file_size_bytes
            message = f"not scanned: {size} bytes are more than --max-file-size {limit}"
            self._notice("too-large", Path(entry), message)
            return
        yield Selected(Path(entry), _name(Path(entry), self.base), provider=provider)

    def _package(self, folder: Path, names: set[str]) -> str | None:
        """The name of the provider package whose manifest lies in ``folder``."""
        for manifest in sorted(_MANIFESTS & names):
            name = package_name(manifest, "\n".join(_lines(folder / manifest)))
            if name is not None and name.replace("-", "_").lower() in PROVIDERS:
                return name
        return None

    def _dependencies(self, folder: Path, names: set[str]) -> None:
        if self.selection.has_dependency or not self.settings.require_helpers:
            return
        for name in names & _MANIFESTS | {n for n in names if _DEPENDENCIES.match(n)}:
            if name == "Cargo.lock":
                continue
            text = "\n".join(line.split("#")[0] for line in _lines(folder / name))
            if re.search(r"\b(?:burn[_-]autogaze|autogaze[_-]cli)\b", text):
                self.selection.has_dependency = True

    def _notice(self, kind: str, path: Path, message: str) -> None:
        self.selection.notices.append(Notice(kind, _name(path, self.base), message))


def package_name(manifest: str, text: str) -> str | None:
    """The name of the package that a manifest describes.

    >>> package_name("go.mod", "module example.org/x/autogaze")
    'autogaze'
    """
    if "autogaze" not in text.lower():
        return None
    try:
        if manifest.endswith(".toml"):
            table: Any = tomllib.loads(text)
            paths = (("package",), ("project",), ("tool", "poetry"))
            found = [_dig(table, *path, "name") for path in paths]
            return next((name for name in found if isinstance(name, str)), None)
        if manifest == "setup.cfg":
            parser = configparser.ConfigParser(interpolation=None, strict=False)
            parser.read_string(text)
            return parser.get("metadata", "name", fallback=None)
        if manifest == "package.json":
            name = _dig(json.loads(text), "name")
            return name.rpartition("/")[2] if isinstance(name, str) else None
    except (ValueError, configparser.Error):
        return None  # a broken manifest names no package
    module = re.search(r"^module\s+(\S+)", text, re.MULTILINE)
    parts = (
        [part for part in module[1].split("/") if not re.fullmatch(r"v\d+", part)] if module else []
    )
    return parts[-1] if parts else None


def _dig(table: Any, *keys: str) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _name(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _ignored(name: str, ignores: list[tuple[str, Ignores]], *, folder: bool) -> bool:
    for prefix, patterns in reversed(ignores):
        verdict = patterns.match(prefix + name, folder=folder)
        if verdict is not None:
            return verdict
    return False


def _outer_ignores(root: Path) -> Iterator[tuple[str, Ignores]]:
    """The patterns above ``root`` in the same git checkout, outermost first.

    Each with what to put before a name so that it is relative to the file's folder.
    """
    top = next((f for f in (root, *root.parents) if (f / ".git").exists()), None)
    if top is None:
        return
    git = top / ".git"
    prefix = "" if top == root else f"{root.relative_to(top).as_posix()}/"
    yield prefix, Ignores.read(_lines(git / "info" / "exclude"))
    folder = top
    for part in prefix.split("/")[:-1]:
        yield f"{root.relative_to(folder).as_posix()}/", Ignores.read(_lines(folder / ".gitignore"))
        folder = folder / part


def _submodules(root: Path) -> set[str]:
    paths = (re.match(r"\s*path\s*=\s*(.+?)\s*$", line) for line in _lines(root / ".gitmodules"))
    return {match[1].strip('"').rstrip("/") for match in paths if match}
