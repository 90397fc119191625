"""The base of all writers: it checks, streams, and leaves no partial file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from autogaze_cli.errors import FormatError, OutputError
from autogaze_cli.trace.data import FrameTrace, Trace
from autogaze_cli.trace.header import TraceHeader


class TraceWriter(ABC):
    """Writes a trace frame by frame, in constant memory.

    A context manager: a clean exit completes the file, an exception removes it.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, header: TraceHeader) -> None:
        self.path = path
        self.header = header
        self._last_index = -1
        self._closed = False
        with self._os_errors():
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, frame: FrameTrace) -> None:
        """Append a frame.

        Raises:
            FormatError: The frame's arrays contradict each other or the header, a value is out of
                range, or the index is not above the last one.
            OutputError: The file cannot be written.
        """
        try:
            self.append(Trace.from_frames(self.header, [frame]))
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}", hint=error.hint) from error

    def append(self, part: Trace) -> None:
        """Append the frames of ``part``, whose header is ignored; otherwise as ``write``."""
        if len(part):
            if part.index[0] <= self._last_index:
                raise FormatError(
                    f"index {part.index[0]} follows {self._last_index}: it must ascend"
                )
            self._last_index = int(part.index[-1])
            with self._os_errors():
                self._append(part)

    def close(self) -> None:
        """Complete the file; a second call does nothing.

        Raises:
            OutputError: The file cannot be written; the partial file has been removed.
        """
        if self._closed:
            return
        self._closed = True
        try:
            with self._os_errors():
                self._finish()
                self._release()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        with suppress(OSError):
            self._release()
        if (
            self.path.is_file() and not self.path.is_symlink()
        ):  # and not a device such as /dev/stdout
            self.path.unlink()

    @contextmanager
    def _os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error

    @abstractmethod
    def _open(self) -> None:
        """Open ``path`` and write the beginning."""

    @abstractmethod
    def _append(self, part: Trace) -> None:
        """Write the frames of ``part``, at least one."""

    @abstractmethod
    def _finish(self) -> None:
        """Write the end."""

    @abstractmethod
    def _release(self) -> None:
        """Close all files without completing them; repeatable."""
