"""A Ray cluster: finding or starting one, and whether it has room."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from autogaze_cli.batch.cpus import available_cpus
from autogaze_cli.errors import ConfigError

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


def load_ray() -> Any:
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


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[None]:
    """A connection to a cluster, where this process has none yet.

    Args:
        address: Of the cluster, ``HOST:PORT``; None = of the one that runs on this machine, else of
            a new one, which ends with the connection.
        cpus: The cores that a new one says it has, at least.

    Raises:
        ConfigError: There is none at the address.
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
        try:
            init(address or "auto")
        except ConnectionError:
            if address is not None:
                raise
            start(num_cpus=max(cpus, available_cpus()))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster at {address or 'this machine'}: {str(error).partition(chr(10))[0]}",
            hint="one that was started with a token needs RAY_AUTH_MODE=token here too",
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
            f"{address} is not HOST:PORT of a Ray cluster",
            hint="run on a machine of the cluster, and give what `ray start --head` said there",
        )
    try:
        socket.create_connection(where, timeout=_CONNECT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            hint="`ray status` on one of its machines tells whether it runs",
        ) from error


def refuse_without_room(workers: int, room: Mapping[str, float]) -> None:
    """Warn of a cluster that has no room for all workers, and refuse one without room for any.

    Args:
        workers: How many are wanted.
        room: What each takes: ``num_cpus`` and ``num_gpus``.

    Raises:
        ConfigError: No machine of it has room for one.
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
            hint="`ray status` shows what they have; see --gpus-per-worker and --threads",
        )
    if places < workers:
        logger.warning(
            "the Ray cluster has room for %d of %d workers of %s", places, workers, wanted
        )
