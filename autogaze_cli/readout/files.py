"""Readouts as files: which format is written, which a file is found to be, the binary formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from autogaze_cli.errors import ConfigError, FormatError, InputError, OutputError
from autogaze_cli.readout.document import Readout, ReadoutHeader
from autogaze_cli.readout.text import csv_text, json_text, read_csv, read_json
from autogaze_cli.trace.arrays import HEADER, read_npz_arrays, read_safetensors_arrays
from autogaze_cli.trace.files import form_of
from autogaze_cli.trace.header import expect_keys


def write_readout(readout: Readout, path: str | os.PathLike[str], format: str) -> None:
    """Write a readout; equal readouts give equal bytes.

    Args:
        readout: What to write.
        path: The file, replaced if it exists.
        format: One of ``FORMATS``; the suffix of ``path`` does not matter.

    Raises:
        ConfigError: There is no such format.
        OutputError: The file cannot be written.
    """
    if format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    try:
        _WRITERS[format](readout, Path(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_readout(path: str | os.PathLike[str]) -> Readout:
    """Read a readout of any format, known by its content; runs no code that the file may hold.

    Raises:
        InputError: The file cannot be read.
        FormatError: The file is damaged, of another version, or not a readout; names the field.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
        return _READERS[form_of(start, "readout")](path)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", hint=error.hint) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _little(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays in the byte order and layout that files have."""
    return {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }


def _write_npz(readout: Readout, path: Path) -> None:
    # Not compressed: the bytes depend on no compressor's version. numpy gives members no time.
    members: dict[str, Any] = {HEADER: np.array(readout.header.dump()), **_little(readout.arrays)}
    with path.open("wb") as file:
        np.savez(file, **members)


def _read_npz(path: Path) -> Readout:
    return _readout(*read_npz_arrays(path))


def _readout(header: str, arrays: dict[str, NDArray[Any]]) -> Readout:
    parsed = ReadoutHeader.parse(header)
    expect_keys(arrays, list(parsed.columns), "the file")
    return Readout(header=parsed, arrays={name: arrays[name] for name in parsed.columns})


def _write_safetensors(readout: Readout, path: Path) -> None:
    path.write_bytes(save(_little(readout.arrays), {HEADER: readout.header.dump()}))


def _read_safetensors(path: Path) -> Readout:
    header, arrays = read_safetensors_arrays(path)
    if header is None:
        raise FormatError("has no header: not a readout")
    return _readout(header, arrays)


def _write_json(readout: Readout, path: Path) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(json_text(readout))


def _write_csv(readout: Readout, path: Path) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(csv_text(readout))


_WRITERS: dict[str, Callable[[Readout, Path], None]] = {
    "npz": _write_npz,
    "safetensors": _write_safetensors,
    "json": _write_json,
    "csv": _write_csv,
}
_READERS: dict[str, Callable[[Path], Readout]] = {
    "npz": _read_npz,
    "safetensors": _read_safetensors,
    "json": read_json,
    "csv": read_csv,
}
FORMATS = tuple(_WRITERS)
"""The names of the formats, which are their suffixes."""
