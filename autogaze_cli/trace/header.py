"""The header of a trace: the video, the gaze source and its settings."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Annotated, Any

from msgspec import Meta

from autogaze_cli.errors import FormatError
from autogaze_cli.reading import check_fields, checked, document_of, parse_json

FORMAT = "autogaze-trace"
VERSION = 1

MOST_PIXELS = 1 << 16
"""Of a side of a frame."""

MOST_TILES = 1 << 16
"""Of a frame."""

MOST_TOKENS = 1 << 20
"""Of a tile and frame."""

MOST_FPS = 10**6
"""Frames per second; fewer than one in as many seconds is no rate either."""

_INT64_MAX = 2**63 - 1
_Text = Annotated[str, Meta(max_length=1 << 16)]
_Pixels = Annotated[int, Meta(ge=0, le=MOST_PIXELS)]


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
        raise FormatError(f"{what} has an unknown {reprlib.repr(unknown[0])}")


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

    source: _Text
    source_width: _Pixels
    source_height: _Pixels
    width: _Pixels
    height: _Pixels
    fps: Fraction
    mask_source: _Text
    model: _Text | None
    model_sha256: _Text | None
    scales: _Text | None
    num_vision_tokens_each_frame: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None
    mode: _Text
    tile_size: _Pixels
    stride: _Pixels
    tile_count: Annotated[int, Meta(ge=1, le=MOST_TILES)]
    settings: dict[str, Any]
    tool_version: _Text

    def __post_init__(self) -> None:
        """Refuse values that no file could hold."""
        check_fields(self)
        usual = self.fps * MOST_FPS >= 1 and self.fps <= MOST_FPS
        expect(usual, "fps", str(self.fps), f"a fraction above 0, 1/{MOST_FPS} to {MOST_FPS}")
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
        return cls.from_document(checked(mapping, HEADER, "the header"))

    @classmethod
    def from_document(cls, document: Any) -> TraceHeader:
        """The header from a ``HEADER``."""
        return cls(**{field.name: getattr(document, field.name) for field in fields(cls)})


HEADER = document_of(TraceHeader, FORMAT, VERSION)
"""What a header is in a file."""


def dump_header(header: TraceHeader) -> str:
    """The header as one line of ASCII JSON."""
    return json.dumps(header.to_mapping(), allow_nan=False)


def parse_header(text: str) -> TraceHeader:
    """The header from its JSON text.

    Raises:
        FormatError: See ``reading.parse_json`` and ``TraceHeader.from_mapping``.
    """
    return TraceHeader.from_mapping(parse_json(text, "the header"))
