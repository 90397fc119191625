"""The binary forms of a trace: npz and safetensors, an array a column."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autogaze_cli.trace.arrays import HEADER, read_npz_arrays, read_safetensors_arrays
from autogaze_cli.trace.data import TRACE_COLUMNS, Trace, column_shape
from autogaze_cli.trace.header import dump_header, expect_keys, parse_header
from autogaze_cli.trace.store import check_own, maps_of_store, trace_of_store
from autogaze_cli.trace.writer import TraceWriter

_SAFETENSORS_DTYPES = {np.int64: "I64", np.int32: "I32", np.float32: "F32"}
_LITTLE = {name: np.dtype(dtype).newbyteorder("<") for name, dtype in TRACE_COLUMNS.items()}


class _ColumnWriter(TraceWriter):
    """Spools every column to an unnamed file next to ``path``, and joins them at the end."""

    def _open(self) -> None:
        with ExitStack() as stack:
            # Next to the output, where there is space for them: /tmp is often memory.
            self._spools: dict[str, IO[bytes]] = {
                name: stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))
                for name in TRACE_COLUMNS
            }
            self._file = stack.enter_context(self.path.open("wb"))
            self._files = stack.pop_all()
        self._frames = 0
        self._fixations = 0
        self._spool("offsets", np.zeros(1, np.int64))

    def _append(self, part: Trace) -> None:
        for name, column in part.columns().items():
            self._spool(name, column[1:] + self._fixations if name == "offsets" else column)
        self._frames += len(part)
        self._fixations += len(part.fixations)

    def _spool(self, name: str, column: NDArray[Any]) -> None:
        self._spools[name].write(column.astype(_LITTLE[name]).tobytes())

    def _shape(self, name: str) -> tuple[int, ...]:
        tiles = self.header.tile_count
        return column_shape(name, frames=self._frames, fixations=self._fixations, tiles=tiles)

    def _size_bytes(self, name: str) -> int:
        return int(np.prod(self._shape(name))) * _LITTLE[name].itemsize

    def _copy(self, name: str, to: IO[bytes]) -> None:
        self._spools[name].seek(0)
        shutil.copyfileobj(self._spools[name], to, 1 << 20)

    def _release(self) -> None:
        self._files.close()


class NpzWriter(_ColumnWriter):
    """Writes the npz form, not compressed: the bytes depend on no compressor's version."""

    def _finish(self) -> None:
        with zipfile.ZipFile(self._file, "w") as archive:
            text = np.array(dump_header(self.header))
            with archive.open(_member(HEADER, text.nbytes), "w") as to:
                npy.write_array(to, text, allow_pickle=False)
            for name in TRACE_COLUMNS:
                fields = {"descr": _LITTLE[name].str, "fortran_order": False}
                with archive.open(_member(name, self._size_bytes(name)), "w") as to:
                    npy.write_array_header_1_0(to, fields | {"shape": self._shape(name)})
                    self._copy(name, to)


def _member(name: str, size_bytes: int) -> zipfile.ZipInfo:
    # Without a time of its own, a member has the earliest one zip knows: equal traces, equal bytes.
    member = zipfile.ZipInfo(f"{name}.npy")
    member.create_system = 3
    member.file_size = size_bytes  # decides whether a member gets 64-bit sizes
    return member


class SafetensorsWriter(_ColumnWriter):
    """Writes the safetensors form."""

    def _finish(self) -> None:
        entries: dict[str, Any] = {"__metadata__": {HEADER: dump_header(self.header)}}
        end = 0
        for name, dtype in TRACE_COLUMNS.items():
            start, end = end, end + self._size_bytes(name)
            entries[name] = {
                "dtype": _SAFETENSORS_DTYPES[dtype],
                "shape": self._shape(name),
                "data_offsets": (start, end),
            }
        text = json.dumps(entries, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
        self._file.write(len(text).to_bytes(8, "little") + text)
        for name in TRACE_COLUMNS:
            self._copy(name, self._file)


def read_npz(path: Path) -> Trace:
    """A trace from its npz form; runs no code that the file may hold.

    Raises:
        FormatError: The file is damaged, or not such a trace.
    """
    return _trace(*read_npz_arrays(path))


def read_safetensors(path: Path, clip: int, maps: bool) -> Trace:
    """A trace from its safetensors form, or a clip of a trace store of the reference.

    Raises:
        FormatError: The file is damaged, or neither.
        ConfigError: There is no such clip.
    """
    header, arrays = read_safetensors_arrays(path)
    if header is None:
        return (maps_of_store if maps else trace_of_store)(path, arrays, clip)
    check_own(path, clip, maps)
    return _trace(header, arrays)


def _trace(header: str, arrays: dict[str, NDArray[Any]]) -> Trace:
    parsed = parse_header(header)
    expect_keys(arrays, list(TRACE_COLUMNS), "the file")
    return Trace.from_columns(parsed, arrays)
