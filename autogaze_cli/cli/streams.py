"""Standard streams that may be closed or full: messages may be lost, documents may not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from autogaze_cli.errors import SOME_FAILED, OutputError
from autogaze_cli.progress import printable, unmarked


def prepare_streams() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next opened file would get such a stream's descriptor, and libraries would print
    to it. ``sys.stdout`` stays None, which ``print_document`` reports.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor
    if sys.stdin is None:
        sys.stdin = os.fdopen(0)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


@contextmanager
def outputs_kept() -> Iterator[None]:
    """Give a lost document the exit code of a batch that is done in part: its files are there."""
    try:
        yield
    except OutputError as error:
        error.exit_code = SOME_FAILED
        raise


def print_document(text: str, *, err: bool = False) -> None:
    """Print the requested output of a command completely, to stdout (or stderr).

    Raises:
        OutputError: The stream is closed or full.
    """
    name = "stderr" if err else "stdout"
    if not err and sys.stdout is None:
        raise OutputError("stdout is closed", hint="redirect it to a file; other outputs are kept")
    try:
        text = unmarked(text).encode("utf-8", "backslashreplace").decode()
        click.echo(text, nl=False, err=err, color=True)
        (sys.stderr if err else sys.stdout).flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"{name}: cannot be written: {error.strerror}", hint="other outputs are kept"
        ) from error


def print_text(text: str) -> None:
    """Print a document of a line or more; see ``print_document``."""
    print_document(text + "\n")


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line with control characters escaped; see ``print_document``."""
    print_document(printable(text) + "\n", err=err)
