"""What a request comes to, once it is known what its inputs are."""

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
    """What a request comes to, once its inputs are known: videos, or saved traces.

    Attributes:
        work: What is done for each input.
        check: The first look at an input; raises what is wrong with it.
        estimate: How much work an input is, from what ``check`` found.
        described: What the content of outputs depends on.
        model_sha256: Of the model's weights.
    """

    work: Work
    check: Callable[[Input], object]
    estimate: Callable[[Any], dict[str, Any]] = lambda found: {}
    described: dict[str, Any]
    model_sha256: Callable[[], str | None] = lambda: None


def gpus_per_worker(request: Request) -> float:
    """GPUs that Ray reserves for a worker.

    Raises:
        ConfigError: A GPU is asked for by its number, which names one machine's GPU.
    """
    device, given = request.gaze.device, request.batch.gpus_per_worker
    if device.startswith("cuda:") and device != "cuda:all":  # all of those that a worker has
        raise ConfigError(
            f"--device {device} names one machine's GPU; Ray assigns GPUs",
            hint="with --engine ray give --device cuda",
        )
    return float(device.startswith("cuda")) if given is None else given
