"""The manifest of an output folder, one JSON object per line and event; ``--resume`` reads it.

A line is appended before an input is started, and another after all of its outputs are in place,
so that a run that is killed at any time can be continued. ``docs/batch.md`` describes the format.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Literal, Self

from msgspec import Meta, Struct

from autogaze_cli.batch.inputs import Input, file_state, files_of
from autogaze_cli.batch.outputs import NO_ROOM, PREFIX, name_temporaries, remove_entry
from autogaze_cli.batch.result import MANIFEST
from autogaze_cli.errors import FormatError, InputError, OutputError
from autogaze_cli.reading import checked, parse_json
from autogaze_cli.version import __version__

FORMAT_VERSION = 1

_MOST_LINE = 1 << 24
SHORTEST_LINE = 40
"""Bytes; what is shorter is damaged, and millions of such lines would take minutes to parse."""


class Line(Struct):
    """What a line of a manifest must have; it may have more."""

    event: Literal["run", "started", "finished", "failed"]
    run: Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
    command: str
    input: str | None = None
    stem: str | None = None


class ManifestError(OutputError):
    """The manifest cannot be written; outputs are not concerned."""


class Manifest:
    """The manifest of an output folder, locked for one run, as a context manager.

    Args:
        folder: The output folder; created if missing.
        command: The command that runs.
        settings: All settings that its outputs depend on.
        model_sha256: SHA-256 of the model's weights; None without a model.
        write: Whether this is a run; otherwise the manifest is only read.

    Attributes:
        run: Eight hexadecimal digits that identify this run and its temporary files.

    Raises:
        OutputError: Another run is writing to the folder, or it cannot be written.
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
        self._fingerprint = {
            "settings_sha256": hashlib.sha256(described.encode()).hexdigest(),
            "model_sha256": model_sha256,
            "version": __version__,
            "format_version": FORMAT_VERSION,
        }
        self._runs = {self.run}
        self._by_output: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._started: dict[Input, object] = {}
        self._file = _opened(folder, write)
        try:
            for line in _read(self._file, folder / MANIFEST) if self._file else ():
                self._remember(line)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        if not write:
            self.__exit__(None, None, None)
            return
        self._append(
            {"event": "run", "command": command, "settings": settings, **self._fingerprint}
        )

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
            name_temporaries("")  # the next run takes this one's temporary files for stale
        self._file = None

    def finished(self, item: Input, outputs: Iterable[Path]) -> bool:
        """Whether an input is finished: input, settings and all ``outputs`` are unchanged.

        Only files that the command would write are read, whatever the manifest lists.
        """
        same = self._identify(item).items() | self._fingerprint.items()
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

    def foreign(self, item: Input, paths: Iterable[Path]) -> list[Path]:
        """Those of the paths that no earlier run of the command wrote or started to write."""
        known: set[str] = set()
        for line in self._lines(item):
            if line["event"] == "started" and isinstance(line.get("outputs"), list):
                known.update(map(str, line["outputs"]))
        return [path for path in paths if self._relative(path) not in known]

    def clean(self, folders: Iterable[Path]) -> None:
        """Remove from ``folders`` the temporary files of killed runs and this run's dead workers.

        Must not be called while workers are running.
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
        """Record that an input is started.

        Raises:
            ManifestError: That cannot be recorded: a later run would not know the outputs as ours.
        """
        self._started[item] = file_state(item.path)
        paths = [self._relative(path) for path in outputs]
        self._append({"event": "started", **self._identify(item), "outputs": paths})

    def finish(self, item: Input, outputs: Iterable[Path], seconds: float) -> None:
        """Record that all outputs of an input are in place.

        Raises:
            InputError: The input has changed since it was started.
            OutputError: An output has vanished.
            ManifestError: That cannot be recorded: ``--resume`` will process the input again.
        """
        before = self._started.pop(item, None)
        try:
            found = {**_identity(item.path), "modified": _modified(item.path), **self._fingerprint}
        except OSError:
            before = None
        if before is None or file_state(item.path) != before:
            raise InputError(
                f"{item.name}: was changed or moved while it was read",
                hint="once it is complete, give --resume to process it again",
            )
        try:
            files = [described(self.folder, path) for path in outputs]
        except OSError as error:
            raise OutputError(
                f"{error.filename}: was removed while the batch was running",
                hint="give --resume to process it again",
            ) from error
        line = {"event": "finished", **self._identify(item), "seconds": round(seconds, 3)}
        self._append({**line, **found, "outputs": files})

    def fail(self, item: Input, error: Exception) -> None:
        """Record that an input failed; a later run does not need to know, so nothing waits for it.

        Raises:
            ManifestError: That cannot be recorded.
        """
        line = {"event": "failed", **self._identify(item), "error": str(error)}
        self._append(line, wait=False)

    def _identify(self, item: Input) -> dict[str, Any]:
        return {"command": self.command, "input": item.name, "stem": str(item.stem)}

    def _lines(self, item: Input) -> list[dict[str, Any]]:
        return self._by_output.get(_key(self._identify(item)), [])

    def _remember(self, line: dict[str, Any]) -> None:
        self._runs.add(line["run"])
        # A failure has no files: outputs appear complete or not at all.
        if line["event"] in ("started", "finished"):
            self._by_output.setdefault(_key(line), []).append(line)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _append(self, line: dict[str, Any], *, wait: bool = True) -> None:
        """Write a line, and wait until it is on the disk."""
        if self._file is None:
            return  # opened for reading only
        line = {"event": line["event"], "run": self.run, **line}
        text = json.dumps(line, ensure_ascii=True, default=str)
        data = text.encode() + b"\n"
        path = self.folder / MANIFEST
        try:
            status = os.fstat(self._file.fileno())
            if not os.path.samestat(status, path.stat()):
                raise FileNotFoundError(errno.ENOENT, "it was replaced")
            try:
                if self._file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if wait:
                    os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(status.st_size)  # no line may continue a partial one
                raise
        except OSError as error:
            what = "free some space" if error.errno in NO_ROOM else "check the folder"
            raise ManifestError(
                f"{path}: cannot be written: {error.strerror}",
                hint=f"{what}, then continue with --resume",
            ) from error


def _opened(folder: Path, write: bool) -> FileIO | None:
    """The manifest of a folder, locked if it is to be written; None if there is none to read."""
    path = folder / MANIFEST
    if not write:
        return FileIO(path) if path.is_file() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = FileIO(path, "a+", opener=_unlinked)  # a failed write is not retried on close
    except OSError as error:
        if path.is_symlink():
            raise OutputError(
                f"{path}: is a link, which is not written through", hint="remove it"
            ) from error
        wrong = "cannot be written" if folder.is_dir() else f"no folder can be made of {folder}"
        raise OutputError(
            f"{path}: {wrong}: {error.strerror}", hint="choose another --out-dir"
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
            f"{folder}: another run is writing to it", hint="wait for it, or stop it"
        ) from error
    return file


def _unlinked(path: str, flags: int) -> int:
    """Open a regular file that is no link; never waits for a pipe."""
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(None, "not a regular file")
    return handle


def whole_lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a manifest but for a partial last one, from where the file stands.

    Raises:
        OutputError: One is longer than this program writes any.
    """
    while line := file.readline(_MOST_LINE):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == _MOST_LINE:
            raise OutputError(
                f"{path}: is not a manifest: a line has over {_MOST_LINE} bytes",
                hint="move it, or choose another --out-dir",
            )


def _read(file: FileIO, path: Path) -> list[dict[str, Any]]:
    """The complete lines; the partial last line of a killed run is truncated."""
    file.seek(0)
    whole, lines = 0, []
    with open(file.fileno(), "rb", closefd=False) as buffered:
        for line in whole_lines(buffered, path):
            whole += len(line)
            if len(line) < SHORTEST_LINE:
                continue
            with suppress(FormatError):  # damaged lines are ignored
                found = parse_json(line, "the line")
                checked(found, Line, "the line")
                lines.append(found)
    if file.writable() and whole < os.fstat(file.fileno()).st_size:
        file.truncate(whole)
    return lines


def _key(line: Mapping[str, Any]) -> tuple[str, str]:
    """What output names depend on; the same input may be named differently in the next run."""
    return str(line.get("command")), str(line.get("stem"))


def described(folder: Path, path: Path) -> dict[str, Any]:
    """An output's path relative to ``folder``, size and SHA-256; a folder counts all its files."""
    size, digest = _digest(sorted(path.iterdir())) if path.is_dir() else _digest([path])
    return {"path": os.path.relpath(path, folder), "bytes": size, "sha256": digest}


def _identity(path: str) -> dict[str, Any]:
    """An input's size in bytes and SHA-256; an image pattern counts all its images.

    Raises:
        OSError: The input does not exist or cannot be read.
    """
    size, digest = _digest(files_of(path))
    return {"bytes": size, "sha256": digest}


def _modified(path: str) -> str:
    """When the newest file of an input was written, for information only."""
    newest = max((file.stat().st_mtime for file in files_of(path)), default=0)
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")


def _digest(files: list[Path]) -> tuple[int, str]:
    """Total size and SHA-256 of a file, or of several files and their names."""
    size, names = 0, hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256")
        size += file.stat().st_size
        if len(files) == 1:
            return size, digest.hexdigest()
        names.update(file.name.encode(errors="surrogateescape") + b"\0" + digest.digest())
    return size, names.hexdigest()
