"""The most that one video may ask of the machine that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

from autogaze_cli.errors import ConfigError, InputError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_ROUNDING = 64 << 16
"""Pixels by which FFmpeg may round up a frame, by its rows, before it compares them."""

_MOST = 10**18
"""Of any limit, which is as good as none."""


MOST_SIDE = 1 << 16
"""Pixels, as in a trace; rows of millions make a decoder copy them over and over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one video; reading more is an error. They never change a result.

    Attributes:
        pixels: Of a frame, as stored and as displayed. 8K video has 35 million.
        frames: Number of frames, as decoded or as sampled, and as an index claims.
        seconds: Duration.
        bytes: Of all decoded frames together, at three per pixel.
        memory: Bytes that an isolated decoder may take.
        frame_seconds: Time in which an isolated decoder must give the next frame.
    """

    pixels: int = 40_000_000
    frames: int = 10_000_000
    seconds: int = 7 * 86_400
    bytes: int = 1 << 44
    memory: int = 4 << 30
    frame_seconds: int = 60

    def __post_init__(self) -> None:
        """Refuse limits that are none."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 1 <= value <= _MOST:
                raise ConfigError(
                    f"limit {field.name} must be an integer from 1 to {_MOST}, not {value!r}"
                )

    def changed(self, settings: Iterable[str]) -> Self:
        """A copy with other values, each given as ``NAME=VALUE``.

        Raises:
            ConfigError: There is no limit of that name, or the value is not one.
        """
        names = [field.name for field in fields(self)]
        values: dict[str, int] = {}
        for setting in settings:
            name, _, text = setting.partition("=")
            if name not in names or not (text.isascii() and text.isdecimal() and len(text) < 20):
                raise ConfigError(
                    f"limit must be NAME=INTEGER with one of {', '.join(names)}, not {setting!r}",
                    hint="for example --limit pixels=100000000",
                )
            values[name] = int(text)
        return replace(self, **values)

    def require(self, path: Path, name: str, value: int | Fraction, what: str) -> None:
        """Refuse a file with too much of something.

        Args:
            path: The file.
            name: Which limit.
            value: How much there is.
            what: The same in words, such as "frames of 100000x100000 pixels".

        Raises:
            InputError: It is more than the limit.
        """
        most = getattr(self, name)
        if value > most:
            raise InputError(
                f"{path}: has {what}, over the limit of {most} {name}",
                hint=f"if you trust the file, raise it with --limit {name}=NUMBER",
            )

    @property
    def allocated_pixels(self) -> int:
        """FFmpeg's ``max_pixels``, above which a frame is not even allocated."""
        return self.pixels + _ROUNDING

    def require_size(self, path: Path, width: int, height: int) -> None:
        """Refuse frames that are too large; see ``require``.

        Raises:
            InputError: They are, or a side is longer than any.
        """
        if max(width, height) > MOST_SIDE:
            raise InputError(
                f"{path}: has frames of {width}x{height} pixels, and a side has {MOST_SIDE} at most"
            )
        self.require(path, "pixels", width * height, f"frames of {width}x{height} pixels")

    def bounded(
        self, path: Path, frames: Iterable[VideoFrame], time_base: Fraction
    ) -> Iterator[VideoFrame]:
        """The same frames, as long as they are within the limits; see ``require``."""
        first: int | None = None
        size = 0
        for count, frame in enumerate(frames, 1):
            assert frame.pts is not None
            first = frame.pts if first is None else first
            size += 3 * frame.width * frame.height
            self.require_size(path, frame.width, frame.height)
            self.require(path, "frames", count, f"at least {count} frames")
            seconds = (frame.pts - first) * time_base
            self.require(path, "seconds", seconds, f"a frame at {float(seconds):g} s")
            self.require(path, "bytes", size, f"{size} bytes of decoded frames")
            yield frame


UNTRUSTED = Limits(
    pixels=9_000_000,
    frames=1_000_000,
    seconds=86_400,
    bytes=1 << 40,
    memory=1 << 30,
    frame_seconds=20,
)
"""For videos of others: 4K, a day."""
