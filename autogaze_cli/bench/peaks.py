"""The peak rates of a machine, with which the model's rates are compared."""

from __future__ import annotations

import logging
from functools import partial

import torch

from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.timing import Timer

logger = logging.getLogger(__name__)

_SIDES = {"cpu": (2048, 768), "cuda": (8192, 2048)}
"""Side of the square matrices that are multiplied: in full, and quick."""


def peak_rates(device: torch.device, settings: BenchSettings) -> dict[str, float]:
    """The rates of a large matrix product (GFLOP/s, per dtype) and of a large copy (GB/s)."""
    logger.info("measuring the peak rates of %s", device)
    timer = Timer(settings.repeats, settings.enough_s, device)
    side = _SIDES[device.type][settings.quick]
    found = {}
    for dtype in settings.dtype:
        a, b = torch.randn(2, side, side, device=device).to(getattr(torch, dtype))
        seconds = timer.best(partial(torch.matmul, a, b))
        found[f"matmul_{dtype}_gflops"] = 2 * side**3 / seconds / 1e9
    size = (1 << 24) if settings.quick else (1 << 28)
    data = torch.zeros(size, dtype=torch.uint8, device=device)
    seconds = timer.best(partial(torch.empty_like(data).copy_, data))
    found["copy_gb_per_second"] = 2 * size / seconds / 1e9  # each byte is read and written
    return found
