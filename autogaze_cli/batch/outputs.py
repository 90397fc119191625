"""The output files of one job: complete once the job is done, or absent."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from autogaze_cli.errors import AutogazeError, OutputError

MAX_NAME_BYTES = 255
"""The maximum length of a file name on common file systems."""

PREFIX = ".autogaze-"
"""Prefix of temporary names; files that a killed process leaves behind can be deleted."""

_run = ""


def name_temporaries(run: str) -> None:
    """Put ``run`` into the names of this process's temporary files, to identify the run."""
    global _run  # a process takes part in one run
    _run = run


def _temporary(path: Path) -> Path:
    """A hidden name beside ``path`` that identifies the run, the machine and the process."""
    run = _run or "0" * 8
    suffix = path.suffix if len(path.suffix) < 16 else ""
    name = f"{PREFIX}{run}-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{suffix}"
    return path.parent / name


def _machine() -> str:
    """A hash of the machine's name and the PID namespace."""
    name = socket.gethostname()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # an identifier, not a path
    return hashlib.sha256(name.encode()).hexdigest()[:8]


_NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{8}-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{16}(\..*)?")


def remove_stale(folders: Iterable[Path]) -> None:
    """Remove the temporary files of processes of this machine that have ended."""
    for folder in folders:
        with suppress(OSError):
            for entry in list(folder.iterdir()):
                match = _NAME.fullmatch(entry.name)
                if match and match[1] == _machine() and not _is_running(int(match[2])):
                    remove_entry(entry)


def remove_entry(entry: Path) -> None:
    """Remove a file, or a folder of files."""
    with suppress(FileNotFoundError):
        if not entry.is_dir() or entry.is_symlink():
            entry.unlink()
            return
        for inner in entry.iterdir():
            inner.unlink(missing_ok=True)
        entry.rmdir()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of failed writes, which the system reports without a file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file that differs from what the job would write.

    Attributes:
        path: The final path.
        kind: ``missing``: there is no such file; ``differs``: its bytes differ; ``extra``: a file
            in a folder of images that the job would not write.
        size_bytes: Size of the existing file; None if there is none.
        new_size_bytes: Size of the file that the job would write; None if it would write none.
    """

    path: Path
    kind: Literal["missing", "differs", "extra"]
    size_bytes: int | None
    new_size_bytes: int | None

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"{self.path}: missing ({self.new_size_bytes} bytes)"
        if self.kind == "extra":
            return f"{self.path}: extra ({self.size_bytes} bytes)"
        return f"{self.path}: differs ({self.size_bytes} bytes, now {self.new_size_bytes})"


class Outputs:
    """A transaction over the files of one job, as a context manager.

    Each file is written under a hidden name beside its final path. A clean exit renames all files,
    one after another; an exception (such as Ctrl-C) removes them, and the folders created for them.
    A signal that ends the process at once (SIGKILL, or SIGTERM unless it is turned into an
    exception) leaves the hidden files; a file under a final name is never partially written.

    Args:
        overwrite: Replace existing files.
        check: Compare only (see ``compare``): final files may exist, and are never changed.

    Example::

        with Outputs(overwrite=True) as outputs:
            write_trace(trace, outputs.add("out/birds.trace.json"), "json")
    """

    def __init__(self, *, overwrite: bool = False, check: bool = False) -> None:
        self._overwrite = overwrite
        self._check = check
        self._temporaries: dict[Path, Path] = {}  # by final path
        self._made_folders: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self._check:
                self._publish()
            elif isinstance(error, AutogazeError):
                self._name_finals(error)
            elif isinstance(error, OSError) and (names := self._concerned(error)):
                raise _not_writable(", ".join(map(str, names)), error) from error
        finally:
            self._discard()

    def add(self, path: str | os.PathLike[str]) -> Path:
        """Register a file; creates missing folders.

        Args:
            path: The final path.

        Returns:
            The path to write to: unused, in the same folder, with the same suffix.

        Raises:
            OutputError: The path exists and may not be replaced, or the folder cannot be written.
        """
        return self._add(Path(path), folder=False)

    def add_folder(self, path: str | os.PathLike[str]) -> Path:
        """Register a folder of PNG images, as ``add``; the returned folder exists.

        An existing folder is replaced as a whole, and only if it contains nothing but PNG images.
        """
        return self._add(Path(path), folder=True)

    def compare(self) -> list[Difference]:
        """Differences between the final files and what was written, in the order of ``add``."""
        return [
            difference
            for path, temporary in self._temporaries.items()
            for difference in _differences(path, temporary)
        ]

    def _add(self, path: Path, *, folder: bool) -> Path:
        if path in self._temporaries:
            raise OutputError(f"{path}: would be written twice", hint="give different names")
        temporary = _temporary(path)
        try:
            self._make_folders(path.parent)
            self._refuse_existing(path, folder=folder)
            self._temporaries[path] = (
                temporary  # first, in case of an interrupt before the next line
            )
            temporary.mkdir()  # checks now, not in an hour, that the folder can be written
            if not folder:
                temporary.rmdir()
        except OSError as error:
            self._temporaries.pop(path, None)
            raise _not_writable(path, error) from error
        return temporary

    def _refuse_existing(self, path: Path, *, folder: bool) -> None:
        try:
            path.lstat()
        except FileNotFoundError:
            return
        if folder:
            wrong = None if _holds_only_images(path) else "is not a folder of PNG images only"
        elif path.is_dir():
            wrong = "is a folder"
        else:  # a device must not be replaced by a file
            wrong = None if path.is_file() else "is not a regular file"
        if wrong:
            raise OutputError(f"{path}: {wrong}", hint="move it, or choose another --out-dir")
        if not (self._overwrite or self._check):
            raise OutputError(f"{path}: already exists", hint="give --overwrite to replace it")

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.exists() and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            with suppress(FileExistsError):  # another process made it meanwhile
                folder.mkdir()
                self._made_folders.append(folder)

    def _publish(self) -> None:
        """Rename all files to their final paths, after checking that this is possible for all."""
        for path, temporary in self._temporaries.items():
            if not path.parent.is_dir():
                raise OutputError(
                    f"{path}: its folder was removed while it was written", hint="run again"
                )
            if not temporary.exists():
                raise OutputError(f"{path}: was registered but never written")
            self._refuse_existing(path, folder=temporary.is_dir())
        for path, temporary in list(self._temporaries.items()):
            try:
                _rename(temporary, path)
            except OSError as error:
                raise _not_writable(path, error) from error

    def _concerned(self, error: OSError) -> list[Path]:
        """The final paths of the files that a failed write may concern."""
        if not error.filename:
            return list(self._temporaries) if error.errno in NO_ROOM else []
        failed = Path(os.fsdecode(error.filename))
        return [
            path
            for path, temporary in self._temporaries.items()
            if failed.is_relative_to(temporary)
        ]

    def _name_finals(self, error: AutogazeError) -> None:
        """Replace temporary paths in an error message by the final ones."""
        message = str(error)
        for path, temporary in self._temporaries.items():
            message = message.replace(str(temporary), str(path))
        error.args = (message,)

    def _discard(self) -> None:
        for temporary in self._temporaries.values():
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                with suppress(OSError):
                    temporary.unlink()
        for folder in reversed(self._made_folders):
            with suppress(OSError):  # not empty: it contains outputs, or files of another process
                folder.rmdir()
        self._temporaries.clear()
        self._made_folders.clear()


def _not_writable(path: Path | str, error: OSError) -> OutputError:
    hint = "choose another --out-dir"
    if error.errno in NO_ROOM:
        hint = "free some space, or choose another --out-dir"
    if error.errno == errno.ENAMETOOLONG:
        hint = "rename the input: its outputs are named after it"
    return OutputError(f"{path}: cannot be written: {error.strerror}", hint=hint)


def check_name(path: Path) -> None:
    """Refuse a path whose name is longer than file systems allow.

    Raises:
        OutputError: The name is too long.
    """
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise _not_writable(path, OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))


def check_place(path: Path, folder: Path) -> None:
    """Refuse a path that leads out of ``folder``: by ``..``, or by a link of a folder in it.

    Raises:
        OutputError: It does.
    """
    place = os.path.realpath(path.parent)
    if not Path(place).is_relative_to(os.path.realpath(folder)):
        raise OutputError(
            f"{path}: would be written outside of {folder}, into {place}",
            hint="give that folder as --out-dir",
        )


def _rename(temporary: Path, path: Path) -> None:
    if not (temporary.is_dir() and path.is_dir()):
        temporary.replace(path)
        return
    # A folder with files cannot be replaced in one step: the old one is moved away first.
    old = _temporary(path)
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _holds_only_images(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(
        entry.suffix == ".png" and entry.is_file() and not entry.is_symlink()
        for entry in folder.iterdir()
    )


def _differences(path: Path, temporary: Path) -> list[Difference]:
    new = _files(temporary)
    found = _files(path)
    differences = []
    for name in sorted(new | found):
        old_file, new_file = path / name, temporary / name
        size = old_file.stat().st_size if name in found else None
        new_size = new_file.stat().st_size if name in new else None
        kind: Literal["missing", "differs", "extra"]
        if size is None:
            kind = "missing"
        elif new_size is None:
            kind = "extra"
        elif filecmp.cmp(old_file, new_file, shallow=False):
            continue
        else:
            kind = "differs"
        differences.append(
            Difference(path=old_file, kind=kind, size_bytes=size, new_size_bytes=new_size)
        )
    return differences


def _files(path: Path) -> set[str]:
    """The names below ``path``; for a file, the empty name, which stands for ``path`` itself."""
    if path.is_dir():
        return {entry.name for entry in path.iterdir()}
    return {""} if path.exists() else set()
