"""What a user asks for: one frozen, validated value, built where the request enters.

``make_request`` is the door. The command line and the Python calls come through it; behind it
nothing looks at an option again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.budget import requirement_from_db
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.jobs.values import EngineName, Source, Values
from autogaze_cli.media.sampling import MAX_SIDE, Sampling
from autogaze_cli.media.times import parse_rate, parse_time
from autogaze_cli.model.catalog import MODELS, default_model
from autogaze_cli.readout import (
    ReadoutSettings,
    SparseReadoutGrid,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.visualize.settings import Visualization

if TYPE_CHECKING:
    from autogaze_cli.media.writers import Format

T = TypeVar("T")

MAX_GIF_WIDTH = 640
"""Pixels of width a GIF has at most, unless a size is asked for."""

COMMANDS = ("trace", "mask", "interframe", "readout", "render-assets")
"""The commands over videos."""

_SIDES = (
    *("inference_width", "inference_height", "gif_width", "gif_height"),
    *("clip_width", "clip_height"),
)
_DRAWN = ("gif", "mp4", "webm", "png")
_FORMATS = {
    "trace": ("json", "npz", "safetensors", "csv"),
    "readout": ("npz", "safetensors", "json", "csv"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What is drawn, and into which kind of file.

    Attributes:
        visualization: How masks and outputs are composed.
        format: ``gif``, ``mp4``, ``webm`` or ``png``.
        width: Of the files, in pixels; None = from the height, or the frames' own (a GIF's at most
            ``MAX_GIF_WIDTH``).
        height: As ``width``.
    """

    visualization: Visualization
    format: Format = "gif"
    width: int | None = None
    height: int | None = None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the files for frames of that size."""
        wanted = self.width
        if self.format == "gif" and wanted is None and self.height is None:
            wanted = min(width, MAX_GIF_WIDTH)
        return Sampling(width=wanted, height=self.height).size(width, height)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Where outputs go, and how many inputs are processed. No output's content depends on these.

    Attributes:
        out_dir: Folder of the outputs.
        overwrite: Replace outputs that exist.
        check: Write nothing; compare with what exists.
        dry_run: Plan only.
        resume: Skip what an earlier run into the same folder finished.
        fail_fast: Stop at the first input that fails.
        workers: Worker processes.
        engine: ``local`` or ``ray``.
        address: Of the Ray cluster.
        gpus_per_worker: GPUs that Ray reserves per worker; None = 1 on a GPU, else 0.
    """

    out_dir: Path = Path()
    overwrite: bool = False
    check: bool = False
    dry_run: bool = False
    resume: bool = False
    fail_fast: bool = False
    workers: int = 1
    engine: EngineName = "local"
    address: str | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out."""
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1, not {self.workers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a command over videos.

    Attributes:
        command: The command's name, one of ``COMMANDS``.
        inputs: What the user named, before folders and patterns are expanded.
        gaze: Which gaze source runs, and how.
        sampling: Which frames.
        drawing: How to draw; None for commands that do not.
        readout: What to read out; None for the other commands.
        format: Of the file that the command writes.
        report: Whether to write a page to look at too.
        trace: A saved trace that takes the gaze source's place.
        traces: Those of ``inputs`` that were named as saved traces.
        batch: Where outputs go, and how many inputs are processed.
        origin: What to say about where the gaze comes from, beside the source's name.
        given: The settings that the user gave.
    """

    command: str
    inputs: tuple[str, ...]
    gaze: GazeSettings
    sampling: Sampling
    drawing: Drawing | None = None
    readout: ReadoutSettings | None = None
    format: str
    report: bool = False
    trace: Path | None = None
    traces: tuple[str, ...] = ()
    batch: BatchSettings = field(default_factory=BatchSettings)
    origin: str = ""
    given: frozenset[str] = frozenset()

    def output_settings(self) -> dict[str, Any]:
        """What the content of outputs depends on, beside the input, the model and the device."""
        gaze = asdict(self.gaze)
        for name in ("device", "threads"):
            del gaze[name]
        parts: dict[str, Any] = {
            "gaze": gaze,
            "sampling": asdict(self.sampling),
            "drawing": self.drawing and asdict(self.drawing),
            "readout": self.readout and asdict(self.readout),
            "format": self.format,
            "report": self.report,
        }
        return cast("dict[str, Any]", _plain(parts))

    def refuse_gaze_settings(self, trace: str) -> None:
        """Refuse settings that choose a video's frames or gaze, which a saved trace has already.

        Raises:
            ConfigError: One was given.
        """
        for name in _FIXED_BY_A_TRACE:
            if name in self.given:
                raise ConfigError(
                    f"--{name.replace('_', '-')} cannot be used with the saved trace {trace}, "
                    "whose frames and gaze are fixed",
                    hint="leave it out, or give the video without the trace",
                )


_FIXED_BY_A_TRACE = (
    *GazeSettings.__dataclass_fields__,
    *("task_loss_requirement_db", "start", "fps", "inference_width", "inference_height"),
    *("stream", "tone_map", "allow_truncated"),
)


def make_request(
    command: str,
    inputs: Sequence[Source],
    values: Values,
    given: Collection[str] = (),
    models: Path = MODELS,
) -> Request:
    """Check the settings of one call, once.

    Args:
        command: One of ``COMMANDS``.
        inputs: Files, folders, patterns, lists.
        values: All settings of the command.
        given: The names of those that the user gave; the others are at their defaults.
        models: The folder of the bundled models.

    Raises:
        ConfigError: A setting is out of range, or contradicts another.
    """
    for name in _SIDES:
        side = values.get(name)
        if side is not None and not 1 <= cast("int", side) <= MAX_SIDE:
            raise ConfigError(f"{name} must be within 1 to {MAX_SIDE}, not {side}")
    format = values.get("format", "gif")
    if format not in _FORMATS.get(command, _DRAWN):
        known = ", ".join(_FORMATS.get(command, _DRAWN))
        raise ConfigError(f"format must be one of {known}, not {format!r}")
    drawing = None
    if command in ("mask", "interframe", "render-assets"):
        drawing = Drawing(
            visualization=_pick(Visualization, values),
            format=cast("Format", format),
            width=values["gif_width"],
            height=values["gif_height"],
        )
        if command == "render-assets" and drawing.visualization.keyframe_duration < 1:
            raise ConfigError("keyframe_duration of render-assets must be at least 1")
    traces = tuple(os.fspath(name) for name in values.get("traces", ()))
    trace = values.get("trace")
    request = Request(
        command=command,
        inputs=(*(os.fspath(name) for name in inputs), *traces),
        gaze=gaze_settings(values, models),
        sampling=_sampling(values),
        drawing=drawing,
        readout=_readout(values) if command == "readout" else None,
        format=format,
        report=values.get("report", False),
        trace=None if trace is None else Path(trace),
        traces=traces,
        batch=replace(_pick(BatchSettings, values), out_dir=Path(values["out_dir"])),
        origin="" if values["mask_source"] or trace else ", because no --model is given",
        given=frozenset(given),
    )
    if request.trace is not None:
        request.refuse_gaze_settings(str(request.trace))
    return request


def gaze_settings(values: Values, models: Path = MODELS) -> GazeSettings:
    """Which gaze source runs, and how: the model named, else the default one, else patch-diff.

    Raises:
        ConfigError: A setting is out of range, or contradicts another.
    """
    source, model = values["mask_source"], values["model"]
    if source == "patch-diff":
        model = None
    elif model is None:
        model = default_model(models)
    else:
        model = os.fspath(model)
    requirement = values["task_loss_requirement"]
    if (db := values["task_loss_requirement_db"]) is not None:
        if not db > -math.inf:  # nor NaN
            raise ConfigError(f"task_loss_requirement_db must be a number of decibels, not {db}")
        requirement = requirement_from_db(db)
    resolved: Values = {
        **values,
        "mask_source": source or ("patch-diff" if model is None else "autogaze"),
        "model": model,
        "task_loss_requirement": requirement,
    }
    return _pick(GazeSettings, resolved)


def _sampling(values: Values) -> Sampling:
    start, fps = values.get("start"), values["fps"]
    return Sampling(
        start=Fraction(0) if start is None else _named("start", parse_time, start),
        frames=values["frames"],
        fps=None if fps is None else _named("fps", parse_rate, fps),
        width=values["inference_width"],
        height=values["inference_height"],
        stream=values["stream"],
        tone_map=values["tone_map"],
        allow_truncated=values["allow_truncated"],
    )


def _readout(values: Values) -> ReadoutSettings:
    grid = values["image_grid"]
    patch_h, patch_w = _sides("patch_size", values["patch_size"])
    return ReadoutSettings(
        patch_h=patch_h,
        patch_w=patch_w,
        clip_height=values["clip_height"],
        clip_width=values["clip_width"],
        image_grid=None if grid is None else SparseReadoutGrid(*_sides("image_grid", grid)),
        readout_options=SparseReadoutOptions(
            confidence_threshold=float(values["min_confidence"]),
            max_fixations_per_frame=values["max_fixations_per_frame"],
            dilation=values["dilation"],
            max_tokens_per_frame=values["max_tokens_per_frame"],
        ),
        video_options=SparseVideoReadoutOptions(
            tubelet_size=values["tubelet_size"],
            min_tokens=values["min_tokens"],
            max_tokens=values["max_tokens"],
        ),
        emit=tuple(values["emit"]),
    )


def _pick(settings: type[T], values: Values) -> T:
    """Settings of a dataclass from the values of the same names."""
    names = [f.name for f in fields(settings)]  # type: ignore[arg-type]  # T is a dataclass
    return settings(**{name: values[name] for name in names if name in values})  # type: ignore[literal-required]


def _sides(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width; one number stands for both."""
    height, width = (value, value) if isinstance(value, int) else value
    if not 0 <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ConfigError(f"{name} must be within 1 to {MAX_SIDE}, not {value}")
    return height, width


def _named(name: str, parse: Any, value: object) -> Fraction:
    try:
        return cast("Fraction", parse(value))
    except ConfigError as error:
        raise ConfigError(f"{name} {error}") from error


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
