"""What a benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from autogaze_cli.errors import ConfigError
from autogaze_cli.model.devices import choose_device


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What is measured.

    Attributes:
        model: A model's name or folder; None = the published sizes with seeded weights, and for
            the matrix the default model.
        clip: A video; None = a synthetic one.
        frames: Frames per clip.
        batch: Clips per batch, each number in its turn.
        gazing_ratio: Token budget as a fraction of a frame's tokens.
        task_loss_requirement: Where frames stop early; measured in addition to not stopping.
        device: ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` = the CPU, and a GPU where there is one.
        dtype: Precisions of the model, each in its turn.
        repeats: Timed runs after a warm-up run; the best counts.
        threads: CPU threads; None = PyTorch's choice.
        quick: Small pictures and fewer timed runs: a rough measurement of some ten seconds.
        growth: Also measure twice the frames and twice the batch.
        matrix: Measure whole cases instead: sources, modes and styles.
        case: Patterns of ``source/mode/style``, such as ``autogaze/tiled/*``: the cases of the
            matrix that match one of them; empty = all.
    """

    model: str | None = None
    clip: str | None = None
    frames: int = 16
    batch: tuple[int, ...] = (1, 8)
    gazing_ratio: float = 0.75
    task_loss_requirement: float = 0.7
    device: str = "auto"
    dtype: tuple[str, ...] = ("float32",)
    repeats: int = 3
    threads: int | None = None
    quick: bool = False
    growth: bool = False
    matrix: bool = False
    case: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("frames", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("batch", "dtype"):
            if not getattr(self, name):
                raise ConfigError(f"{name} must be given at least once")
        if min(self.batch) < 1:
            raise ConfigError(f"batch must be at least 1, not {min(self.batch)}")
        if self.case and not self.matrix:
            raise ConfigError("case selects cases of the matrix", hint="give --matrix")
        if self.matrix and self.growth:
            raise ConfigError("growth is not of the matrix", hint="give one of them")
        for dtype in self.dtype:
            if dtype not in ("float32", "bfloat16"):
                raise ConfigError(f"dtype must be float32 or bfloat16, not {dtype!r}")

    @staticmethod
    def defaults(quick: bool) -> dict[str, Any]:
        """Values of what is not given: fewer frames and one batch in a quick run."""
        return {"frames": 4, "batch": (1,)} if quick else {"frames": 16, "batch": (1, 8)}

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of synthetic frames in pixels."""
        return (640, 360) if self.quick else (1920, 1080)

    @property
    def enough_s(self) -> float:
        """Seconds after which a measurement is not repeated again."""
        return 0.5 if self.quick else 4.0

    def devices(self) -> list[torch.device]:
        """The devices to measure."""
        if self.device != "auto":
            return [choose_device(self.device)]
        found = [torch.device("cpu")]
        return [*found, torch.device("cuda")] if torch.cuda.is_available() else found
