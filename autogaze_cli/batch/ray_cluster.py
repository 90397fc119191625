"""Connects to a Ray cluster or starts one, and checks its free resources."""

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

from autogaze_cli.cpus import available_cpus
from autogaze_cli.errors import ConfigError

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
        try:
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
    finally:
        ray.shutdown()


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
