"""Connects to a Ray cluster or starts one, and checks its free resources."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autogaze_cli.batch.stopping import END_AT_ONCE
from autogaze_cli.cpus import available_cpus
from autogaze_cli.errors import AutogazeError, ConfigError

logger = logging.getLogger(__name__)

_QUIET = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray's messages about dead workers would go to stdout
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage reports over the network
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning; workers set the variable
}

_STORE_BYTES = 100 << 20
"""Size of Ray's object store; only small objects are sent."""

_CONNECT_S = 10.0
"""Timeout of the first connection; Ray itself would retry for minutes."""


_HEAD_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's variable of the seconds after which it ends a process that does not reach the head."""

_HEAD_S = 60.0
"""The value of that variable by default."""

_LOOK_EVERY_S = 1.0


class HeadLostError(AutogazeError):
    """The head of the cluster has ended, or cannot be reached any more."""


class Head:
    """The head of the cluster that this process is connected to, watched from here.

    Ray waits for a head that is gone for a minute, and then ends this process without a word that
    users understand. Half of that time is waited here, for a head that is only restarted.
    """

    def __init__(self) -> None:
        self.address: str = load_ray().get_runtime_context().gcs_address
        self.lost = False
        seconds = _HEAD_S
        with suppress(ValueError):
            seconds = float(os.environ.get(_HEAD_VARIABLE, ""))
        self._patience_s = seconds / 2
        self._looked = self._seen = time.monotonic()

    def check(self) -> bool:
        """Whether the head answered lately; looks once a second at most.

        Raises:
            HeadLostError: It did not for half of the time after which Ray gives up.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            with suppress(OSError):
                host, _, port = self.address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=_LOOK_EVERY_S).close()
                self._seen = now
        if now - self._seen > self._patience_s:
            self.lost = True
            raise HeadLostError(
                f"the head of the Ray cluster at {self.address} does not answer any more",
                hint="start the cluster again, and the same command with --resume",
            )
        return self._seen == self._looked

    def wait(self) -> None:
        """Return once the head answers again; raises as ``check``."""
        while not self.check():
            time.sleep(_LOOK_EVERY_S / 10)


def load_ray() -> Any:
    """The module ``ray``, untyped because its hints do not cover streaming calls.

    Raises:
        ConfigError: Ray is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # read when Ray is imported
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed",
            hint="pip install 'autogaze-cli[ray]'",
        ) from error
    return ray


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[None]:
    """A connection to a cluster, unless this process is connected already.

    Args:
        address: Address of the cluster, ``HOST:PORT``; None = the cluster running on this machine,
            otherwise a new one, which is shut down with the connection.
        cpus: Minimum number of CPU cores that a new cluster advertises.

    Raises:
        ConfigError: There is no cluster at the address.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield
        return
    init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    start = partial(init, "local", include_dashboard=False, object_store_memory=_STORE_BYTES)
    if address not in (None, "auto"):
        _refuse_unreachable(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _in_a_folder_of_ours():
            try:
                if address is None and _last_is_gone():
                    raise ConnectionError
                init(address or "auto")
            except ConnectionError:
                if address is not None:
                    raise
                start(num_cpus=max(cpus, available_cpus()))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster at {address or 'this machine'}: {str(error).partition(chr(10))[0]}",
            hint="a cluster started with a token needs RAY_AUTH_MODE=token here too",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # replaced by Ray
    try:
        yield
    except HeadLostError:
        END_AT_ONCE.set()  # Ray would wait for the head when the interpreter ends
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


@contextmanager
def _in_a_folder_of_ours() -> Iterator[None]:
    """Connect from where this package is, unless modules of the current folder may be imported.

    Ray lets workers import modules of the folder that a driver connects from, before their own.
    """
    before = Path.cwd()
    if any(os.path.realpath(place) == os.path.realpath(before) for place in sys.path):
        yield
        return
    os.chdir(Path(__file__).parents[2])
    try:
        yield
    finally:
        os.chdir(before)


def _last_is_gone() -> bool:
    """Whether the last cluster of this machine was not stopped, but does not answer any more.

    Ray would wait for it, and then end this process.
    """
    with suppress(ImportError, AttributeError):  # not a public function
        from ray._private.utils import read_ray_address

        last = read_ray_address()
        if last:
            try:
                _refuse_unreachable(last)
            except ConfigError:
                return True
    return False


def _refuse_unreachable(address: str) -> None:
    parts = urlsplit(f"//{address}")
    try:
        endpoint = (parts.hostname or "", parts.port or 0)
    except ValueError:
        endpoint = ("", 0)
    if not all(endpoint):
        raise ConfigError(
            f"{address} is not HOST:PORT of a Ray cluster",
            hint="run on a machine of the cluster, and give the address printed by "
            "`ray start --head`",
        )
    try:
        socket.create_connection(endpoint, timeout=_CONNECT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            hint="`ray status` on one of its machines shows whether it is running",
        ) from error


def refuse_without_room(workers: int, room: Mapping[str, float]) -> None:
    """Warn if the cluster cannot run all workers at once, and refuse one that cannot run any.

    Args:
        workers: Number of workers requested.
        room: Resources that each worker needs: ``num_cpus`` and ``num_gpus``.

    Raises:
        ConfigError: No machine of the cluster has the resources for a worker.
    """
    names = {"CPU": room["num_cpus"], "GPU": room["num_gpus"]}
    needs = {name: need for name, need in names.items() if need}
    wanted = " and ".join(f"{need:g} {name}" for name, need in needs.items())
    places = sum(
        int(min(node["Resources"].get(name, 0) / need for name, need in needs.items()))
        for node in load_ray().nodes()
        if node["Alive"]
    )
    if not places:
        raise ConfigError(
            f"no machine of the Ray cluster has {wanted} for a worker",
            hint="`ray status` shows their resources; see --gpus-per-worker and --threads",
        )
    if places < workers:
        logger.warning(
            "the Ray cluster has room for %d of %d workers of %s", places, workers, wanted
        )
