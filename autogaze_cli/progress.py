"""Output on stderr during a run: log messages by level, and progress."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

TRACEBACK = 5
"""The log level of tracebacks, below DEBUG: shown with -vv, and always written to a log file."""

LINE_EVERY_S = 5.0
"""Seconds between two progress lines if stderr is not a terminal."""

MESSAGE_CHARACTERS = 2000
"""The longest message that is shown whole, which has room for any one path that people use."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that change the order in which others are shown."""

_CI_LINE = re.compile(r"^(\s*):(?=:)")
_CI_MARK = re.compile(r"#(?=#(?:vso|teamcity)?\[)")
"""Where a line, or a part of one, would be a command to the CI server that shows it."""

_BAR_WIDTH = 64
"""Terminal columns taken by the bar and its figures."""

Advance = Callable[[float, int | None], None]
"""Progress callback: frames done (may be fractional), and the total number of frames, if known."""

Open = Callable[[str], AbstractContextManager[Advance]]
"""Opens the progress display of one input."""


def printable(text: str) -> str:
    r"""A message as one line of text alone, whatever names it contains.

    Control characters are escaped, and what a CI server would take for a command.

    >>> print(printable("two\nlines.mp4"))
    two\nlines.mp4
    >>> print(printable("::error::x.py"))
    \x3a:error::x.py
    """
    text = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return unmarked(_CI_LINE.sub(r"\1\\x3a", text))


def unmarked(text: str) -> str:
    r"""Text, or JSON of the same meaning, without marks that a CI server acts upon within a line.

    >>> print(unmarked('{"input": "##vso[task.x].mp4"}'))
    {"input": "\u0023#vso[task.x].mp4"}
    """
    return _CI_MARK.sub(r"\\u0023", text)


def message_line(text: str) -> str:
    """``text`` as ``printable``, its middle left out if it has over ``MESSAGE_CHARACTERS``.

    Messages name what files hold, which may be of any length. They end with what to try.
    """
    if len(text) > MESSAGE_CHARACTERS:
        start, end = text[: MESSAGE_CHARACTERS * 3 // 4], text[-MESSAGE_CHARACTERS // 4 :]
        text = f"{start} [{len(text) - MESSAGE_CHARACTERS} characters left out] {end}"
    return printable(text)


class StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the moment of writing.

    Live progress bars and tests replace that stream.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line; warnings and errors start with their level."""
        prefix = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        text = self.format(record)
        if record.levelno > TRACEBACK:
            text = message_line(text)
        with suppress(OSError, ValueError, AttributeError):  # closed or full: a message is lost
            sys.stderr.write(f"{prefix}{text}\n")
            sys.stderr.flush()


class _LogFile(logging.FileHandler):
    """A log file that warns once if it cannot be written, and never stops the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Warn once, on stderr."""
        if self.level <= logging.CRITICAL:
            self.setLevel(logging.CRITICAL + 1)
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(f"Warning: {self.baseFilename}: cannot be written any more\n")


def configure_logging(verbosity: int, log_file: str | None = None) -> None:
    """Send the program's messages to stderr, and to a file.

    Args:
        verbosity: Negative: errors only. 0: outputs, sources and devices. 1: also one line per
            frame. 2: also tracebacks.
        log_file: A file to append all messages to, at any verbosity; None = no file.
    """
    root = logging.getLogger("autogaze_cli")
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        with suppress(OSError):  # the disk of a log file is full
            handler.close()
    console = StderrHandler()
    levels = {0: logging.INFO, 1: logging.DEBUG}
    console.setLevel(logging.ERROR if verbosity < 0 else levels.get(verbosity, TRACEBACK))
    root.addHandler(console)
    root.setLevel(console.level)
    if log_file is not None:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        file = _LogFile(log_file, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(file)
        root.setLevel(TRACEBACK)


@contextmanager
def progress_board() -> Iterator[Open]:
    """Show progress: bars with the remaining time on a terminal, otherwise periodic lines.

    Yields:
        A function that opens the display of one input by its label, and yields its ``Advance``.
    """
    root = logging.getLogger("autogaze_cli")
    consoles = [handler.level for handler in root.handlers if isinstance(handler, StderrHandler)]
    if (
        max(consoles, default=root.getEffectiveLevel()) > logging.INFO
        or sys.stderr is None
        or sys.stderr.closed
    ):
        yield lambda label: nullcontext(lambda done, total: None)
    elif sys.stderr.isatty():
        with _bars() as opened:
            yield opened
    else:
        yield lambda label: nullcontext(_lines(label, sys.stderr))


@contextmanager
def _bars() -> Iterator[Open]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    room = max(10, console.width - _BAR_WIDTH)
    with Progress(*columns, console=console, transient=True) as progress:

        @contextmanager
        def opened(label: str) -> Iterator[Advance]:
            start = time.monotonic()
            if len(label) > room:  # keep the end of the label, and the figures visible
                label = "…" + label[1 - room :]
            task = progress.add_task(label, total=None, rate="")

            def advance(done: float, total: int | None) -> None:
                rate = done / max(time.monotonic() - start, 1e-9)
                progress.update(task, completed=done, total=total, rate=f"{rate:.3g} frames/s")

            yield advance
            progress.refresh()  # shows completion, even of a very short input
            progress.remove_task(task)

        yield opened


def _lines(label: str, stream: TextIO) -> Advance:
    start = last = time.monotonic()

    def advance(done: float, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        with suppress(OSError, ValueError):
            stream.write(f"{label}: {int(done)}/{total or '?'} frames, {rate:.3g} frames/s{left}\n")
            stream.flush()

    return advance
