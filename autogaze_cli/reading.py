"""Reading files that somebody else wrote: regular ones, up to a size, and TOML."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
"""Of a settings file, a manifest of a package, or a list of patterns."""

_STRING = re.compile(r"""\"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?""")
_LONG_KEY = re.compile(r"(?<![\w-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){100}+")


class TooLargeError(OSError):
    """A file has more bytes than were asked for."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(None, f"{size} bytes, more than {most}")
        self.size = size


def read_regular(path: str | Path, most: int) -> bytes:
    """The bytes of a regular file; never waits for a device or a pipe.

    Args:
        path: The file; a link to one will do.
        most: How many bytes it may have.

    Raises:
        TooLargeError: It has more.
        OSError: It cannot be read, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "not a regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(max(status.st_size, len(data)), most)
    return data


def parse_toml(text: str) -> Any:
    """The table that a TOML text holds.

    Raises:
        ValueError: It is not TOML, or nests tables so deeply that reading them is not worth it.
    """
    if _LONG_KEY.search(_STRING.sub("_", text)):
        raise ValueError("a key has over 100 dots")  # the parser needs their square in memory
    import tomllib  # only needed if there is a file

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
