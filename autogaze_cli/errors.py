"""The errors a caller may catch: one class for each thing the user can do about it.

Every message is one line that names the input, says what is wrong, and (in ``hint``) what to try.
"""

from __future__ import annotations

from collections.abc import Iterable


class AutogazeError(Exception):
    """Something the user can mend.

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
    """An input (a video, a folder, a pattern) that is missing, unreadable, or too short."""


class OutputError(AutogazeError):
    """An output that cannot be written, or that exists already."""


class ModelError(AutogazeError):
    """A model folder that is missing, incomplete, or not an AutoGaze checkpoint."""


class ConfigError(AutogazeError, ValueError):
    """A setting that is out of range, unknown, or contradicts another."""


class FormatError(AutogazeError):
    """A file of this program's own formats that is damaged, or of a version it does not know."""


class DeviceError(AutogazeError):
    """A device that was asked for and is not there."""


def as_autogaze_error(error: Exception, name: str | None = None) -> AutogazeError:
    """``error`` itself, or one that says in a line what the system or the program met.

    Args:
        error: Any error.
        name: The input it is about, if known.
    """
    if isinstance(error, AutogazeError):
        return error
    about = f"{name}: " if name else ""
    if isinstance(error, MemoryError):
        return AutogazeError(
            f"{about}out of memory" + (f": {error}" if str(error) else ""),
            hint="lower --tile-batch-size, --clip-len or --workers",
        )
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else about
        return AutogazeError(f"{file}{error.strerror}", hint="check the path, its rights and space")
    return AutogazeError(
        f"{about}unexpected {type(error).__name__}: {error}", hint="-vv shows the traceback"
    )


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The hint about a word that is not known.

    >>> did_you_mean("framse", ["fps", "frames"], "see --help")
    'did you mean frames?'
    """
    import difflib  # only errors need it

    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise
