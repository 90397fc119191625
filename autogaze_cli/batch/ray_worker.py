"""The worker side of the Ray engine, which itself does not depend on Ray."""

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

from autogaze_cli.batch.local import Channel, attempt, portable
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.errors import AutogazeError, ConfigError, InputError, as_autogaze_error
from autogaze_cli.media.sequence import is_pattern
from autogaze_cli.progress import Advance
from autogaze_cli.version import __version__

SHARED = "inputs, outputs and models belong on a file system that all machines of the cluster share"
"""The hint when a file is not visible on a machine."""


class Actor:
    """A worker: opens the work, then runs one task at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)  # the model is used by one thread only
        self._stopped = threading.Event()
        self._do: Do | None = None
        self._level = logging.INFO

    def open(
        self, version: str, folder: str, environment: dict[str, str], level: int, work: bytes
    ) -> Iterator[object]:
        """Open the driver's work; yields log records, and the error if it fails."""
        self._level = level

        def open_work(channel: Channel) -> None:
            try:
                _match_driver(version, folder, environment)
                self._do = pickle.loads(work).open(0, 1)  # noqa: S301  # sent by our driver
            except Exception as error:  # noqa: BLE001  # reported by the driver
                channel.send(as_autogaze_error(error))

        yield from self._stream(open_work)

    def do(self, task: Task) -> Iterator[object]:
        """Run a task; yields log records, progress, and its outcome."""

        def run_task(channel: Channel) -> None:
            def advance(done: float, total: int | None) -> None:
                if self._stopped.is_set():
                    raise AutogazeError("stopped")
                channel.advance(done, total)

            assert self._do is not None
            outcome = attempt(partial(_do_if_visible, self._do), task, advance)
            channel.send(portable(outcome))

        yield from self._stream(run_task)

    def stop(self) -> None:
        """Abort the task in progress."""
        self._stopped.set()

    def _stream(self, function: Callable[[Channel], None]) -> Iterator[object]:
        queue = SimpleQueue[object]()
        channel = Channel(queue.put)
        channel.capture_logs(self._level)
        ended = self._thread.submit(function, channel)
        ended.add_done_callback(lambda _: queue.put(None))
        while (message := queue.get()) is not None:
            yield message
        ended.result()  # raises the error if sending failed


def _match_driver(version: str, folder: str, environment: dict[str, str]) -> None:
    """Give this process the driver's working folder and environment."""
    host = socket.gethostname()
    if version != __version__:
        raise ConfigError(
            f"{host} has autogaze {__version__}, but this machine has {version}",
            hint="install the same version on every machine of the cluster",
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(f"{host} cannot access the folder {folder}", hint=SHARED) from error
    os.environ.update(environment)


def _do_if_visible(do: Do, task: Task, advance: Advance) -> Result:
    """Run a task, provided that its input is visible on this machine."""
    item = task.item
    if not (Path(item.path).exists() or is_pattern(item.path)):
        raise InputError(f"{item.name}: not visible on {socket.gethostname()}", hint=SHARED)
    return do(task, advance)
