"""A live input played for someone who may be slower: only its newest frame waits."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Generic, TypeVar

from autogaze_cli.errors import InputError
from autogaze_cli.media.live import read_live
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame

T = TypeVar("T")

_LONGEST_WAIT_S = 1.0
"""Between two frames, whatever their times say."""


def check_file(name: str, sampling: Sampling) -> None:
    """Read the first frame of a file; other inputs are read when they are played.

    Raises:
        InputError: It cannot be read, or has no such frame.
    """
    if Path(name).is_file() and next(read_live(name, sampling), None) is None:
        raise InputError(
            f"{name}: no frame at or after {float(sampling.start):g} s", hint="start earlier"
        )


class Newest(Generic[T]):
    """Room for one item between two threads; a newer one replaces the one that waits."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._error: Exception | None = None
        self._ended = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Let the next ``take`` return this item."""
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """Let ``take`` return None, or raise an error, once the item that waits is taken."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def take(self) -> T | None:
        """Wait for an item; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._ended)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item


class Playing:
    """The input of the command, played at its own rate by a thread; its newest frame waits.

    Args:
        name: As for ``read_live``.
        sampling: Which frames.
        number: The page's number of this playing.
    """

    def __init__(self, name: str, sampling: Sampling, number: int) -> None:
        self.number = number
        self.frames: Newest[Frame] = Newest()
        self._closed = Event()
        # It may wait for a frame that never comes, and must not be waited for then.
        Thread(target=self._play, args=(name, sampling), daemon=True).start()

    @property
    def is_closed(self) -> bool:
        """Whether the page has ended it."""
        return self._closed.is_set()

    def close(self) -> None:
        """Stop after the frame that is being read."""
        self._closed.set()
        self.frames.end()

    def _play(self, name: str, sampling: Sampling) -> None:
        try:
            begin = None
            for _, frame in read_live(name, sampling):
                begin = begin or (time.perf_counter(), frame.time)
                due_s = begin[0] + float(frame.time - begin[1]) - time.perf_counter()
                if self._closed.wait(min(max(due_s, 0), _LONGEST_WAIT_S)):
                    return
                self.frames.put(frame)
            self.frames.end()
        except Exception as error:  # noqa: BLE001  # raised where frames are taken
            self.frames.end(error)
