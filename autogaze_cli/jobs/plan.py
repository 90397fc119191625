"""The plan of a request: the work and the checks for its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.work import Work
from autogaze_cli.errors import ConfigError
from autogaze_cli.jobs.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a request, which depends on its inputs: videos, or saved traces.

    Attributes:
        work: The processing of each input.
        check: The preliminary check of an input; raises the errors that it can detect.
        estimate: Estimates the size of an input from the result of ``check``.
        described: All settings that the content of outputs depends on.
        model_sha256: Returns the SHA-256 of the model's weights.
    """

    work: Work
    check: Callable[[Input], object]
    estimate: Callable[[Any], dict[str, Any]] = lambda found: {}
    described: dict[str, Any]
    model_sha256: Callable[[], str | None] = lambda: None


def gpus_per_worker(request: Request) -> float:
    """GPUs that Ray reserves for a worker.

    Raises:
        ConfigError: A GPU is given by its index, which names one machine's GPU.
    """
    device, given = request.gaze.device, request.batch.gpus_per_worker
    if device.startswith("cuda:") and device != "cuda:all":  # cuda:all means all GPUs of a worker
        raise ConfigError(
            f"--device {device} names one machine's GPU; Ray assigns GPUs",
            hint="with --engine ray give --device cuda",
        )
    return float(device.startswith("cuda")) if given is None else given
