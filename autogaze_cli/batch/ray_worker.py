"""A worker on a Ray cluster, as it is on its own machine; it knows nothing of Ray."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from autogaze_cli.batch.inputs import is_pattern
from autogaze_cli.batch.local import Line, attempt, portable
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.errors import AutogazeError, ConfigError, InputError, as_autogaze_error
from autogaze_cli.progress import Advance
from autogaze_cli.version import __version__

SHARED = "inputs, outputs and models belong on a file system that all machines of the cluster share"
"""What to do when a machine does not see a file."""


class Actor:
    """A worker's side: opens the work, then does a task at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)  # the model stays in one thread
        self._stopped = threading.Event()
        self._do: Do | None = None
        self._level = logging.INFO

    def open(
        self, version: str, folder: str, environment: dict[str, str], level: int, work: bytes
    ) -> Iterator[object]:
        """Open the work, as the driver has it; yields messages, and the error if there is one."""
        self._level = level

        def opened(line: Line) -> None:
            try:
                _settle(version, folder, environment)
                self._do = pickle.loads(work).open(0, 1)  # noqa: S301  # of our driver
            except Exception as error:  # noqa: BLE001  # said by the driver
                line.send(as_autogaze_error(error))

        yield from self._said(opened)

    def do(self, task: Task) -> Iterator[object]:
        """Do a task; yields messages, progress, and its outcome."""

        def done(line: Line) -> None:
            def advance(done: float, total: int | None) -> None:
                if self._stopped.is_set():
                    raise AutogazeError("stopped")
                line.advance(done, total)

            assert self._do is not None
            outcome = attempt(partial(_seen, self._do), task, advance)
            line.send(portable(outcome))

        yield from self._said(done)

    def stop(self) -> None:
        """Give up the task in progress."""
        self._stopped.set()

    def _said(self, function: Callable[[Line], None]) -> Iterator[object]:
        queue = SimpleQueue[object]()
        line = Line(queue.put)
        line.listen(self._level)
        ended = self._thread.submit(function, line)
        ended.add_done_callback(lambda _: queue.put(None))
        while (said := queue.get()) is not None:
            yield said
        ended.result()  # raises what went wrong in telling it


def _settle(version: str, folder: str, environment: dict[str, str]) -> None:
    """Make this process like the driver's."""
    host = socket.gethostname()
    if version != __version__:
        raise ConfigError(
            f"{host} has autogaze {__version__}, and this machine {version}",
            hint="install the same version on every machine of the cluster",
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(f"{host} does not see the folder {folder}", hint=SHARED) from error
    os.environ.update(environment)


def _seen(do: Do, task: Task, advance: Advance) -> Result:
    """Do a task whose input this machine sees."""
    item = task.item
    if not (Path(item.path).exists() or is_pattern(item.path)):
        raise InputError(f"{item.name}: {socket.gethostname()} does not see it", hint=SHARED)
    return do(task, advance)
