"""Stages in threads: order, bounds, errors, and that nothing hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from autogaze_cli.jobs.pipeline import Behind, Feed, ahead


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def finishes(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread, and fail where it hangs."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_ahead_keeps_order_and_its_bound(size: int) -> None:
    made, taken, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal made, most
        for n in range(200):
            made += 1
            most = max(most, made - taken)
            yield n

    def work() -> None:
        nonlocal taken
        seen = []
        for n in ahead(items(), size):
            seen.append(n)
            taken = n  # this one is still in use
        assert seen == list(range(200))

    finishes(work)
    assert most <= size + 1  # ``taken`` may lag behind by the item just asked for


def test_ahead_works_while_its_reader_does() -> None:
    making = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        making.set()
        yield 1

    stream = ahead(items(), 2)
    assert next(stream) == 0
    assert making.wait(10)  # though nobody has asked for the next one yet
    assert list(stream) == [1]


def test_ahead_raises_the_error_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("torn tape")

    def work() -> None:
        stream = ahead(items(), 2)
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="torn tape"):
            next(stream)
        assert list(stream) == []  # once

    finishes(work)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_ahead_abandoned_closes_its_source(taken: int) -> None:
    closed: list[str] = []

    def items() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.append(threading.current_thread().name)

    def work() -> None:
        stream = ahead(items(), 2)
        for _ in range(taken):
            next(stream)
        stream.close()  # type: ignore[attr-defined]

    finishes(work)
    assert closed == (["ahead"] if taken else [])  # one that never began has nothing to close


def test_ahead_is_stopped_by_an_interrupt_of_its_reader() -> None:
    def items() -> Iterator[int]:
        while True:
            yield 0

    def work() -> None:
        for _ in ahead(items(), 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finishes(work)


def test_nested_stages_end_together() -> None:
    def work() -> None:
        inner = ahead(iter(range(1000)), 2)
        outer = ahead((n * n for n in inner), 2)
        assert [next(outer) for _ in range(4)] == [0, 1, 4, 9]
        outer.close()  # type: ignore[attr-defined]

    finishes(work)


@pytest.mark.parametrize("size", [1, 3])
def test_behind_gets_everything_in_order(size: int) -> None:
    seen: list[int] = []

    def work() -> None:
        with Behind(seen.extend, size) as stage:
            for n in range(300):
                stage.put(n)

    finishes(work)
    assert seen == list(range(300))


def test_behind_holds_no_more_than_its_size() -> None:
    gate, held = threading.Event(), []

    def consume(feed: Feed[int]) -> None:
        for _ in feed:
            gate.wait()

    def fill(stage: Behind[int]) -> None:
        for n in range(4):
            stage.put(n)
            held.append(n)

    with Behind(consume, 3) as stage:
        thread = threading.Thread(target=fill, args=(stage,))
        thread.start()
        deadline = time.monotonic() + 5
        while len(held) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert held == [0, 1, 2]
        gate.set()
        thread.join()


@pytest.mark.parametrize("fails_at", [0, 4, None])
def test_the_error_of_a_consumer_is_raised_once(fails_at: int | None) -> None:
    def consume(feed: Feed[int]) -> None:
        for n in feed:
            if n == fails_at:
                raise OSError("disk full")
        if fails_at is None:
            raise OSError("disk full")  # when all items are in

    def work() -> None:
        raised = 0
        try:
            with Behind(consume, 2) as stage:
                for n in range(20):
                    stage.put(n)
        except OSError:
            raised += 1
        assert raised == 1

    finishes(work)


def test_an_error_of_the_caller_stops_the_consumers_and_is_the_one_raised() -> None:
    ended: list[str] = []

    def consume(feed: Feed[int]) -> None:
        try:
            for _ in feed:
                pass
            ended.append("clean")
        finally:
            ended.append("over")

    def work() -> None:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(Behind(consume, 2)).put(1)
            raise ValueError("bad frame")

    with pytest.raises(ValueError, match="bad frame"):
        finishes(work)
    assert ended == ["over"] * 3


def test_long_work_after_the_last_item_can_be_ended() -> None:
    began = threading.Event()

    def consume(feed: Feed[int]) -> None:
        list(feed)
        began.set()
        while True:
            time.sleep(0.001)
            feed.check()

    def work() -> None:
        with Behind(consume, 2) as stage:
            stage.end()
            began.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finishes(work)


def test_a_chain_of_consumers_passes_an_error_up() -> None:
    def last(feed: Feed[int]) -> None:
        for n in feed:
            if n == 7:
                raise OSError("disk full")

    def work() -> None:
        with ExitStack() as stack:
            end = stack.enter_context(Behind(last, 2))

            def middle(feed: Feed[int]) -> None:
                for n in feed:
                    end.put(n)

            first = stack.enter_context(Behind(middle, 2))
            for n in range(1000):
                first.put(n)

    with pytest.raises(OSError, match="disk full"):
        finishes(work)


def test_consumers_that_are_told_the_end_finish_side_by_side() -> None:
    both = threading.Barrier(2)

    def consume(feed: Feed[int]) -> None:
        list(feed)
        both.wait(10)  # broken unless the other gets here as well

    def work() -> None:
        with Behind(consume, 1) as one, Behind(consume, 1) as other:
            one.put(1)
            other.put(1)
            one.end()
            other.end()

    finishes(work)
