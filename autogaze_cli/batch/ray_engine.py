"""The engine for a Ray cluster: each worker is an actor on any machine with free resources."""

from __future__ import annotations

import logging
import os
import pickle
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from autogaze_cli.batch.local import GRACE_S, TRIES, Worker, run_on_pool
from autogaze_cli.batch.ray_cluster import Head, connected, load_ray, refuse_without_room
from autogaze_cli.batch.ray_worker import SHARED, Actor
from autogaze_cli.batch.work import Engine, OnStart, Outcome, Outcomes, Task, Work
from autogaze_cli.errors import AutogazeError, ConfigError
from autogaze_cli.version import __version__

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
"""How long to wait for a message before the head of the cluster is looked at."""

_INHERITED = ("AUTOGAZE_", "GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE")
"""Prefixes of the environment variables that are passed on to workers."""


def ray_engine(
    *, workers: int, address: str | None, cpus_per_worker: int, gpus_per_worker: float
) -> Engine:
    """An engine whose workers are actors of a Ray cluster.

    Args:
        workers: Maximum number of workers.
        address: Address of the cluster, ``HOST:PORT``; None = ``RAY_ADDRESS`` if set, otherwise the
            cluster running on this machine, otherwise a new one for this run.
        cpus_per_worker: CPU cores that Ray reserves per worker.
        gpus_per_worker: GPUs that Ray reserves per worker; may be a fraction of one.

    Raises:
        ConfigError: Ray is not installed, the address is invalid, or GPUs cannot be divided so.
    """
    if gpus_per_worker > 1 and gpus_per_worker % 1:
        raise ConfigError(
            f"--gpus-per-worker {gpus_per_worker} cannot be reserved",
            hint="give a fraction of one GPU, or a whole number",
        )
    load_ray()
    room = {"num_cpus": cpus_per_worker, "num_gpus": gpus_per_worker}
    return partial(_on_cluster, workers, address or os.environ.get("RAY_ADDRESS"), room)


def _on_cluster(
    workers: int,
    address: str | None,
    room: dict[str, float],
    work: Work,
    tasks: list[Task],
    on_start: OnStart,
) -> Outcomes:
    workers = min(workers, len(tasks))
    with connected(address, round(workers * room["num_cpus"])):
        refuse_without_room(workers, room)
        yield from run_on_pool(_ActorPool(work, workers, room, on_start), tasks)


class _Worker(Worker):
    """A worker that is a Ray actor.

    Attributes:
        messages: Yields references to the messages of the call in progress; None = idle.
        tries: Attempts at starting it so far; 0 once the work is open.
    """

    def __init__(self, actor: Any, messages: Any, tries: int) -> None:
        super().__init__()
        self.actor, self.messages, self.tries = actor, messages, tries


class _ActorPool:
    """A ``WorkerPool`` of Ray actors."""

    def __init__(self, work: Work, count: int, room: dict[str, float], on_start: OnStart) -> None:
        ray = load_ray()
        self._head = Head()
        self._on_start = on_start
        self._new = ray.remote(Actor).options(**room, max_concurrency=2).remote
        environment = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
        if not room["num_gpus"]:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        level = logging.getLogger("autogaze_cli").level
        # The work stays pickled until the versions are known to be equal.
        self._opening = (__version__, str(Path.cwd()), environment, level, pickle.dumps(work))
        self._workers = [self._start(1) for _ in range(count)]
        self._first: _Worker | None = None

    def _start(self, tries: int) -> _Worker:
        actor = self._new()
        messages = actor.open.options(num_returns="streaming").remote(*self._opening)
        return _Worker(actor, messages, tries)

    def busy(self) -> bool:
        return any(worker.task for worker in self._workers)

    def idle(self) -> bool:
        return any(worker.messages is None for worker in self._workers)

    def submit(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.messages is None)
        worker.start_task(task, self._on_start)
        worker.messages = worker.actor.do.options(num_returns="streaming").remote(task)

    def wait(self) -> list[Outcome | Task]:
        ray = load_ray()
        streams = {
            worker.messages: worker for worker in self._workers if worker.messages is not None
        }
        ready, _ = ray.wait(list(streams), num_returns=1, timeout=_LOOK_S)
        self._head.check()
        found: list[Outcome | Task] = []
        for messages in ready:
            worker = streams[messages]
            try:
                message = ray.get(next(messages))
            except StopIteration:
                worker.messages, worker.tries = None, 0
            except ray.exceptions.RayTaskError:
                raise  # a bug in this program
            except ray.exceptions.RayError as error:  # the worker died, or its machine went down
                found += self._replace(worker, error)
            else:
                found += self._handle(worker, message)
        return found

    def _handle(self, worker: _Worker, message: object) -> list[Outcome | Task]:
        if isinstance(message, AutogazeError):
            raise message
        if isinstance(message, Outcome):
            worker.finish_task()
            _refuse_missing_outputs(message)
            return [message]
        if isinstance(message, tuple):
            worker.advance(*message)
        elif isinstance(message, logging.LogRecord):
            # All workers log the same when they open the work; only one of them is shown.
            self._first = self._first or worker
            if worker.task or worker is self._first:
                logging.getLogger(message.name).handle(message)
        return []

    def _replace(self, worker: _Worker, error: Any) -> list[Outcome | Task]:
        """Replace a worker that died, and return its task, if it had one.

        Raises:
            AutogazeError: The workers cannot open the work.
        """
        if getattr(error, "actor_init_failed", False):
            reason = str(error).strip().rpartition("\n")[2]
            raise ConfigError(
                f"a machine of the Ray cluster cannot load autogaze {__version__}: {reason}",
                hint="install the same version on all machines",
            )
        if worker.tries == TRIES:
            raise AutogazeError(
                "a Ray worker died twice while starting",
                hint="it may have run out of memory: give fewer --workers; or RAY_AUTH_MODE is "
                "not that of the cluster",
            )
        self._head.wait()  # without it no other can be started
        found: list[Outcome | Task] = [worker.task] if worker.task else []
        worker.finish_task()
        load_ray().kill(worker.actor)  # an unreachable one must not keep its resources
        self._workers[self._workers.index(worker)] = self._start(worker.tries + 1)
        return found

    def close(self) -> None:
        ray = load_ray()
        busy = [worker for worker in self._workers if worker.task]
        for worker in busy:
            worker.actor.stop.remote()
        deadline = time.monotonic() + GRACE_S
        for worker in busy:
            with suppress(StopIteration, ray.exceptions.RayError):
                while (left := deadline - time.monotonic()) > 0:
                    ready, _ = ray.wait([worker.messages], timeout=left)
                    for messages in ready:
                        ray.get(next(messages))
            worker.finish_task()
        for worker in self._workers if not self._head.lost else ():
            ray.kill(worker.actor)


def _refuse_missing_outputs(outcome: Outcome) -> None:
    """Refuse outputs that exist only on a worker's own disk.

    Raises:
        ConfigError: An output is not visible on this machine.
    """
    if outcome.result is None or outcome.result.differences:
        return
    for path in outcome.result.files.values():
        with suppress(OSError):  # on a network file system, opening a folder refreshes its entries
            os.close(os.open(path.parent, os.O_RDONLY))
        if not path.exists():
            raise ConfigError(f"{path}: written by a worker, but not visible here", hint=SHARED)
