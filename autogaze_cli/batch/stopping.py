"""Signals that end a command: unfinished files are removed first, whatever signal follows."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Timer, main_thread
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_CALLED_FROM_C = "autogaze_cli.media.watched"
"""The module of FFmpeg's callbacks. FFmpeg would take an exception for the end of a file."""

_RETRY_S = 0.02

END_AT_ONCE = Event()
"""Set where a library would keep the process from ending, or give it another exit code."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """End the block by an exception at the first Ctrl-C, SIGTERM or SIGHUP.

    It is raised once, so that no other signal disturbs the removal of unfinished files: a second
    Ctrl-C prints that this is being done, a third ends the process at once. A signal that was
    ignored before stays so, as in a shell's background jobs and under ``nohup``.

    Raises:
        KeyboardInterrupt: At Ctrl-C.
        SystemExit: At another signal, with the exit code that shells give it.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    stop = _Stop()
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(OSError):  # one has just come
                signal.signal(number, signal.SIG_IGN if stop.ending else handler)


class _Stop:
    """The handler.

    Attributes:
        ending: Whether the exception was raised.
    """

    def __init__(self) -> None:
        self.ending = False
        self._more_interrupts = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ending:
            self._insist(number)
        elif _is_called_from_c(frame):
            again = Timer(_RETRY_S, signal.pthread_kill, (main_thread().ident, number))
            again.daemon = True
            again.start()
        else:
            self.ending = True
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(128 + number)

    def _insist(self, number: int) -> None:
        self._more_interrupts += number == signal.SIGINT
        if self._more_interrupts > 1:
            os._exit(128 + number)
        if number == signal.SIGINT:
            with suppress(OSError):
                os.write(2, b"Removing unfinished files; press Ctrl-C again to leave them.\n")


def _is_called_from_c(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == _CALLED_FROM_C:
            return True
        frame = frame.f_back
    return False
