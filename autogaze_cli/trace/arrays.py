"""Arrays out of npz and safetensors files that may be damaged or hostile.

Nothing is unpickled or evaluated, and nothing is allocated before the sizes that a file declares
are compared with the bytes that it has.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from autogaze_cli.errors import FormatError
from autogaze_cli.reading import DOCUMENT_VARIABLE, brief, most_document_bytes, tensor_list
from autogaze_cli.trace.header import expect

HEADER = "header"
"""The name of the text that comes with the arrays."""

MOST_ARRAYS = 100
"""In a file."""

_STORED = 4  # times the limit for text: arrays are not larger in memory than in the file
_NPY = re.compile(
    rb"\{'descr': '([<|](?:f[248]|[iu][1248]|b1|U[0-9]{1,8}))', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,18}(?:, ?|(?=\))))*+)\),? ?\} *\n"
)
_NPY_STARTS = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
_TYPES = ("F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")
_NPZ_ERRORS = (
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
    UnicodeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz_arrays(path: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """The header and the arrays of an npz file.

    Raises:
        FormatError: It is damaged, holds something else than arrays, or too much.
    """
    most = max(_check_size(path), most_document_bytes())
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            expect(
                len(members) == len(archive.infolist()) <= MOST_ARRAYS,
                "list of members", list(members), "without repeats",
            )  # fmt: skip
            found = f"{HEADER}.npy" in members
            expect(found, "list of members", list(members), "one with header.npy")
            if sum(info.file_size for info in members.values()) > most:
                raise _too_large(sum(info.file_size for info in members.values()), most)
            arrays = {}
            for name, info in members.items():
                expect(name.endswith(".npy"), "list of members", list(members), "of arrays")
                key = name.removesuffix(".npy")
                arrays[key] = _npy(archive.read(info), key)
    except _NPZ_ERRORS as error:
        raise FormatError(f"not a whole npz file ({brief(error)})") from error
    header = arrays.pop(HEADER)
    expect(header.dtype.kind == "U" and header.ndim == 0, HEADER, header, "text")
    return _text(header), arrays


def _text(array: NDArray[Any]) -> str:
    try:
        return str(array)
    except (ValueError, UnicodeError) as error:  # no code point
        raise FormatError(f"{HEADER} is not text") from error


def _npy(data: bytes, name: str) -> NDArray[Any]:
    """An array in numpy's format, whose header is matched and never evaluated."""
    width = _NPY_STARTS.get(data[:8])
    if width is None:
        raise FormatError(f"{name} is not an array")
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    match = _NPY.fullmatch(data[8 + width : start])
    if match is None:
        raise FormatError(f"{name} is not an array of numbers or text in numpy's format")
    dtype = np.dtype(match[1].decode())
    shape = tuple(map(int, re.findall(rb"[0-9]+", match[3])))
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - start
    expect(wanted == there, f"shape of {name}", shape, f"that of {there} bytes of {dtype}")
    array = np.frombuffer(data, dtype, math.prod(shape), start).copy()  # which may be written
    return array.reshape(shape, order="F" if match[2] == b"True" else "C")


def read_safetensors_arrays(path: Path) -> tuple[str | None, dict[str, NDArray[Any]]]:
    """The header, None if there is none, and the arrays of a safetensors file.

    Overlapping tensors, bytes between or behind them, and sizes that do not fit are refused.

    Raises:
        FormatError: It is damaged, holds something else than arrays of numbers, or too much.
    """
    _check_size(path)
    entries = _entries(path)
    metadata = entries.pop("__metadata__", None) or {}
    for name, entry in entries.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else entry
        expect(dtype in _TYPES, f"dtype of {brief(name)}", dtype, f"one of {', '.join(_TYPES)}")
    try:
        with safe_open(path, framework="np") as file:
            return metadata.get(HEADER), {name: file.get_tensor(name) for name in entries}
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise FormatError(f"not a whole safetensors file ({brief(error)})") from error


def _entries(path: Path) -> dict[str, Any]:
    """What the beginning of a safetensors file declares."""
    try:
        with path.open("rb") as file:
            entries = tensor_list(file)
    except FormatError as error:
        raise FormatError(f"not a whole safetensors file ({brief(error)})") from error
    right = isinstance(entries, dict) and len(entries) <= MOST_ARRAYS
    expect(right, "the list of tensors", entries, f"an object of at most {MOST_ARRAYS}")
    metadata = entries.get("__metadata__") or {}
    right = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    expect(right, "__metadata__", metadata, "an object of text")
    return dict(entries)


def _check_size(path: Path) -> int:
    """The bytes of a file, which must be regular and not too large."""
    if not path.is_file():
        raise (
            OSError(None, "not a regular file")
            if path.exists()
            else FileNotFoundError(2, os.strerror(2))
        )
    size, most = path.stat().st_size, _STORED * most_document_bytes()
    if size > most:
        raise _too_large(size, most)
    return size


def _too_large(size: int, most: int) -> FormatError:
    return FormatError(f"has {size} bytes, more than {most}", hint=f"raise {DOCUMENT_VARIABLE}")
