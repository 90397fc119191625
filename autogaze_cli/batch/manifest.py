"""What is done in a folder, a line of JSON an event: what ``--resume`` trusts.

A line is appended before an input is begun, and one after all of its outputs are in place, so that
a run that is killed at any moment can be gone on with. The format is in ``docs/batch.md``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autogaze_cli.batch.inputs import Input, file_state, files_of
from autogaze_cli.batch.outputs import PREFIX, remove_entry
from autogaze_cli.batch.result import MANIFEST
from autogaze_cli.errors import InputError, OutputError
from autogaze_cli.version import __version__

FORMAT_VERSION = 1

_RUN = re.compile(r"[0-9a-f]{8}")


class Manifest:
    """The manifest of an output folder, locked for one run, as a context manager.

    Args:
        folder: The output folder; made when missing.
        command: The command that runs.
        settings: All settings that its outputs depend on.
        model_sha256: Of the model's weights; None without a model.
        write: Whether this is a run; if not, the manifest is read and nothing is touched.

    Attributes:
        run: Eight hexadecimal digits that name this run, and its temporary files.

    Raises:
        OutputError: Another run is at work in the folder, or it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        settings: Mapping[str, Any],
        model_sha256: str | None,
        *,
        write: bool = True,
    ) -> None:
        self.folder, self.command, self.run = folder, command, secrets.token_hex(4)
        described = json.dumps({"command": command, **settings}, sort_keys=True, default=str)
        self._same = {
            "settings_sha256": hashlib.sha256(described.encode()).hexdigest(),
            "model_sha256": model_sha256,
            "version": __version__,
            "format_version": FORMAT_VERSION,
        }
        self._runs: set[str] = set()
        self._of: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._begun: dict[Input, object] = {}
        self._file = _opened(folder, write)
        for line in _read(self._file) if self._file else ():
            self._note(line)
        if not write:
            self.__exit__(None, None, None)
            return
        self._append({"event": "run", "command": command, "settings": settings, **self._same})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def finished(self, item: Input, outputs: Iterable[Path]) -> bool:
        """Whether an input is done: itself, its settings and all ``outputs`` are as they were.

        Only files that the command would write are looked at, whatever the manifest names.
        """
        same = self._about(item).items() | self._same.items()
        lines = [
            line
            for line in self._lines(item)
            if line.get("event") == "finished" and same <= line.items()
        ]
        if not lines:
            return False
        try:
            found = _identity(item.path).items()
            made = [described(self.folder, path) for path in outputs]
        except OSError:
            return False
        return any(found <= line.items() and line.get("outputs") == made for line in lines)

    def strange(self, item: Input, paths: Iterable[Path]) -> list[Path]:
        """Those of the paths that no earlier run of the command made, or began to make."""
        known: set[str] = set()
        for line in self._lines(item):
            if line["event"] == "started" and isinstance(line.get("outputs"), list):
                known.update(map(str, line["outputs"]))
        return [path for path in paths if self._relative(path) not in known]

    def clean(self, folders: Iterable[Path]) -> None:
        """Remove from ``folders`` what killed runs, and killed workers of this one, left behind.

        To be called while no worker is at work.
        """
        if self._file is None:
            return
        prefixes = tuple(f"{PREFIX}{run}-" for run in self._runs)
        for folder in {*folders, self.folder}:
            with suppress(OSError):  # no folder, or closed to us: nothing was left in it
                for entry in list(folder.iterdir()):
                    if entry.name.startswith(prefixes):
                        remove_entry(entry)

    def start(self, item: Input, outputs: Iterable[Path]) -> None:
        """Note that an input is begun."""
        self._begun[item] = file_state(item.path)
        paths = [self._relative(path) for path in outputs]
        self._append({"event": "started", **self._about(item), "outputs": paths})

    def finish(self, item: Input, outputs: Iterable[Path], seconds: float) -> None:
        """Note that all outputs of an input are in place.

        Raises:
            InputError: The input is not what it was when it was begun.
        """
        begun = self._begun.pop(item, None)
        try:
            found = {**_identity(item.path), "modified": _modified(item.path), **self._same}
        except OSError:
            begun = None
        if begun is None or file_state(item.path) != begun:
            raise InputError(
                f"{item.name}: was changed or moved while it was read",
                hint="when it is whole, give --resume to do it again",
            )
        files = [described(self.folder, path) for path in outputs]
        line = {"event": "finished", **self._about(item), "seconds": round(seconds, 3)}
        self._append({**line, **found, "outputs": files})

    def fail(self, item: Input, error: Exception) -> None:
        """Note that an input failed."""
        self._append({"event": "failed", **self._about(item), "error": str(error)})

    def _about(self, item: Input) -> dict[str, Any]:
        return {"command": self.command, "input": item.name, "stem": str(item.stem)}

    def _lines(self, item: Input) -> list[dict[str, Any]]:
        return self._of.get(_key(self._about(item)), [])

    def _note(self, line: dict[str, Any]) -> None:
        if _RUN.fullmatch(str(line.get("run"))):
            self._runs.add(line["run"])
        # A failure says nothing of files: outputs appear whole or not at all.
        if "input" in line and line["event"] != "failed":
            self._of.setdefault(_key(line), []).append(line)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return  # it is only read
        line = {"event": line["event"], "run": self.run, **line}
        text = json.dumps(line, ensure_ascii=True, default=str)
        self._note(json.loads(text))
        data = text.encode() + b"\n"
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.folder / MANIFEST}: cannot be written: {error.strerror}",
                hint="make room, then go on with --resume",
            ) from error


def _opened(folder: Path, write: bool) -> FileIO | None:
    """The manifest of a folder, locked where it is to be written; None where there is none."""
    path = folder / MANIFEST
    if not write:
        return FileIO(path) if path.is_file() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = FileIO(path, "a+")  # unbuffered: a line that does not fit is not tried again
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}", hint="choose another --out-dir"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if not isinstance(error, BlockingIOError):
            raise OutputError(
                f"{path}: cannot be locked: {error.strerror}",
                hint="choose an --out-dir on a file system with locks",
            ) from error
        raise OutputError(
            f"{folder}: another run is writing there", hint="wait for it, or stop it"
        ) from error
    return file


def _read(file: FileIO) -> list[dict[str, Any]]:
    """The lines that are whole; what a killed run wrote of one more is cut off."""
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data) and file.writable():
        file.truncate(whole)
    lines = []
    for line in data[:whole].splitlines():
        with suppress(ValueError, RecursionError):  # a damaged line is one that is not there
            found = json.loads(line)
            if isinstance(found, dict) and "event" in found:
                lines.append(found)
    return lines


def _key(line: Mapping[str, Any]) -> tuple[str, str]:
    """What the outputs' names depend on; an input may be named from another folder next time."""
    return str(line.get("command")), str(line.get("stem"))


def described(folder: Path, path: Path) -> dict[str, Any]:
    """An output: its path below ``folder``, its size and SHA-256; of a folder, of all its files."""
    size, digest = _digest(sorted(path.iterdir())) if path.is_dir() else _digest([path])
    return {"path": os.path.relpath(path, folder), "bytes": size, "sha256": digest}


def _identity(path: str) -> dict[str, Any]:
    """An input's size in bytes and SHA-256; of an image pattern, of all its images.

    Raises:
        OSError: It is not there.
    """
    size, digest = _digest(files_of(path))
    return {"bytes": size, "sha256": digest}


def _modified(path: str) -> str:
    """When the newest file of an input was written, for the reader: nothing depends on it."""
    newest = max(file.stat().st_mtime for file in files_of(path))
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")


def _digest(files: list[Path]) -> tuple[int, str]:
    """Size and SHA-256 of a file, or of several with their names."""
    size, names = 0, hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256")
        size += file.stat().st_size
        if len(files) == 1:
            return size, digest.hexdigest()
        names.update(file.name.encode(errors="surrogateescape") + b"\0" + digest.digest())
    return size, names.hexdigest()
