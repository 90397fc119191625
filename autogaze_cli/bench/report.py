"""The figures of a benchmark: the document, its table, and a comparison of two runs."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from autogaze_cli.errors import ConfigError
from autogaze_cli.reading import brief, read_saved
from autogaze_cli.version import __version__

FORMAT, VERSION = "autogaze-bench", 1


@dataclass(frozen=True, slots=True)
class Figure:
    """The time of one stage.

    Attributes:
        stage: What was timed.
        seconds: The best time.
        device: ``cpu`` or ``cuda``.
        frames: Frames processed in that time.
        dtype: Precision of the model; None without one.
        batch: Clips or tiles per batch; None if it does not apply.
        task_loss_requirement: Where frames stopped early; None = nowhere, or not applicable.
        operations: Additions and multiplications; None = not counted.
        ceiling_gflops: Peak rate of the device at that precision; None if it does not apply.
        mask_source: The gaze source of a case of the matrix; None elsewhere.
        mode: Its mode.
        style: What is drawn of it; None of the gaze itself.
    """

    stage: str
    seconds: float
    device: str
    frames: int
    dtype: str | None = None
    batch: int | None = None
    task_loss_requirement: float | None = None
    operations: int | None = None
    ceiling_gflops: float | None = None
    mask_source: str | None = None
    mode: str | None = None
    style: str | None = None

    @property
    def name(self) -> str:
        """Its name: equal in all runs that measure the same.

        >>> Figure("vision", 0.5, "cpu", 16, dtype="float32", batch=8).name
        'cpu/float32/vision/batch-8'
        >>> Figure("draw", 0.5, "cpu", 16, mask_source="patch-diff", mode="tiled").name
        'cpu/draw/patch-diff/tiled'
        """
        parts = [self.device, self.dtype, self.stage, self.mask_source, self.mode, self.style]
        if self.batch is not None:
            parts.append(f"batch-{self.batch}")
        if self.task_loss_requirement is not None:
            parts.append(f"loss-{self.task_loss_requirement:g}")
        return "/".join(part for part in parts if part)

    def to_mapping(self) -> dict[str, Any]:
        """The figure as an entry of the document."""
        gflops = None if self.operations is None else self.operations / self.seconds / 1e9
        ratio = None
        if gflops is not None and self.ceiling_gflops is not None:
            ratio = gflops / self.ceiling_gflops
        return {
            "name": self.name,
            "device": self.device,
            "dtype": self.dtype,
            "stage": self.stage,
            "batch": self.batch,
            "task_loss_requirement": self.task_loss_requirement,
            "mask_source": self.mask_source,
            "mode": self.mode,
            "style": self.style,
            "frames": self.frames,
            "seconds": round(self.seconds, 6),
            "frames_per_second": round(self.frames / self.seconds, 3),
            "operations": self.operations,
            "gflops": None if gflops is None else round(gflops, 3),
            "ratio": None if ratio is None else round(ratio, 4),
        }


def document(
    settings: Mapping[str, Any],
    ceilings: Mapping[str, Mapping[str, float]],
    figures: Sequence[Figure],
    growth: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The document of a run."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "tool_version": __version__,
        "machine": machine(),
        "settings": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in settings.items()
        },
        "ceilings": {
            device: {name: round(value, 3) for name, value in found.items()}
            for device, found in ceilings.items()
        },
        "figures": [figure.to_mapping() for figure in figures],
        "growth": list(growth),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    from autogaze_cli.model.native import instruction_set

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "compiled_layers": instruction_set(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The figures as text: name, frames/s, ms per frame, seconds, GFLOP, GFLOP/s, ratio."""
    for figure in found["figures"]:
        operations = figure["operations"]
        yield (
            figure["name"],
            f"{figure['frames_per_second']:,.1f}",
            f"{1000 * figure['seconds'] / figure['frames']:,.2f}",
            f"{figure['seconds']:,.3f}",
            "" if operations is None else f"{operations / 1e9:,.1f}",
            "" if figure["gflops"] is None else f"{figure['gflops']:,.0f}",
            "" if figure["ratio"] is None else f"{figure['ratio']:.0%}",
        )


class TimedFigure(TypedDict):
    """What of a ``Figure`` is compared."""

    name: str
    seconds: Annotated[float, Meta(ge=0)]
    frames: Annotated[int, Meta(ge=1, le=1 << 53)]


class Earlier(TypedDict):
    """What of a document is held against a new one."""

    settings: dict[str, Any]
    figures: list[TimedFigure]


def read_document(path: str) -> Earlier:
    """A document that an earlier run printed with ``--json``.

    Raises:
        InputError: The file cannot be read.
        FormatError: It is not such a document.
    """
    what, hint = "the output of autogaze bench --json", "save one: autogaze bench --json > FILE"
    return read_saved(Path(path), Earlier, FORMAT, VERSION, what, hint)


def slower(new: Mapping[str, Any], old: Mapping[str, Any], tolerance: float) -> list[str]:
    """One line per figure that is slower than before by more than the tolerance.

    Args:
        new: A document.
        old: An earlier document of the same measurements.
        tolerance: Accepted slowdown as a fraction of the earlier time: 0.2 = up to 20 % longer.

    Raises:
        ConfigError: The settings differ, or the documents have no figure in common.
    """
    before = {figure["name"]: figure for figure in old["figures"]}
    lines, compared = [], 0
    same = ("frames", "gazing_ratio", "model", "clip", "quick")
    for name in same:
        if new["settings"][name] != old["settings"].get(name):
            raise ConfigError(
                f"{name} was {brief(old['settings'].get(name))} and is {new['settings'][name]}: "
                "the runs cannot be compared",
                hint=f"measure with the same {name}",
            )
    for figure in new["figures"]:
        earlier = before.get(figure["name"])
        if earlier is None:
            continue
        compared += 1
        now, then = (f["seconds"] / f["frames"] for f in (figure, earlier))
        if now > then * (1 + tolerance):
            lines.append(
                f"{figure['name']}: {1000 * now:.3g} ms per frame, was {1000 * then:.3g} "
                f"({now / then - 1 if then else math.inf:+.0%})"
            )
    if not compared:
        raise ConfigError("the runs have no figure in common", hint="use the same options")
    return lines
