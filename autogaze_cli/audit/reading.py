"""Reading files that somebody else wrote, and writing a file whole or not at all."""

from __future__ import annotations

import codecs
import os
import secrets
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from autogaze_cli.errors import OutputError

MOST_BYTES = 1 << 20
"""Of a settings file, a manifest, or a list of patterns; a baseline may have thirty times this."""

_MOST_DOTS = 100
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


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
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "not a regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(max(status.st_size, len(data)), most)
    return data


def read_lines(path: Path) -> list[str]:
    """The lines of a small text file, none where it cannot be read."""
    try:
        data = read_regular(path, MOST_BYTES)
    except OSError:
        return []
    return decoded(data).decode("utf-8", "replace").replace("\r\n", "\n").split("\n")


def decoded(data: bytes) -> bytes:
    r"""A text in UTF-8, whatever its byte order mark says; what cannot be decoded is replaced.

    >>> decoded("né".encode("utf-16")), decoded(b"caf\xe9")
    (b'n\xc3\xa9', b'caf\xef\xbf\xbd')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode("utf-8", "replace")
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def parse_toml(text: str) -> Any:
    """The table that a TOML text holds.

    Raises:
        ValueError: It is not TOML, or nests tables so deeply that reading them is not worth it.
    """
    if max(line.count(".") for line in text.split("\n")) > _MOST_DOTS:
        raise ValueError("a key has too many dots")  # the parser needs their square in memory
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def shown(name: str) -> str:
    r"""A path as text that any file can hold; bytes that are not UTF-8 are escaped.

    >>> print(shown("caf\udce9.py"))
    caf\xe9.py
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        OutputError: It cannot be written; what was there is as it was.
    """
    place = Path(os.path.realpath(path))
    special = place.exists() and not place.is_file()  # /dev/stdout, a pipe: nothing to replace
    scratch = place if special else place.with_name(f".autogaze-{secrets.token_hex(8)}")
    try:
        with scratch.open("w" if special else "x", encoding="utf-8") as file:
            file.write(text)
        if not special:
            scratch.replace(place)
    except OSError as error:
        if not special:
            with suppress(OSError):
                scratch.unlink()
        message = f"{shown(str(path))}: cannot be written: {error.strerror}"
        raise OutputError(message, hint="check the path, permissions and free space") from error
