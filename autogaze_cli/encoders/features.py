"""Features as a file: safetensors, written as they come, so that memory holds one clip."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

FORMAT = "autogaze-features"
VERSION = 1

COLUMNS: dict[str, tuple[str, type[np.int64 | np.float64 | np.int32 | np.float32]]] = {
    "coords": ("I64", np.int64),
    "time_s": ("F64", np.float64),
    "scale": ("I32", np.int32),
    "features": ("F32", np.float32),
    "frame_time_s": ("F64", np.float64),
    "frame_features": ("F32", np.float32),
    "clip_features": ("F32", np.float32),
}
"""The arrays and their number types; ``docs/encoders.md`` says what each holds."""


class FeatureWriter:
    """Spools every array to an unnamed file next to ``path``, and joins them at the end.

    Used as a context manager; after an error nothing but the empty file at ``path`` is left.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Open the file.

        Args:
            path: The file, replaced if it exists.
            header: JSON values: the trace's header, the encoder, the settings.
        """
        self.header = {"format": FORMAT, "version": VERSION, **header}
        with ExitStack() as stack:
            # Next to the output, where there is space for them: /tmp is often memory.
            self._spools: dict[str, IO[bytes]] = {
                name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                for name in COLUMNS
            }
            self._file = stack.enter_context(path.open("wb"))
            self._files = stack.pop_all()
        self._shapes: dict[str, tuple[int, ...]] = {}

    def append(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to every array; their other dimensions must be those of the first time."""
        for name, (_, dtype) in COLUMNS.items():
            array = np.ascontiguousarray(arrays[name], np.dtype(dtype).newbyteorder("<"))
            rows = self._shapes.get(name, (0,))[0] + len(array)
            self._shapes[name] = (rows, *array.shape[1:])
            self._spools[name].write(array.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the file, unless there was an error."""
        with self._files:
            if kind is None:
                self._join()

    def _join(self) -> None:
        entries: dict[str, Any] = {"__metadata__": {"header": json.dumps(self.header)}}
        end = 0
        for name, (code, dtype) in COLUMNS.items():
            shape = self._shapes.get(name, (0,))
            start, end = end, end + int(np.prod(shape)) * np.dtype(dtype).itemsize
            entries[name] = {"dtype": code, "shape": shape, "data_offsets": (start, end)}
        text = json.dumps(entries, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
        self._file.write(len(text).to_bytes(8, "little") + text)
        for spool in self._spools.values():
            spool.seek(0)
            shutil.copyfileobj(spool, self._file, 1 << 20)
