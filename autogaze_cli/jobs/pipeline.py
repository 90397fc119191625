"""Stages that overlap: a producer that runs ahead of its reader, and consumers that run behind.

Each stage has a thread of its own and a bounded queue, so memory does not grow with the number of
items. Order is kept. The first error of any thread is raised once, where the items are handed over;
leaving early, by an error or by Ctrl-C, stops the threads and waits for them. Nothing polls.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    """What a queue ends with: the error of the thread that filled it, or none."""

    error: BaseException | None = None


class _Stopped(BaseException):
    """Raised in a consumer's thread when nobody wants its work any more."""


def ahead(items: Iterable[T], size: int, *, patience_s: float | None = None) -> Iterator[T]:
    """The same items, made in a thread that is at most ``size`` of them ahead.

    The thread starts with the first item asked for and ends with the iteration, however it ends.

    Args:
        items: Iterated, and closed where it is a generator, in the thread.
        size: Items that exist at any time, the one in use and the one being made included.
        patience_s: How long to wait for the thread when the iteration is left early; past that it
            is left to itself. None = until it has made the item that it is at.

    Yields:
        The items in order.
    """
    room = Semaphore(size)
    ready: SimpleQueue[T | _End] = SimpleQueue()
    stopped = False

    def produce() -> None:
        end = _End()
        try:
            source = iter(items)
            try:
                while room.acquire() and not stopped:
                    ready.put(next(source))
            finally:
                if isinstance(source, Generator):
                    source.close()
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  # whatever it is, the reader gets it
            end = _End(error)
        ready.put(end)

    thread = Thread(target=produce, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
            del item  # or it would live on while the next one is waited for
            room.release()
        if item.error is not None:
            raise item.error
    finally:
        stopped = True
        room.release()
        thread.join(patience_s)


class Feed(Generic[T]):
    """What a consumer iterates: the items handed to ``Behind``, each once, in order."""

    def __init__(self, size: int) -> None:
        self._room = Semaphore(size)
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._stopped = False
        self._taken = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._taken:  # the one before has been dealt with
            self._room.release()
        self._taken = False
        item = self._ready.get()
        self.check()
        if isinstance(item, _End):
            self._ready.put(item)
            raise StopIteration
        self._taken = True
        return item

    def check(self) -> None:
        """End the consumer, by an exception, where its work has been abandoned.

        For long work after the last item; between items the iteration does it.
        """
        if self._stopped:
            raise _Stopped


class Behind(Generic[T]):
    """Hands items to a consumer that runs in a thread of its own, as a context manager.

    A clean exit waits until the consumer has done all its work, and raises its error if it failed.
    On any other exit the consumer ends with an exception at its next item.

    Args:
        consume: Called once, in the thread, with the items to come.
        size: Items that may wait, the one in work included.
    """

    def __init__(self, consume: Callable[[Feed[T]], object], size: int) -> None:
        self._feed: Feed[T] = Feed(size)
        self._consume = consume
        self._error: BaseException | None = None
        self._done = False
        self._thread = Thread(target=self._run, name="behind", daemon=True)

    def _run(self) -> None:
        try:
            self._consume(self._feed)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  # raised where the items are handed over
            self._error = error
        self._done = True
        self._feed._room.release()  # a ``put`` may be waiting

    def put(self, item: T) -> None:
        """Hand over one item, waiting while there is no room.

        Raises:
            BaseException: The consumer's own, when it has failed.
        """
        self._feed._room.acquire()
        if self._done:
            self._feed._room.release()
            self._raise()
        else:
            self._feed._ready.put(item)

    def end(self) -> None:
        """Say that no item follows, without waiting: several consumers may finish side by side."""
        self._feed._ready.put(_End())

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.end()
                self._thread.join()
                self._raise()
        finally:  # also when the wait is interrupted
            self._feed._stopped = True
            self.end()
            self._thread.join()
