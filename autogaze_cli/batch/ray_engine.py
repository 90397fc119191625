"""Work on a Ray cluster: a worker is an actor, on any machine that has room for it."""

from __future__ import annotations

import logging
import os
import pickle
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from autogaze_cli.batch.local import GRACE_S, TRIES, Worker, shared_out
from autogaze_cli.batch.ray_cluster import connected, load_ray, refuse_without_room
from autogaze_cli.batch.ray_worker import SHARED, Actor
from autogaze_cli.batch.work import Begin, Engine, Outcome, Outcomes, Task, Work
from autogaze_cli.errors import AutogazeError, ConfigError
from autogaze_cli.version import __version__

logger = logging.getLogger(__name__)

_HANDED_ON = ("AUTOGAZE_", "GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE")
"""How the environment variables start that hold for workers too."""


def ray_engine(
    *, workers: int, address: str | None, cpus_per_worker: int, gpus_per_worker: float
) -> Engine:
    """An engine whose workers are actors of a Ray cluster.

    Args:
        workers: How many there are at most.
        address: Of the cluster, ``HOST:PORT``; None = of ``RAY_ADDRESS``, else the one that runs on
            this machine, else one that is started for this run.
        cpus_per_worker: Cores that Ray reserves for a worker.
        gpus_per_worker: GPUs, or a part of one, likewise.

    Raises:
        ConfigError: Ray is not installed, or has no such address or share of GPUs.
    """
    if gpus_per_worker > 1 and gpus_per_worker % 1:
        raise ConfigError(
            f"--gpus-per-worker {gpus_per_worker} cannot be reserved",
            hint="give a part of one GPU, or a whole number",
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
    begin: Begin,
) -> Outcomes:
    workers = min(workers, len(tasks))
    with connected(address, round(workers * room["num_cpus"])):
        refuse_without_room(workers, room)
        yield from shared_out(_Crew(work, workers, room, begin), tasks)


class _Worker(Worker):
    """A worker that is an actor, and what it is saying.

    Attributes:
        says: Yields references to what the call in progress says; None = it is idle.
        tries: How often its place was filled in vain; 0 once the work is open.
    """

    def __init__(self, actor: Any, says: Any, tries: int) -> None:
        super().__init__()
        self.actor, self.says, self.tries = actor, says, tries


class _Crew:
    """The actors; a ``local.Crew``."""

    def __init__(self, work: Work, count: int, room: dict[str, float], begin: Begin) -> None:
        ray = load_ray()
        self._begin = begin
        self._new = ray.remote(Actor).options(**room, max_concurrency=2).remote
        environment = {k: v for k, v in os.environ.items() if k.startswith(_HANDED_ON)}
        if not room["num_gpus"]:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        level = logging.getLogger("autogaze_cli").level
        # The work is bytes until versions are known to be the same.
        self._opening = (__version__, str(Path.cwd()), environment, level, pickle.dumps(work))
        self._workers = [self._start(1) for _ in range(count)]
        self._first: _Worker | None = None

    def _start(self, tries: int) -> _Worker:
        actor = self._new()
        says = actor.open.options(num_returns="streaming").remote(*self._opening)
        return _Worker(actor, says, tries)

    def busy(self) -> bool:
        return any(worker.task for worker in self._workers)

    def idle(self) -> bool:
        return any(worker.says is None for worker in self._workers)

    def give(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.says is None)
        worker.take(task, self._begin)
        worker.says = worker.actor.do.options(num_returns="streaming").remote(task)

    def wait(self) -> list[Outcome | Task]:
        ray = load_ray()
        talking = {worker.says: worker for worker in self._workers if worker.says is not None}
        ready, _ = ray.wait(list(talking), num_returns=1)
        found: list[Outcome | Task] = []
        for says in ready:
            worker = talking[says]
            try:
                said = ray.get(next(says))
            except StopIteration:
                worker.says, worker.tries = None, 0
            except ray.exceptions.RayTaskError:
                raise  # a fault of ours
            except ray.exceptions.RayError as error:  # it ended, or its machine did
                found += self._lost(worker, error)
            else:
                found += self._heard(worker, said)
        return found

    def _heard(self, worker: _Worker, said: object) -> list[Outcome | Task]:
        if isinstance(said, AutogazeError):
            raise said
        if isinstance(said, Outcome):
            worker.done()
            _refuse_unseen(said)
            return [said]
        if isinstance(said, tuple):
            worker.advance(*said)
        elif isinstance(said, logging.LogRecord):
            # Of the workers that open the work, one is heard: all say the same of the model.
            self._first = self._first or worker
            if worker.task or worker is self._first:
                logging.getLogger(said.name).handle(said)
        return []

    def _lost(self, worker: _Worker, error: Any) -> list[Outcome | Task]:
        """Replace a worker; the task it had.

        Raises:
            AutogazeError: It cannot even open the work.
        """
        if getattr(error, "actor_init_failed", False):
            why = str(error).strip().rpartition("\n")[2]
            raise ConfigError(
                f"a machine of the Ray cluster cannot load autogaze {__version__}: {why}",
                hint="install the same version on all of them",
            )
        if worker.tries == TRIES:
            raise AutogazeError(
                f"a Ray worker ended {TRIES} times before it could begin",
                hint="it may have run out of memory: give fewer --workers; or RAY_AUTH_MODE is not "
                "that of the cluster",
            )
        found: list[Outcome | Task] = [worker.task] if worker.task else []
        worker.done()
        load_ray().kill(worker.actor)  # one that is out of reach must not keep its place
        self._workers[self._workers.index(worker)] = self._start(worker.tries + 1)
        return found

    def end(self) -> None:
        ray = load_ray()
        busy = [worker for worker in self._workers if worker.task]
        for worker in busy:
            worker.actor.stop.remote()
        until = time.monotonic() + GRACE_S
        for worker in busy:
            with suppress(StopIteration, ray.exceptions.RayError):
                while (left := until - time.monotonic()) > 0:
                    ready, _ = ray.wait([worker.says], timeout=left)
                    for says in ready:
                        ray.get(next(says))
            worker.done()
        for worker in self._workers:
            ray.kill(worker.actor)


def _refuse_unseen(outcome: Outcome) -> None:
    """Refuse outputs that are not here but on a worker's own disk.

    Raises:
        ConfigError: Naming one.
    """
    if outcome.result is None or outcome.result.differences:
        return
    for path in outcome.result.files.values():
        with suppress(OSError):  # on a network file system, opening a folder renews what is in it
            os.close(os.open(path.parent, os.O_RDONLY))
        if not path.exists():
            raise ConfigError(f"{path}: was written by a worker, and is not here", hint=SHARED)
