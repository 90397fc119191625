"""Texts that somebody else wrote, and writing a file whole or not at all."""

from __future__ import annotations

import codecs
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from autogaze_cli.errors import OutputError
from autogaze_cli.reading import MOST_BYTES, read_regular

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


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


def shown(name: str) -> str:
    r"""A path as text that any file can hold; bytes that are not UTF-8 are escaped.

    >>> print(shown("caf\udce9.py"))
    caf\xe9.py
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        OutputError: It cannot be written, or is a pipe that nobody reads; what was there is as it
            was.
    """
    place = Path(os.path.realpath(path))
    scratch = place.with_name(f".autogaze-{secrets.token_hex(8)}")
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing to replace
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # never waits for a reader
            os.set_blocking(handle, True)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as special:
                special.write(text)
            return
        with scratch.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        if place.exists():
            shutil.copymode(place, scratch)
        scratch.replace(place)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        message = f"{shown(str(path))}: cannot be written: {error.strerror}"
        raise OutputError(message, hint="check the path, permissions and free space") from error
