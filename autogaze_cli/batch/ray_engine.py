"""Work on a Ray cluster: a worker is an actor, on any machine that has room for it."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autogaze_cli.batch.local import GRACE_S, TRIES, shared_out
from autogaze_cli.batch.ray_worker import SHARED, Actor
from autogaze_cli.batch.work import Begin, Engine, Outcome, Outcomes, Task, Work
from autogaze_cli.errors import AutogazeError, ConfigError
from autogaze_cli.progress import Advance
from autogaze_cli.version import __version__

logger = logging.getLogger(__name__)

_QUIET = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what Ray says of lost workers would go to stdout
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told over the network
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its warning; a worker sees to it itself
}

_STORE_BYTES = 100 << 20
"""Memory for Ray's objects, of which we have only small ones."""

_CONNECT_S = 10.0
"""How long a cluster may take to answer; Ray itself would try for minutes."""

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
    _ray()
    room = {"num_cpus": cpus_per_worker, "num_gpus": gpus_per_worker}
    return partial(_on_cluster, workers, address or os.environ.get("RAY_ADDRESS"), room)


def _ray() -> Any:
    """Ray, whose type hints know nothing of calls that yield.

    Raises:
        ConfigError: It is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # read when it is imported
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed",
            hint="pip install 'autogaze-cli[ray]'",
        ) from error
    return ray


def _on_cluster(
    workers: int,
    address: str | None,
    room: dict[str, float],
    work: Work,
    tasks: list[Task],
    begin: Begin,
) -> Outcomes:
    workers = min(workers, len(tasks))
    with _connected(address, round(workers * room["num_cpus"])):
        _refuse_without_room(workers, room)
        yield from shared_out(_Crew(work, workers, room, begin), tasks)


@contextmanager
def _connected(address: str | None, cpus: int) -> Iterator[None]:
    """A connection to the cluster, unless this process has one."""
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    start = partial(init, "local", include_dashboard=False, object_store_memory=_STORE_BYTES)
    if address is not None:
        _refuse_unreachable(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        try:
            init(address or "auto")
        except ConnectionError:
            if address is not None:
                raise
            start(num_cpus=max(cpus, os.cpu_count() or 1))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster at {address or 'this machine'}: {str(error).partition(chr(10))[0]}",
            hint="see docs/scaling.md",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray had put its own there
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_unreachable(address: str) -> None:
    parts = urlsplit(f"//{address}")
    try:
        where = (parts.hostname or "", parts.port or 0)
    except ValueError:
        where = ("", 0)
    if not all(where):
        raise ConfigError(
            f"--address {address} is not HOST:PORT",
            hint="run on a machine of the cluster, and give what `ray start --head` said there",
        )
    try:
        socket.create_connection(where, timeout=_CONNECT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            hint="`ray status` on one of its machines tells whether it runs",
        ) from error


def _refuse_without_room(workers: int, room: dict[str, float]) -> None:
    names = {"CPU": room["num_cpus"], "GPU": room["num_gpus"]}
    needs = {name: need for name, need in names.items() if need}
    wanted = " and ".join(f"{need:g} {name}" for name, need in needs.items())
    places = sum(
        int(min(node["Resources"].get(name, 0) / need for name, need in needs.items()))
        for node in _ray().nodes()
        if node["Alive"]
    )
    if not places:
        raise ConfigError(
            f"no machine of the Ray cluster has {wanted} for a worker",
            hint="`ray status` shows what they have; see --gpus-per-worker and --threads",
        )
    if places < workers:
        logger.warning(
            "the Ray cluster has room for %d of %d workers of %s", places, workers, wanted
        )


class _Worker:
    """An actor, what it is saying, and the task it has.

    Attributes:
        says: Yields references to what the call in progress says; None = it is idle.
        task: The task; None while it opens the work.
    """

    def __init__(self, actor: Any, says: Any) -> None:
        self.actor, self.says = actor, says
        self.task: Task | None = None
        self.shown: AbstractContextManager[Advance] | None = None
        self.advance: Advance = lambda done, total: None

    def done(self) -> None:
        if self.shown is not None:
            self.shown.__exit__(None, None, None)
        self.task = self.shown = None


class _Crew:
    """The actors; a ``local.Crew``."""

    def __init__(self, work: Work, count: int, room: dict[str, float], begin: Begin) -> None:
        ray = _ray()
        self._begin, self._unopened = begin, 0
        self._new = ray.remote(Actor).options(**room, max_concurrency=2).remote
        environment = {k: v for k, v in os.environ.items() if k.startswith(_HANDED_ON)}
        if not room["num_gpus"]:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        level = logging.getLogger("autogaze_cli").level
        # The work is bytes until versions are known to be the same.
        self._opening = (__version__, str(Path.cwd()), environment, level, pickle.dumps(work))
        self._workers = [self._start() for _ in range(count)]
        self._first = self._workers[0]

    def _start(self) -> _Worker:
        actor = self._new()
        says = actor.open.options(num_returns="streaming").remote(*self._opening)
        return _Worker(actor, says)

    def busy(self) -> bool:
        return any(worker.task for worker in self._workers)

    def idle(self) -> bool:
        return any(worker.says is None for worker in self._workers)

    def give(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.says is None)
        worker.task, worker.shown = task, self._begin(task)
        worker.advance = worker.shown.__enter__()
        worker.says = worker.actor.do.options(num_returns="streaming").remote(task)

    def wait(self) -> list[Outcome | Task]:
        ray = _ray()
        talking = {worker.says: worker for worker in self._workers if worker.says is not None}
        ready, _ = ray.wait(list(talking), num_returns=1)
        found: list[Outcome | Task] = []
        for says in ready:
            worker = talking[says]
            try:
                said = ray.get(next(says))
            except StopIteration:
                worker.says, self._unopened = None, 0
            except ray.exceptions.RayActorError as error:
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
        # One worker says where the gaze comes from; the others would say the same.
        if isinstance(said, tuple):
            worker.advance(*said)
        elif isinstance(said, logging.LogRecord) and (worker.task or worker is self._first):
            logging.getLogger(said.name).handle(said)
        return []

    def _lost(self, worker: _Worker, error: Any) -> list[Outcome | Task]:
        """Replace a worker; the task it had.

        Raises:
            ConfigError: Workers end before they could open the work.
        """
        if worker.task is None:
            self._unopened += 1
        if error.actor_init_failed or self._unopened == TRIES:
            why = str(error).strip().split("\n")[-1]
            raise ConfigError(
                f"a Ray worker could not load autogaze {__version__}: {why}",
                hint="install the same version on every machine of the cluster",
            )
        found: list[Outcome | Task] = [worker.task] if worker.task else []
        worker.done()
        self._workers[self._workers.index(worker)] = self._start()
        return found

    def end(self) -> None:
        ray = _ray()
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
