"""Traces as files: choosing the format to write, and detecting that of a file."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path

from autogaze_cli.errors import ConfigError, FormatError, InputError
from autogaze_cli.trace.binary import (
    NpzWriter,
    SafetensorsWriter,
    read_npz,
    read_safetensors,
)
from autogaze_cli.trace.data import Trace
from autogaze_cli.trace.header import TraceHeader
from autogaze_cli.trace.store import check_own
from autogaze_cli.trace.text import CsvWriter, JsonWriter, read_csv, read_json
from autogaze_cli.trace.writer import TraceWriter

_WRITERS: dict[str, type[TraceWriter]] = {
    "json": JsonWriter,
    "npz": NpzWriter,
    "safetensors": SafetensorsWriter,
    "csv": CsvWriter,
}
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_READERS: dict[str, Callable[[Path], Trace]] = {
    "json": read_json,
    "npz": read_npz,
    "csv": read_csv,
}
FORMATS = tuple(_WRITERS)
"""The names of the formats, which are their suffixes."""


def open_trace_writer(
    path: str | os.PathLike[str], header: TraceHeader, format: str
) -> TraceWriter:
    """Open a file to which a trace is written frame by frame.

    Args:
        path: The file, replaced if it exists.
        header: The metadata.
        format: One of ``FORMATS``; the suffix of ``path`` does not matter.

    Raises:
        ConfigError: There is no such format.
        OutputError: The file cannot be written.
    """
    if format not in _WRITERS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    return _WRITERS[format](Path(path), header)


def write_trace(trace: Trace, path: str | os.PathLike[str], format: str) -> None:
    """Write a whole trace; see ``open_trace_writer``."""
    with open_trace_writer(path, trace.header, format) as writer:
        writer.append(trace)


def read_trace(path: str | os.PathLike[str], *, clip: int = 0, maps: bool = False) -> Trace:
    """Read a trace of any format, known by its content; runs no code that the file may hold.

    Args:
        path: The file, this program's own or a trace store of the reference.
        clip: Which clip of a trace store; a trace of this program is one clip.
        maps: Whether the visibility maps of a trace store are read instead of its points.

    Raises:
        InputError: The file cannot be read.
        FormatError: The file is damaged, of another version, or not a trace; names the field.
        ConfigError: There is no such clip, or a trace of this program, which has no maps.
    """
    path = Path(path)
    try:
        kind = _detect(path)
        if kind == "safetensors":
            return read_safetensors(path, clip, maps)
        check_own(path, clip, maps)
        return _READERS[kind](path)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", hint=error.hint) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def is_trace(path: str | os.PathLike[str]) -> bool:
    """Whether the first bytes of a file are those of a trace; no video starts so."""
    try:
        return Path(path).is_file() and bool(_detect(Path(path)))
    except (FormatError, OSError, ValueError):  # the latter: no name that a file can have
        return False


def _detect(path: Path) -> str:
    with path.open("rb") as file:
        return form_of(file.read(64), "trace")


def form_of(start: bytes, what: str) -> str:
    """Which of ``FORMATS`` a file is in, traces and readouts alike.

    Args:
        start: Its first bytes, nine or more where it has them.
        what: What the file should be, for the message.

    Raises:
        FormatError: It is none of them.
    """
    if start.startswith(b"PK"):
        return "npz"
    if start[8:9] == b"{" and start[4:8] == bytes(4):  # a 64-bit length, then JSON
        return "safetensors"
    if start.lstrip().startswith(b"{"):
        return "json"
    if start.startswith(b"# {"):
        return "csv"
    if start.startswith(_MARKS):
        raise FormatError(
            f"begins with a byte order mark, which no {what} has", hint="save it as UTF-8 without"
        )
    raise FormatError(f"is not a {what} ({', '.join(FORMATS)})" if start else "is empty")
