"""The local engines: this process, or a pool of worker processes."""

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
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Lock, Thread
from types import ModuleType
from typing import Protocol

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.stopping import stopped_by_signals
from autogaze_cli.batch.work import Do, OnStart, Outcome, Outcomes, Task, Work, WorkerLostError
from autogaze_cli.errors import AutogazeError, as_autogaze_error
from autogaze_cli.progress import Advance

logger = logging.getLogger(__name__)

TRIES = 2
"""Maximum attempts at a task whose worker dies."""

GRACE_S = 10.0
"""Seconds that a terminated worker has to remove its partially written outputs."""

_PROGRESS_EVERY_S = 0.2

_SAFE_PATH = "PYTHONSAFEPATH"


def one_process(work: Work, tasks: list[Task], on_start: OnStart) -> Outcomes:
    """Run the tasks in this process, one after another."""
    do = work.open(0, 1)
    for task in tasks:
        try:
            with on_start(task) as advance:
                outcome = attempt(do, task, advance)
        except AutogazeError as error:
            outcome = Outcome(task, error=error)
        yield outcome


def attempt(do: Do, task: Task, advance: Advance) -> Outcome:
    """Run one task; an exception becomes part of its outcome."""
    start = time.monotonic()
    try:
        result = do(task, advance)
    except Exception as error:  # noqa: BLE001  # one input never stops the others
        return Outcome(task, error=error, seconds=time.monotonic() - start)
    return Outcome(task, result=result, seconds=time.monotonic() - start)


def processes(workers: int, work: Work, tasks: list[Task], on_start: OnStart) -> Outcomes:
    """Run the tasks in ``workers`` new processes, each of which loads its own model."""
    return run_on_pool(_ProcessPool(work, min(workers, len(tasks)), on_start), tasks)


class WorkerPool(Protocol):
    """Workers that each run one task at a time; a worker that dies is replaced."""

    def busy(self) -> bool:
        """Whether any worker has a task."""

    def idle(self) -> bool:
        """Whether any worker is ready for a task."""

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker.

        Raises:
            AutogazeError: The task cannot be started; the worker is still idle.
        """

    def wait(self) -> list[Outcome | Task]:
        """Wait for messages; return new outcomes, and the tasks of workers that died.

        Raises:
            AutogazeError: A worker could not open the work.
        """

    def close(self) -> None:
        """Stop all workers, including busy ones, which remove partially written outputs."""


def run_on_pool(pool: WorkerPool, tasks: list[Task]) -> Outcomes:
    """Run the tasks on a pool, and close the pool.

    A task whose worker dies (out of memory, killed) is retried once.
    """
    waiting, attempts = deque(tasks), Counter[Input]()
    try:
        while waiting or pool.busy():
            while waiting and pool.idle():
                task = waiting.popleft()
                attempts[task.item] += 1
                try:
                    pool.submit(task)
                except AutogazeError as error:
                    yield Outcome(task, error=error)
            if not waiting and not pool.busy():
                break  # no task could be started, and none ends
            for found in pool.wait():
                if isinstance(found, Outcome):
                    yield found
                elif attempts[found.item] < TRIES:
                    logger.warning("%s: worker died; retrying", found.item.name)
                    # Outputs that exist now were written by the worker that died.
                    waiting.appendleft(replace(found, overwrite=True))
                else:
                    yield Outcome(found, error=_worker_lost(found))
    finally:
        pool.close()


def _worker_lost(task: Task) -> WorkerLostError:
    return WorkerLostError(
        f"{task.item.name}: worker died twice",
        hint="it may have run out of memory: give fewer --workers or a smaller --tile-batch-size",
    )


class Worker:
    """A worker of a pool, with its task and the task's progress display."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.advance: Advance = lambda done, total: None
        self._shown: AbstractContextManager[Advance] | None = None

    def start_task(self, task: Task, on_start: OnStart) -> None:
        """Assign a task and open its progress display."""
        shown = on_start(task)
        self.advance = shown.__enter__()
        self.task, self._shown = task, shown

    def finish_task(self) -> None:
        """Close the progress display; the worker is idle then."""
        if self._shown is not None:
            self._shown.__exit__(None, None, None)
        self.task = self._shown = None


class _Process(Worker):
    """A worker process and the pipe to it."""

    def __init__(self, work: Work, number: int, count: int) -> None:
        super().__init__()
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.pipe, child_pipe = context.Pipe()
        level = logging.getLogger("autogaze_cli").getEffectiveLevel()
        self.process = context.Process(
            target=_serve, args=(work, number, count, child_pipe, level), daemon=True
        )
        with _without_main_module(), _current_folder_not_imported():
            resource_tracker.ensure_running()  # start() would, and unblock the interrupts
            with _interrupts_blocked():
                self.process.start()
        child_pipe.close()


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep new processes from importing the caller's script, which would run it again in each.

    Workers need nothing of it, and it may lack ``if __name__ == "__main__"`` or not be a file.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _current_folder_not_imported() -> Iterator[None]:
    """Keep new processes from importing modules of the current folder, which may be anybody's.

    Python starts them with ``-c``, which puts that folder before the standard library.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        del os.environ[_SAFE_PATH]
        if before is not None:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Defer Ctrl-C; processes started meanwhile inherit the blocked signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _ProcessPool:
    """A ``WorkerPool`` of processes on this machine."""

    def __init__(self, work: Work, count: int, on_start: OnStart) -> None:
        self._work, self._count, self._on_start = work, count, on_start
        self._workers = [_Process(work, number, count) for number in range(count)]

    def busy(self) -> bool:
        return any(worker.task for worker in self._workers)

    def idle(self) -> bool:
        return not all(worker.task for worker in self._workers)

    def submit(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.start_task(task, self._on_start)
        with suppress(OSError):  # it has died: wait() handles that
            worker.pipe.send(task)

    def wait(self) -> list[Outcome | Task]:
        pipes = {worker.pipe: worker for worker in self._workers if worker.task}
        found: list[Outcome | Task] = []
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]  # only pipes were given
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                assert worker.task is not None
                found.append(worker.task)
                self._replace(worker)
                continue
            if isinstance(message, Outcome):
                worker.finish_task()
                found.append(message)
            elif isinstance(message, AutogazeError):
                raise message
            elif isinstance(message, tuple):
                worker.advance(*message)
            else:
                logging.getLogger(message.name).handle(message)
        return found

    def close(self) -> None:
        with _interrupts_blocked():  # a second Ctrl-C would leave workers behind
            self._close()

    def _close(self) -> None:
        for worker in self._workers:
            if worker.task:
                worker.process.terminate()
            worker.pipe.close()
        deadline = time.monotonic() + GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.finish_task()

    def _replace(self, worker: _Process) -> None:
        worker.finish_task()
        worker.process.join()
        self._workers[worker.number] = _Process(self._work, worker.number, self._count)


class Channel(logging.Handler):
    """Sends a worker's log records, progress and outcomes to the process that started it.

    Args:
        put: Sends one message; called from several threads, never concurrently.
    """

    def __init__(self, put: Callable[[object], None]) -> None:
        super().__init__()
        self._put, self._put_lock = put, Lock()
        self._last = 0.0

    def capture_logs(self, level: int) -> None:
        """Handle all log records of this process at ``level`` or above."""
        root = logging.getLogger("autogaze_cli")
        root.handlers[:] = [self]
        root.setLevel(level)

    def send(self, message: object) -> None:
        """Send any object that can be pickled."""
        with self._put_lock:
            self._put(message)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log record."""
        record.msg, record.args = record.getMessage(), None
        record.exc_info = record.exc_text = None
        self.send(record)

    def advance(self, done: float, total: int | None) -> None:
        """Send progress, at most a few times per second."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self.send((done, total))


def _serve(work: Work, number: int, count: int, pipe: Connection, level: int) -> None:
    """The main function of a worker: opens the work, then runs tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    channel = Channel(pipe.send)
    channel.capture_logs(level)
    lost_parent = suppress(EOFError, BrokenPipeError, ConnectionResetError)
    with lost_parent, stopped_by_signals():
        Thread(target=_exit_with_parent, daemon=True).start()
        task = pipe.recv()
        try:
            do = work.open(number, count)
        except Exception as error:  # noqa: BLE001  # reported by the parent process
            channel.send(as_autogaze_error(error))
            return
        while True:
            channel.send(portable(attempt(do, task, channel.advance)))
            task = pipe.recv()


def _exit_with_parent() -> None:
    """Terminate this worker when its parent process has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def portable(outcome: Outcome) -> Outcome:
    """A copy that can be pickled: an ``AutogazeError``, with the traceback as text."""
    if outcome.error is None:
        return outcome
    text = "".join(traceback.format_exception(outcome.error))
    error = as_autogaze_error(outcome.error, outcome.task.item.name)
    error.__cause__ = error.__traceback__ = None
    return replace(outcome, error=error, traceback=text)
