"""The engines of this machine: this process, or several processes side by side."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from threading import Lock, Thread
from types import ModuleType
from typing import Protocol

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.work import Begin, Do, Outcome, Outcomes, Task, Work, WorkerLostError
from autogaze_cli.errors import AutogazeError, as_autogaze_error
from autogaze_cli.progress import Advance

logger = logging.getLogger(__name__)

TRIES = 2
"""How often a task is begun whose worker ends in the middle of it."""

GRACE_S = 10.0
"""How long a worker that is told to end may take to remove what it had half written."""

_PROGRESS_EVERY_S = 0.2


def one_process(work: Work, tasks: list[Task], begin: Begin) -> Outcomes:
    """Do the tasks here, one after the other."""
    do = work.open(0, 1)
    for task in tasks:
        with begin(task) as advance:
            outcome = attempt(do, task, advance)
        yield outcome


def attempt(do: Do, task: Task, advance: Advance) -> Outcome:
    """Do one task; an error becomes its outcome."""
    start = time.monotonic()
    try:
        result = do(task, advance)
    except Exception as error:  # noqa: BLE001  # one input never stops the others
        return Outcome(task, error=error, seconds=time.monotonic() - start)
    return Outcome(task, result=result, seconds=time.monotonic() - start)


def processes(workers: int, work: Work, tasks: list[Task], begin: Begin) -> Outcomes:
    """Do the tasks in ``workers`` processes that were started afresh, each with its own model."""
    return shared_out(_Crew(work, min(workers, len(tasks)), begin), tasks)


class Crew(Protocol):
    """Workers that do a task at a time, of whom one that ends is replaced."""

    def busy(self) -> bool:
        """Whether any has a task."""

    def idle(self) -> bool:
        """Whether any is ready for one."""

    def give(self, task: Task) -> None:
        """Give a task to an idle one."""

    def wait(self) -> list[Outcome | Task]:
        """Wait for them to say something: outcomes, and tasks whose workers have ended.

        Raises:
            AutogazeError: A worker could not open the work.
        """

    def end(self) -> None:
        """End all, those in the middle of a task too; they remove what is half written."""


def shared_out(crew: Crew, tasks: list[Task]) -> Outcomes:
    """Have a crew do the tasks, and end it.

    A task whose worker ends in the middle of it (out of memory, killed) is begun once more.
    """
    waiting, begun = deque(tasks), Counter[Input]()
    try:
        while waiting or crew.busy():
            while waiting and crew.idle():
                begun[waiting[0].item] += 1
                crew.give(waiting.popleft())
            for found in crew.wait():
                if isinstance(found, Outcome):
                    yield found
                elif begun[found.item] < TRIES:
                    logger.warning("%s: its worker ended; it is begun again", found.item.name)
                    # Outputs that are there now are its own, of a worker that could not say so.
                    waiting.appendleft(replace(found, overwrite=True))
                else:
                    yield Outcome(found, error=_lost(found))
    finally:
        crew.end()


def _lost(task: Task) -> WorkerLostError:
    return WorkerLostError(
        f"{task.item.name}: its worker ended {TRIES} times without a word",
        hint="it may have run out of memory: give fewer --workers or a smaller --tile-batch-size",
    )


class Worker:
    """One of a crew: the task it has, and the display of how far that is."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.advance: Advance = lambda done, total: None
        self._shown: AbstractContextManager[Advance] | None = None

    def take(self, task: Task, begin: Begin) -> None:
        """Its turn has come, with this task."""
        self.task, self._shown = task, begin(task)
        self.advance = self._shown.__enter__()

    def done(self) -> None:
        """It has no task any more."""
        if self._shown is not None:
            self._shown.__exit__(None, None, None)
        self.task = self._shown = None


class _Process(Worker):
    """A worker that is a process, and the pipe to it."""

    def __init__(self, work: Work, number: int, count: int) -> None:
        super().__init__()
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.pipe, theirs = context.Pipe()
        level = logging.getLogger("autogaze_cli").getEffectiveLevel()
        self.process = context.Process(
            target=_serve, args=(work, number, count, theirs, level), daemon=True
        )
        with _main_left_out(), _interrupt_held():
            self.process.start()
        theirs.close()


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Start no process with the script that called: it would be run again in each.

    A worker needs nothing of it, and it may have no ``if __name__ == "__main__"``, or be no file.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Let Ctrl-C wait; a process that is started meanwhile never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Crew:
    """The workers, of whom one that ends is replaced."""

    def __init__(self, work: Work, count: int, begin: Begin) -> None:
        self._work, self._count, self._begin = work, count, begin
        self._workers = [_Process(work, number, count) for number in range(count)]

    def busy(self) -> bool:
        return any(worker.task for worker in self._workers)

    def idle(self) -> bool:
        return not all(worker.task for worker in self._workers)

    def give(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.take(task, self._begin)
        with suppress(OSError):  # it has ended: wait() finds out
            worker.pipe.send(task)

    def wait(self) -> list[Outcome | Task]:
        pipes = {worker.pipe: worker for worker in self._workers if worker.task}
        found: list[Outcome | Task] = []
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]  # only pipes were given
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):
                assert worker.task is not None
                found.append(worker.task)
                self._replace(worker)
                continue
            if isinstance(said, Outcome):
                worker.done()
                found.append(said)
            elif isinstance(said, AutogazeError):
                raise said
            elif isinstance(said, tuple):
                worker.advance(*said)
            else:
                logging.getLogger(said.name).handle(said)
        return found

    def end(self) -> None:
        with _interrupt_held():  # a second one would leave workers behind
            self._end()

    def _end(self) -> None:
        for worker in self._workers:
            if worker.task:
                worker.process.terminate()
            worker.pipe.close()
        until = time.monotonic() + GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.done()

    def _replace(self, worker: _Process) -> None:
        worker.done()
        worker.process.join()
        self._workers[worker.number] = _Process(self._work, worker.number, self._count)


class Line(logging.Handler):
    """What a worker says to the process that started it: messages, progress and outcomes.

    Args:
        say: Sends one of them; called by several threads, one at a time.
    """

    def __init__(self, say: Callable[[object], None]) -> None:
        super().__init__()
        self._say, self._one_at_a_time = say, Lock()
        self._last = 0.0

    def listen(self, level: int) -> None:
        """Take all messages of this process that are of ``level`` at least."""
        root = logging.getLogger("autogaze_cli")
        root.handlers[:] = [self]
        root.setLevel(level)

    def send(self, said: object) -> None:
        """Send anything that can be pickled."""
        with self._one_at_a_time:
            self._say(said)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a message."""
        record.msg, record.args = record.getMessage(), None
        record.exc_info = record.exc_text = None
        self.send(record)

    def advance(self, done: float, total: int | None) -> None:
        """Progress, a few times a second."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self.send((done, total))


def _serve(work: Work, number: int, count: int, pipe: Connection, level: int) -> None:
    """A worker's life: open the work, then do tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    Thread(target=_follow, daemon=True).start()
    line = Line(pipe.send)
    line.listen(level)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        task = pipe.recv()
        try:
            do = work.open(number, count)
        except Exception as error:  # noqa: BLE001  # said by the process that started this one
            line.send(as_autogaze_error(error))
            return
        while True:
            line.send(portable(attempt(do, task, line.advance)))
            task = pipe.recv()


def _follow() -> None:
    """End this worker when the process that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def portable(outcome: Outcome) -> Outcome:
    """An outcome that can be pickled: its error as one of ours, with the traceback as text."""
    if outcome.error is None:
        return outcome
    said = "".join(traceback.format_exception(outcome.error))
    error = as_autogaze_error(outcome.error, outcome.task.item.name)
    error.__cause__ = error.__traceback__ = None
    return replace(outcome, error=error, traceback=said)
