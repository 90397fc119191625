"""Which frames of a video are taken, from which of its streams, and at which size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeVar, get_args

from autogaze_cli.errors import ConfigError
from autogaze_cli.media.limits import Limits

MAX_START, MAX_FRAMES, MAX_SIDE = 10**9, 2**31 - 1, 65535
"""The latest start in seconds, the most frames, and the longest side in pixels."""

ToneMap = Literal["auto", "none"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a video is read: which frames, from which stream, at which size.

    Attributes:
        start: Seconds after the first frame of the video; earlier frames are left out.
        frames: At most this many frames; None = all.
        fps: Frames per second, counted from ``start``; None = every frame of the video.
        width: Pixels; None = the video's own, or what keeps the aspect ratio when height is given.
        height: Pixels; likewise.
        stream: Index of the stream in the file; None = the one that FFmpeg takes, which is the
            largest, with preference for the default one.
        tone_map: ``auto`` maps HDR (PQ and HLG) to BT.709; ``none`` keeps the values.
        allow_truncated: Whether a file of which the end is missing is read as far as it goes.
        limits: Bounds on what is read.
        isolate: Whether a process of its own decodes, with limits on memory and time.
        pipes: Whether an input may be a pipe, whose writer is waited for.
    """

    start: Fraction = Fraction(0)
    frames: int | None = None
    fps: Fraction | None = None
    width: int | None = None
    height: int | None = None
    stream: int | None = None
    tone_map: ToneMap = "auto"
    allow_truncated: bool = False
    limits: Limits = field(default_factory=Limits)
    isolate: bool = False
    pipes: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled."""
        if not 0 <= self.start <= MAX_START:
            raise ConfigError(f"start must be within 0 to {MAX_START} seconds, not {self.start}")
        if self.fps is not None and self.fps <= 0:
            raise ConfigError(f"fps must be above 0, not {self.fps}")
        for name, most in (("frames", MAX_FRAMES), ("width", MAX_SIDE), ("height", MAX_SIDE)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ConfigError(f"{name} must be within 1 to {most}, not {value}")
        if self.stream is not None and self.stream < 0:
            raise ConfigError(f"stream must be 0 or more, not {self.stream}")
        if self.tone_map not in get_args(ToneMap):
            raise ConfigError(f"tone_map must be auto or none, not {self.tone_map!r}")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The width and height of the sampled frames of a video of this displayed size.

        >>> Sampling(width=640).size(1920, 1080)
        (640, 360)
        """
        if self.width is None and self.height is None:
            return width, height
        if self.width is None:
            assert self.height is not None
            return _scaled(width, self.height, height), self.height
        return self.width, self.height or _scaled(height, self.width, width)


def _scaled(side: int, numerator: int, denominator: int) -> int:
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def paced(timed: Iterable[tuple[Fraction, Fraction, T]], fps: Fraction) -> Iterator[tuple[int, T]]:
    """Frames at a constant rate, as FFmpeg's ``fps`` filter takes them.

    Frame ``n`` is the last one whose time, in units of ``1 / fps`` and rounded, is at most ``n``.

    Args:
        timed: Time of each frame and its end in seconds, both rising from 0, and the frame.
        fps: Frames per second.

    Yields:
        ``n``, and the frame. The first ``n`` is that of the first frame.

    >>> list(paced([(Fraction(0), Fraction(1), "a"), (Fraction(1), Fraction(2), "b")], Fraction(2)))
    [(0, 'a'), (1, 'a'), (2, 'b'), (3, 'b')]

    Source: visualization spec 6.3.
    """
    held: list[T] = []
    n, last = 0, Fraction(0)
    for time, end, frame in timed:
        tick = _tick(time, fps)
        if held:
            yield from ((number, held[0]) for number in range(n, tick))
        n = max(n, tick)
        held, last = [frame], end
    if held:
        yield from ((number, held[0]) for number in range(n, _tick(last, fps)))


def _tick(time: Fraction, fps: Fraction) -> int:
    return int(time * fps + Fraction(1, 2))
