"""The header of a trace: the video, the gaze source and its settings."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from autogaze_cli.errors import FormatError

FORMAT = "autogaze-trace"
VERSION = 1

_INT64_MAX = 2**63 - 1
_FRACTION = re.compile(r"-?[0-9]{1,19}(/[0-9]{1,19})?", re.ASCII)


def expect(ok: bool, name: str, value: object, rule: str) -> None:
    """Refuse ``value`` unless ``ok``, in the one wording for all fields."""
    if not ok:
        raise FormatError(f"{name} is {reprlib.repr(value)}, not {rule}")


def expect_keys(mapping: object, names: Mapping[str, object] | list[str], what: str) -> None:
    """Refuse anything but a mapping with exactly the keys ``names``."""
    if not isinstance(mapping, dict):
        raise FormatError(f"{what} is {reprlib.repr(mapping)}, not an object")
    if missing := [name for name in names if name not in mapping]:
        raise FormatError(f"{what} has no {missing[0]!r}")
    if unknown := sorted(set(mapping) - set(names)):
        raise FormatError(f"{what} has an unknown {unknown[0]!r}")


def parse_fraction(text: object, name: str) -> Fraction:
    """A fraction from its text, such as ``1/8`` or ``3``.

    Raises:
        FormatError: It is not of that form, or does not fit 64-bit integers.
    """
    if isinstance(text, str) and _FRACTION.fullmatch(text):
        numerator, _, denominator = text.partition("/")
        if int(denominator or 1):
            return check_fraction(Fraction(int(numerator), int(denominator or 1)), name)
    raise FormatError(f"{name} is {reprlib.repr(text)}, not a fraction such as '1/8'")


def check_fraction(value: Fraction, name: str) -> Fraction:
    """Refuse a fraction whose terms do not fit 64-bit integers."""
    fits = abs(value.numerator) <= _INT64_MAX and value.denominator <= _INT64_MAX
    expect(fits, name, str(value), "a fraction of 64-bit integers")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHeader:
    """The metadata of a trace.

    Attributes:
        source: The video, as the user named it.
        source_width: Width of the video in pixels; 0 = unknown, as for the other sizes.
        source_height: Height of the video in pixels.
        width: Width in pixels of the frames the gaze source was given.
        height: Height in pixels of the frames the gaze source was given.
        fps: Frames per second of the frames that were gazed at.
        mask_source: The gaze source, such as ``autogaze``; ``trace-store`` for an imported trace.
        model: The model's name or folder; None without one.
        model_sha256: SHA-256 of its weights; None without one.
        scales: Its scales, such as ``32+64+112+224``; None without one.
        num_vision_tokens_each_frame: Its token ids per frame and tile; None without one.
        mode: ``resize``, ``tiled`` or ``tiled-full``.
        tile_size: Tile size in pixels; 0 = unknown.
        stride: Tile stride in pixels; 0 = unknown.
        tile_count: Tiles per frame, at least 1.
        settings: The settings of the run, as JSON values.
        tool_version: The version of the program that made the trace.

    Raises:
        FormatError: A field is of the wrong type or out of range.
    """

    source: str
    source_width: int
    source_height: int
    width: int
    height: int
    fps: Fraction
    mask_source: str
    model: str | None
    model_sha256: str | None
    scales: str | None
    num_vision_tokens_each_frame: int | None
    mode: str
    tile_size: int
    stride: int
    tile_count: int
    settings: dict[str, Any]
    tool_version: str

    def __post_init__(self) -> None:
        """Refuse values that no file could hold."""
        for name in ("source", "mask_source", "mode", "tool_version"):
            value = getattr(self, name)
            expect(type(value) is str, name, value, "text")
        for name in ("model", "model_sha256", "scales"):
            value = getattr(self, name)
            expect(value is None or type(value) is str, name, value, "text or null")
        sizes = ("source_width", "source_height", "width", "height", "tile_size", "stride")
        for name in sizes:
            _expect_int(name, getattr(self, name), at_least=0)
        _expect_int("tile_count", self.tile_count, at_least=1)
        if self.num_vision_tokens_each_frame is not None:
            _expect_int("num_vision_tokens_each_frame", self.num_vision_tokens_each_frame, 1)
        expect(self.fps > 0, "fps", str(self.fps), "a fraction above 0")
        check_fraction(self.fps, "fps")
        expect(type(self.settings) is dict, "settings", self.settings, "an object")
        try:
            same = json.loads(json.dumps(self.settings, allow_nan=False)) == self.settings
        except (TypeError, ValueError, RecursionError):
            same = False
        expect(same, "settings", self.settings, "what JSON can hold (text keys, lists, no NaN)")

    def to_mapping(self) -> dict[str, Any]:
        """The header as JSON has it: ``format`` and ``version``, then the fields in order."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"format": FORMAT, "version": VERSION, **values, "fps": str(self.fps)}

    @classmethod
    def from_mapping(cls, mapping: object) -> TraceHeader:
        """The header from what ``to_mapping`` gave.

        Raises:
            FormatError: Another format or version, or a key is missing, unknown or out of range.
        """
        if not isinstance(mapping, dict):
            raise FormatError(f"the header is {reprlib.repr(mapping)}, not an object")
        expect(mapping.get("format") == FORMAT, "format", mapping.get("format"), repr(FORMAT))
        version = mapping.get("version")
        if type(version) is not int or version != VERSION:
            raise FormatError(
                f"version is {reprlib.repr(version)}, and this program knows {VERSION} only",
                hint="read it with the version of autogaze that wrote it",
            )
        names = [field.name for field in fields(cls)]
        expect_keys(mapping, ["format", "version", *names], "the header")
        values = {name: mapping[name] for name in names}
        return cls(**{**values, "fps": parse_fraction(values["fps"], "fps")})


def dump_header(header: TraceHeader) -> str:
    """The header as one line of ASCII JSON."""
    return json.dumps(header.to_mapping(), allow_nan=False)


def parse_header(text: str) -> TraceHeader:
    """The header from its JSON text.

    Raises:
        FormatError: See ``parse_json`` and ``TraceHeader.from_mapping``.
    """
    return TraceHeader.from_mapping(parse_json(text, "the header"))


def parse_json(text: str, what: str, object_hook: Any = dict) -> Any:
    """JSON without repeated keys and without NaN.

    Args:
        text: The JSON.
        what: How a message names it.
        object_hook: Called with each object's key-value pairs once they are known to be unique.

    Raises:
        FormatError: It is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        if len(dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            raise FormatError(f"{what} has {next(n for n in names if names.count(n) > 1)!r} twice")
        return object_hook(pairs)

    def refuse(constant: str) -> None:
        raise FormatError(f"{what} holds {constant}, which JSON has no number for")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{what} is not JSON at line {error.lineno}, column {error.colno} ({error.msg})",
            hint="the file may be cut short",
        ) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON ({error})") from error


def _expect_int(name: str, value: object, at_least: int) -> None:
    ok = type(value) is int and at_least <= value <= _INT64_MAX
    expect(ok, name, value, f"an integer of at least {at_least}")
