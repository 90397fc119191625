"""Concurrent stages: a producer that runs ahead of its reader, and consumers that run behind.

Each stage has its own thread and a bounded queue, so memory does not grow with the number of items.
Order is kept. The first error of any thread is raised once, where items are handed over; leaving
early, by an error or by Ctrl-C, stops the threads and waits for them. No stage polls.
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
    """The end marker of a queue, with the error of the thread that filled it, if any."""

    error: BaseException | None = None


class _Stopped(BaseException):
    """Raised in a consumer's thread when its work has been abandoned."""


def ahead(items: Iterable[T], size: int, *, patience_s: float | None = None) -> Iterator[T]:
    """The same items, produced in a thread that runs at most ``size`` items ahead.

    The thread starts with the first item requested and stops when the iteration ends or is left.

    Args:
        items: Iterated in the thread; a generator is also closed there.
        size: Maximum number of items at any time, including those in use and in production.
        patience_s: Seconds to wait for the thread when the iteration is left early; after that, the
            thread is abandoned. None = wait until it has produced its current item.

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
        except BaseException as error:  # noqa: BLE001  # passed on to the reader
            end = _End(error)
        ready.put(end)

    thread = Thread(target=produce, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
            del item  # otherwise it would stay in memory while waiting for the next one
            room.release()
        if item.error is not None:
            raise item.error
    finally:
        stopped = True
        room.release()
        thread.join(patience_s)


class Feed(Generic[T]):
    """The iterator of a consumer: the items handed to ``Behind``, each once, in order."""

    def __init__(self, size: int) -> None:
        self._room = Semaphore(size)
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._stopped = False
        self._taken = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._taken:  # the previous item has been processed
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
        """Stop the consumer, by an exception, if its work has been abandoned.

        For long work after the last item; between items, the iteration checks this.
        """
        if self._stopped:
            raise _Stopped


class Behind(Generic[T]):
    """Hands items to a consumer that runs in its own thread, as a context manager.

    A clean exit waits until the consumer has finished, and raises its error if it failed. On any
    other exit the consumer is stopped by an exception at its next item.

    Args:
        consume: Called once, in the thread, with an iterator of the items.
        size: Maximum number of queued items, including the one being processed.
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
        """Hand over one item, waiting while the queue is full.

        Raises:
            BaseException: The consumer's error, if it has failed.
        """
        self._feed._room.acquire()
        if self._done:
            self._feed._room.release()
            self._raise()
        else:
            self._feed._ready.put(item)

    def end(self) -> None:
        """Signal that no item follows, without waiting: several consumers can finish at once."""
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
