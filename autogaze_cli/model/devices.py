"""Which device a model runs on."""

from __future__ import annotations

import torch

from autogaze_cli.errors import DeviceError
from autogaze_cli.gaze.settings import ALL_GPUS, check_device_name


def available_devices() -> list[str]:
    """The devices of this machine that ``choose_device`` accepts: ``cpu``, ``cuda:0``, ..."""
    gpus = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of a name; ``auto`` is the first CUDA GPU where there is one, otherwise the CPU.

    ``cuda:all``, all GPUs, counts as the first. ``mps``, an Apple GPU, runs the layers written in
    PyTorch; it is untested.

    Raises:
        DeviceError: The name is unknown, or this machine has no such device.
    """
    name = str(name)
    check_device_name(name)
    found = available_devices()
    if name == "auto":
        return torch.device("cuda" if "cuda:0" in found else "cpu")
    device = torch.device("cuda:0" if name == ALL_GPUS else name)
    wanted = f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
    if wanted not in found:
        raise DeviceError(
            f"device {name} is not available", hint=f"this machine has {', '.join(found)}"
        )
    return device
