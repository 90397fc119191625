"""Arguments of the published loaders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from autogaze_cli.errors import ConfigError
from autogaze_cli.model.devices import choose_device


def device_of_map(device_map: Any) -> torch.device:
    """The one device of a ``device_map``; None = the CPU.

    Raises:
        ConfigError: It spreads the model over several devices.
        DeviceError: This machine has no such device.
    """
    if isinstance(device_map, Mapping):
        places = set(device_map.values())
        if len(places) != 1:
            raise ConfigError(f"device_map must name one device, not {sorted(map(str, places))}")
        device_map = places.pop()
    if device_map is None:
        return torch.device("cpu")
    if device_map in ("balanced", "sequential"):
        device_map = "auto"
    return choose_device(f"cuda:{device_map}" if isinstance(device_map, int) else device_map)


def dtype_of(dtype: Any) -> torch.dtype:
    """A ``torch_dtype``, or its name; None and ``"auto"`` = float32, as checkpoints are stored.

    Raises:
        ConfigError: It is no floating-point type.
    """
    if dtype is None or dtype == "auto":
        return torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"torch_dtype must be a floating-point type, not {dtype!r}")
    return found
