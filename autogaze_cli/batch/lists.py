"""The names in a list of inputs, ``@list.txt``, whatever wrote it."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from autogaze_cli.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that need decoding; UTF-32's begins as UTF-16's does."""


def read_list(path: Path) -> list[str]:
    """The names in a list, one per line; empty lines and those that start with ``#`` are skipped.

    Names are bytes, as the file system has them: only a line feed ends one (after a carriage
    return, if there is one), and blanks at either end belong to it. UTF-16, as PowerShell writes
    it, is known by its byte order mark.

    Raises:
        InputError: The list cannot be read, or names nothing.
    """
    try:
        data = path.read_bytes()
        mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", None))
        data = data.decode(encoding).encode() if encoding else data[len(mark) :]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"@{path}: cannot read the list: {why}",
            hint="give a text file with one path per line",
        ) from error
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    names = [os.fsdecode(line) for line in lines if line.strip() and not line.startswith(b"#")]
    if not names:
        raise InputError(f"@{path}: the list is empty", hint="write one path per line")
    return names
