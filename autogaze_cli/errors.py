"""The errors that callers may catch: one class per kind of problem that a user can fix.

Every message is one line that names the input and the problem; ``hint`` tells what to try.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

SOME_FAILED = 3
"""The exit code of a run that is done in part: an input failed, or the manifest, the index or what
was to be printed could not be written. What is finished is in place."""


class AutogazeError(Exception):
    """A problem that the user can fix.

    Attributes:
        hint: What to try, or None.
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def line(self) -> str:
        """The message and the hint as one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class InputError(AutogazeError):
    """An input (a video, a folder, a pattern) is missing, unreadable, or too short."""


class OutputError(AutogazeError):
    """An output cannot be written, or already exists."""


class ModelError(AutogazeError):
    """A model folder is missing, incomplete, or not an AutoGaze checkpoint."""


class ConfigError(AutogazeError, ValueError):
    """A setting is out of range, unknown, or contradicts another."""


class FormatError(AutogazeError):
    """A file in one of this program's formats is damaged, or of an unsupported version."""


class DeviceError(AutogazeError):
    """A requested device is not available."""


def as_autogaze_error(error: Exception, name: str | None = None) -> AutogazeError:
    """``error`` itself, or its conversion to an ``AutogazeError`` with a message of one line.

    Args:
        error: Any error.
        name: The input that it concerns, if known.
    """
    if isinstance(error, AutogazeError):
        return error
    about = f"{name}: " if name else ""
    if is_out_of_memory(error):
        detail = f": {error}" if isinstance(error, MemoryError) and str(error) else ""
        return AutogazeError(
            f"{about}out of memory{detail}",
            hint="lower --tile-batch-size, --clip-len or --workers",
        )
    if isinstance(error, ImportError) and any(words in str(error) for words in _NO_ROOM):
        return AutogazeError(
            f"{about}no memory to load a library", hint="raise the limit of memory (ulimit -v)"
        )
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else about
        hint = "check the path, permissions and free space"
        if isinstance(error, FileNotFoundError) and not error.filename and _is_nowhere():
            return AutogazeError("the current folder was deleted", hint="go to another")
        if error.errno in (errno.EMFILE, errno.ENFILE):
            hint = "raise the limit of open files (ulimit -n), or give fewer --workers"
        return AutogazeError(f"{file}{error.strerror}", hint=hint)
    return AutogazeError(
        f"{about}unexpected {type(error).__name__}: {error}", hint="-vv shows the traceback"
    )


def _is_nowhere() -> bool:
    """Whether the current folder was deleted."""
    try:
        os.getcwd()  # noqa: PTH109  # nothing is done with it
    except FileNotFoundError:
        return True
    return False


def refuse_address(name: str) -> None:
    """Refuse the address of a file elsewhere where a path is expected.

    Raises:
        InputError: ``name`` is one, such as ``https://host/clip.mp4``, and no file is called so.
    """
    if "://" in name and not os.path.lexists(name):
        raise InputError(
            f"{name}: is an address, not a file",
            hint="give a path: only --live opens addresses",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or its GPU has no memory left, in Python's words or PyTorch's."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):  # as PyTorch's errors are, of several classes
        return False
    if any(words in str(error) for words in _NO_MEMORY):
        return True
    # A graph whose recording fails for lack of memory fails again when the recording ends.
    return error.__context__ is not None and is_out_of_memory(error.__context__)


_NO_ROOM = ("failed to map segment", "annot allocate memory")
"""What the system says where a library does not fit into memory."""

_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED"),
    "Could not allocate",
)
"""What errors say: PyTorch's of CUDA, of Linux, of other systems, of CUDA's libraries; PyAV's."""


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The hint for an unknown word: the most similar known word, or ``otherwise``.

    >>> did_you_mean("framse", ["fps", "frames"], "see --help")
    'did you mean frames?'
    """
    import difflib  # only errors need it

    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise
