"""The request of a user as one frozen, validated value.

``make_request`` is the only entry point, for the command line and for Python calls; code behind it
does not validate options again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from autogaze_cli.errors import ConfigError, refuse_address
from autogaze_cli.gaze.budget import requirement_from_db
from autogaze_cli.gaze.settings import MODES, GazeSettings
from autogaze_cli.jobs.settings import BatchSettings, Drawing, Encoding
from autogaze_cli.jobs.values import Source, Values
from autogaze_cli.media.limits import UNTRUSTED, Limits
from autogaze_cli.media.sampling import MAX_SIDE, Sampling
from autogaze_cli.media.times import parse_rate, parse_time
from autogaze_cli.model.catalog import MODELS, default_model
from autogaze_cli.readout import (
    ReadoutSettings,
    SparseReadoutGrid,
    SparseReadoutOptions,
    SparseVideoReadoutOptions,
)
from autogaze_cli.readout.grids import check_whole
from autogaze_cli.sources.registry import check_source_name
from autogaze_cli.trace import Trace, read_trace
from autogaze_cli.visualize.settings import Visualization, canonical_name

if TYPE_CHECKING:
    from autogaze_cli.media.writers import Format

T = TypeVar("T")

COMMANDS = ("trace", "mask", "interframe", "readout", "render-assets", "encode")
"""The commands that process videos."""

_SIDES = (
    *("inference_width", "inference_height", "gif_width", "gif_height"),
    *("clip_width", "clip_height"),
)
_DRAWN = ("gif", "mp4", "webm", "png", "apng", "webp")
_FORMATS = {
    "trace": ("json", "npz", "safetensors", "csv"),
    "readout": ("npz", "safetensors", "json", "csv"),
    "encode": ("safetensors",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a command that processes videos.

    Attributes:
        command: The command's name, one of ``COMMANDS``.
        inputs: The names given by the user, before folders and patterns are expanded.
        gaze: Settings of the gaze source.
        sampling: The frames to read.
        drawing: How to draw; None for commands that do not draw.
        readout: What to read out; None for commands other than ``readout``.
        encoding: How to encode; None for commands other than ``encode``.
        format: Format of the command's output file.
        report: Whether to also write a page.
        timing: Where to write how long each frame took.
        trace: A saved trace that replaces the gaze source.
        trace_clip: Which clip of a trace store is read.
        trace_maps: Whether the visibility maps of a trace store are read.
        traces: Those of ``inputs`` that were given as saved traces.
        batch: Output folder and execution of the batch.
        origin: Text appended to the logged name of the gaze source.
        given: The names of the settings given by the user.
    """

    command: str
    inputs: tuple[str, ...]
    gaze: GazeSettings
    sampling: Sampling
    drawing: Drawing | None = None
    readout: ReadoutSettings | None = None
    encoding: Encoding | None = None
    format: str
    report: bool = False
    timing: Path | None = None
    trace: Path | None = None
    trace_clip: int = 0
    trace_maps: bool = False
    traces: tuple[str, ...] = ()
    batch: BatchSettings = field(default_factory=BatchSettings)
    origin: str = ""
    given: frozenset[str] = frozenset()

    def output_settings(self) -> dict[str, Any]:
        """All that the content of outputs depends on, except the input, model and device."""
        gaze = asdict(self.gaze)
        for name in ("device", "threads"):
            del gaze[name]
        sampling = asdict(self.sampling)
        for name in ("limits", "isolate", "pipes"):
            del sampling[name]
        parts: dict[str, Any] = {
            "gaze": gaze,
            "sampling": sampling,
            "drawing": self.drawing and asdict(self.drawing),
            "readout": self.readout and asdict(self.readout),
            "format": self.format,
            "report": self.report,
        }
        if self.encoding is not None:
            parts["encoding"] = asdict(self.encoding)
        if self.trace_clip or self.trace_maps:
            parts["store"] = {"clip": self.trace_clip, "maps": self.trace_maps}
        return cast("dict[str, Any]", _plain(parts))

    def read_trace(self, path: str | Path) -> Trace:
        """A saved trace; of a trace store, what the request asks for."""
        return read_trace(path, clip=self.trace_clip, maps=self.trace_maps)

    def refuse_gaze_settings(self, trace: str) -> None:
        """Refuse settings that choose a video's frames or gaze, which a saved trace fixes.

        Raises:
            ConfigError: Such a setting was given.
        """
        free = ("device", "dtype", "threads") if self.encoding is not None else ()
        for name in _FIXED_BY_A_TRACE:
            if name in self.given and name not in free:
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
    """Validate the settings of one call.

    Args:
        command: One of ``COMMANDS``.
        inputs: Files, folders, patterns, lists.
        values: All settings of the command.
        given: The names of the settings given by the user; the others have their defaults.
        models: The folder of the bundled models.

    Raises:
        ConfigError: A setting is out of range, or contradicts another.
    """
    _check(values)
    formats = _FORMATS.get(command, _DRAWN)
    format = values.get("format", formats[0])
    if format not in formats:
        raise ConfigError(f"format must be one of {', '.join(formats)}, not {format!r}")
    traces = tuple(os.fspath(name) for name in values.get("traces", ()))
    trace, timing = values.get("trace"), values.get("timing")
    request = Request(
        command=command,
        inputs=(*(os.fspath(name) for name in inputs), *traces),
        gaze=gaze_settings(values, models),
        sampling=sampling_settings(values),
        drawing=_drawing(command, values, format),
        readout=_readout(values) if command == "readout" else None,
        encoding=_encoding(values, given) if command == "encode" else None,
        format=format,
        report=values.get("report", False),
        timing=None if timing is None else Path(timing),
        trace=None if trace is None else Path(trace),
        trace_clip=values.get("trace_clip", 0),
        trace_maps=values.get("trace_maps", False),
        traces=traces,
        batch=replace(_pick(BatchSettings, values), out_dir=Path(values["out_dir"])),
        origin="" if values["mask_source"] or trace else ", because no --model is given",
        given=frozenset(given),
    )
    if request.trace is not None:
        request.refuse_gaze_settings(str(request.trace))
    return request


def _check(values: Values) -> None:
    """Refuse what no settings class takes."""
    for name in _SIDES:
        side = values.get(name)
        if side is not None and not 1 <= cast("int", side) <= MAX_SIDE:
            raise ConfigError(f"{name} must be within 1 to {MAX_SIDE}, not {side}")
    timing = values.get("timing")
    for place in (values.get("trace"), values["out_dir"], timing):
        if place is not None:
            refuse_address(os.fspath(place))
    if timing is not None and not os.fspath(timing):
        raise ConfigError("timing must be the name of a file, not empty")
    if values.get("trace_clip", 0) < 0:
        raise ConfigError(f"trace_clip must be at least 0, not {values['trace_clip']}")


def _drawing(command: str, values: Values, format: str) -> Drawing | None:
    """How to draw; None for commands that do not."""
    if command not in ("mask", "interframe", "render-assets"):
        return None
    drawing = Drawing(
        visualization=_pick(Visualization, values),
        format=cast("Format", format),
        width=values["gif_width"],
        height=values["gif_height"],
        side_by_side=values.get("side_by_side", False),
    )
    if command == "render-assets" and drawing.visualization.keyframe_duration < 1:
        raise ConfigError("keyframe_duration of render-assets must be at least 1")
    return drawing


def gaze_settings(values: Values, models: Path = MODELS) -> GazeSettings:
    """Settings of the gaze source: the one given, or the default model, or patch-diff.

    Raises:
        ConfigError: There is no such source, or a setting is out of range or contradicts another.
    """
    source, model = values["mask_source"], values["model"]
    if source is not None:
        check_source_name(source)
    if source not in (None, "autogaze"):
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
    tokens = values["max_gaze_tokens_each_frame"]
    resolved: Values = {
        **values,
        "mask_source": source or ("patch-diff" if model is None else "autogaze"),
        "model": model,
        "task_loss_requirement": requirement,
        "mode": canonical_name("mode", values["mode"], MODES),
        "max_gaze_tokens_each_frame": None if tokens == 0 else tokens,
    }
    return _pick(GazeSettings, resolved)


def sampling_settings(values: Values) -> Sampling:
    """The frames to read.

    Raises:
        ConfigError: A setting is out of range.
    """
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
        limits=(UNTRUSTED if values["untrusted"] else Limits()).changed(values["limit"]),
        isolate=values["isolate"] or values["untrusted"],
        pipes=not values["untrusted"],
    )


def _readout(values: Values) -> ReadoutSettings:
    grid = values["image_grid"]
    check_whole(video_dilation=values["video_dilation"])
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
            fixation_scale=float(values["fixation_scale"]),
            dilation=values["dilation"],
            max_tokens_per_frame=values["max_tokens_per_frame"],
        ),
        video_options=SparseVideoReadoutOptions(
            tubelet_size=values["tubelet_size"],
            dilation=values["video_dilation"],
            min_tokens=values["min_tokens"],
            max_tokens=values["max_tokens"],
        ),
        emit=tuple(values["emit"]),
        merge=values["merge"],
        route=values["route"],
        batch_index=values["batch_index"],
    )


def _encoding(values: Values, given: Collection[str]) -> Encoding:
    if values["encoder"] is None:
        raise ConfigError(
            "encode needs an encoder", hint="give --encoder FOLDER, or an id in the Hub cache"
        )
    if values["dense"] and values["compare_dense"]:
        raise ConfigError("--dense and --compare-dense exclude each other", hint="give one of them")
    if values["dense"] and "attend" in given:
        raise ConfigError(
            "--attend cannot be used with --dense, where tokens see what the model was made for",
            hint="leave it out",
        )
    return _pick(Encoding, {**values, "encoder": os.fspath(values["encoder"])})


def _pick(settings: type[T], values: Values) -> T:
    """A settings dataclass from the values of the same names."""
    names = [f.name for f in fields(settings)]  # type: ignore[arg-type]  # T is a dataclass
    return settings(**{name: values[name] for name in names if name in values})  # type: ignore[literal-required]


def _sides(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width; one number applies to both."""
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
    """A value in JSON types."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
