"""Reads lists of inputs, ``@list.txt``, in any common encoding."""

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
"""Byte order marks and encodings; UTF-32 comes first, because its mark begins like UTF-16's."""

_MOST_BYTES = 1 << 26
"""Of a list, which may be a device without an end."""

_MOST_LINES = 1_000_000


def read_list(path: Path) -> list[str]:
    """The names in a list, one per line; empty lines and those that start with ``#`` are skipped.

    Names are bytes, as in the file system: a line ends at a line feed (a preceding carriage return
    is removed), and leading and trailing blanks are part of the name. UTF-16, as written by
    PowerShell, is recognized by its byte order mark.

    Raises:
        InputError: The list cannot be read, is empty, or larger than any.
    """
    try:
        with path.open("rb") as file:  # which may be a pipe
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES or data.count(b"\n") > _MOST_LINES:
            raise InputError(
                f"@{path}: the list has over {_MOST_BYTES >> 20} MiB or {_MOST_LINES} lines",
                hint="give several lists",
            )
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
