"""A file that is read by FFmpeg, whose failures are not mistaken for the end of the video."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from autogaze_cli.errors import InputError
from autogaze_cli.media.png_claims import MOST_STEPS, PNG, require_true_chunks

BUFFER_BYTES = 1 << 17
_ZEROS = bytes(BUFFER_BYTES)
_MOST_ZEROS = 1 << 28
"""In a row, without a frame: a file of a few kilobytes may have terabytes of them."""

_MOST_SECONDS = 8
"""Of processor time, until a file is opened: FFmpeg compares each tag with all others."""


class WatchedFile:
    """An opened file, as PyAV reads it.

    FFmpeg takes a failed read for the end of the file, so the error is kept here. Zeros without
    end, in which FFmpeg would search for hours, are one, and so are a PNG that unpacks to more than
    a picture, and millions of tags.

    Args:
        path: The file.

    Attributes:
        error: Why reading failed, or None.
        zeros: How many bytes in a row were zeros; whoever gets a frame sets it to 0.
        opening: Whether FFmpeg still opens it, in the thread that made this object.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._path = path.open("rb", buffering=0), path
        suffix = path.suffix.lower()
        # FFmpeg goes by the suffix, and would take "%" or "*" in a name for a pattern.
        self.name = "video" + (suffix if suffix[1:].isalnum() else "")
        self.error: OSError | None = None
        self.zeros = 0
        self.opening, self._since = True, time.thread_time()
        self._last, self._steps = b"", MOST_STEPS

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; nothing after an error, of which PyAV would print each."""
        if self.error:
            return b""
        try:
            data = self._file.read(size) or b""
            self.zeros = self.zeros + len(data) if data == _ZEROS[: len(data)] else 0
            if self.zeros > _MOST_ZEROS:
                raise OSError(f"has over {_MOST_ZEROS} zeros in a row")
            if self.opening and time.thread_time() - self._since > _MOST_SECONDS:
                raise OSError("too many tags or parts: to open it takes too long")
            self._require_pictures(data)
            return data
        except OSError as error:
            self.error = error
            raise

    def _require_pictures(self, data: bytes) -> None:
        """Refuse a PNG within the file, as ``require_true_chunks`` does."""
        end, self._steps = self._file.tell(), self._steps + len(data) // 16
        data, self._last = self._last + data, data[-len(PNG) + 1 :]
        at = data.find(PNG)
        while at >= 0:
            try:
                place = end - len(data) + at
                self._steps -= require_true_chunks(self._path, self._file, place, self._steps)
            except InputError as error:
                raise OSError("a PNG in it unpacks to much more than a picture") from error
            at = data.find(PNG, at + 1)
        self._file.seek(end)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place."""
        self._last = b""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Whether it can be read from anywhere."""
        return self._file.seekable()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Unchanged:
    """Remembers files, and tells whether they are still as they were.

    Args:
        name: How errors name them.
        files: The files.
    """

    def __init__(self, name: Path, files: list[Path]) -> None:
        self._name, self._files = name, files
        self._states = [_state(file) for file in files]

    def check(self) -> None:
        """Check them again; those that were deleted since were read whole.

        Raises:
            InputError: One was changed.
        """
        for file, before in zip(self._files, self._states, strict=True):
            if (now := _state(file)) is not None and now != before:
                which = "" if file == self._name else f" ({file.name})"
                raise InputError(
                    f"{self._name}: was changed while it was read{which}",
                    hint="run again when nothing writes to it",
                )


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def failed_read(path: Path, error: OSError) -> InputError:
    """The error for a file that the system cannot read."""
    if not error.errno:  # refused by ``WatchedFile``
        return InputError(f"{path}: {error}", hint="it is damaged, or made to exhaust its readers")
    return InputError(
        f"{path}: reading failed ({os.strerror(error.errno)})",
        hint="check the disk or network, or copy the file",
    )


def is_failure(error: BaseException) -> bool:
    """Whether the system failed, and not the data: no thread, no memory, no file, a failed read."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOSYS)
