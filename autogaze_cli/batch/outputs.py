"""The files of one job: they appear whole when it is done, or not at all."""

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
"""The longest name of a file, on every file system in use."""

PREFIX = ".autogaze-"
"""How the names of temporaries start; a killed process may leave some, which can be deleted."""

_run = ""


def name_temporaries(run: str) -> None:
    """Put ``run`` into the names of this process's temporaries, so that the run can be told."""
    global _run  # a process takes part in one run
    _run = run


def _temporary(path: Path) -> Path:
    """A hidden name beside ``path`` that tells the run, the machine and the process."""
    run = _run or "0" * 8
    suffix = path.suffix if len(path.suffix) < 16 else ""
    name = f"{PREFIX}{run}-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{suffix}"
    return path.parent / name


def _machine() -> str:
    """The machine and the namespace in which this process has its number."""
    name = socket.gethostname()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # no path, but an identifier
    return hashlib.sha256(name.encode()).hexdigest()[:8]


_NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{8}-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{16}(\..*)?")


def remove_stale(folders: Iterable[Path]) -> None:
    """Remove the temporaries of processes of this machine that have ended."""
    for folder in folders:
        with suppress(OSError):
            for entry in list(folder.iterdir()):
                match = _NAME.fullmatch(entry.name)
                if match and match[1] == _machine() and not _is_running(int(match[2])):
                    remove_entry(entry)


def remove_entry(entry: Path) -> None:
    """Remove a temporary: a file, or a folder of files."""
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
"""What a system says when data cannot be written, without a name of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file that is not what the job would write.

    Attributes:
        path: The final path.
        kind: ``missing``: there is no such file; ``differs``: its bytes do; ``extra``: a file in a
            folder of images that the job would not write.
        size_bytes: Of the file that is there, None if there is none.
        new_size_bytes: Of the file the job would write, None if it would not.
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

    Each file is written under a hidden name beside its place. A clean exit renames all into place,
    one after the other; an exception (Ctrl-C is one) removes them, and the folders made for them.
    A signal that ends the process at once, such as SIGTERM unless it is turned into an exception,
    or SIGKILL, leaves the hidden files; nothing under a final name is ever half written.

    Args:
        overwrite: Replace what is there already.
        check: Compare only (see ``compare``): final files may exist, and are never touched.

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
            elif isinstance(error, OSError) and error.errno in NO_ROOM and not error.filename:
                names = ", ".join(map(str, self._temporaries))
                raise OutputError(
                    f"{names}: cannot be written: {error.strerror}", hint="free some space"
                ) from error
        finally:
            self._discard()

    def add(self, path: str | os.PathLike[str]) -> Path:
        """Announce a file; makes the folders it needs.

        Args:
            path: The final path.

        Returns:
            Where to write it: a path in the same folder, with the same suffix, where nothing is.

        Raises:
            OutputError: There is something already and it may not be replaced, or the folder cannot
                be written.
        """
        return self._add(Path(path), folder=False)

    def add_folder(self, path: str | os.PathLike[str]) -> Path:
        """Announce a folder of PNG images, as ``add``; the folder to write them to exists.

        One that is there already is replaced as a whole, and only if it holds nothing else.
        """
        return self._add(Path(path), folder=True)

    def compare(self) -> list[Difference]:
        """How the final files differ from what was written, in the order of ``add``."""
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
            self._temporaries[path] = temporary  # before it is there: an interrupt may come between
            temporary.mkdir()  # finds out now, not in an hour, whether the folder can be written
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
            raise OutputError(f"{path}: exists already", hint="give --overwrite to replace it")

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
        """Rename all into place, having seen that all are there and all places still free."""
        for path, temporary in self._temporaries.items():
            if not temporary.exists():
                raise OutputError(f"{path}: was announced and never written")
            self._refuse_existing(path, folder=temporary.is_dir())
        for path, temporary in list(self._temporaries.items()):
            try:
                _rename(temporary, path)
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def _name_finals(self, error: AutogazeError) -> None:
        """Let a message speak of the files that were asked for, not of hidden ones."""
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
                    temporary.unlink(missing_ok=True)
        for folder in reversed(self._made_folders):
            with suppress(OSError):  # it holds what was asked for, or something of somebody else's
                folder.rmdir()
        self._temporaries.clear()
        self._made_folders.clear()


def _not_writable(path: Path, error: OSError) -> OutputError:
    hint = "choose another --out-dir"
    if error.errno == errno.ENAMETOOLONG:
        hint = "rename the input: its outputs are named after it"
    return OutputError(f"{path}: cannot be written: {error.strerror}", hint=hint)


def check_name(path: Path) -> None:
    """Refuse a path whose name is longer than file systems allow.

    Raises:
        OutputError: It is.
    """
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise _not_writable(path, OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))


def _rename(temporary: Path, path: Path) -> None:
    if not (temporary.is_dir() and path.is_dir()):
        temporary.replace(path)
        return
    # A folder with files cannot be replaced in one step: the old one steps aside first.
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
    """The names below ``path``; the empty name stands for ``path`` itself if it is a file."""
    if path.is_dir():
        return {entry.name for entry in path.iterdir()}
    return {""} if path.exists() else set()
