"""Which frames of a video are taken, and at which size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from autogaze_cli.errors import ConfigError

MAX_START, MAX_FRAMES, MAX_SIDE = 10**9, 2**31 - 1, 65535
"""The latest start in seconds, the most frames, and the longest side in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which frames of a video, and at which size.

    Attributes:
        start: Seconds after the first frame of the video; earlier frames are left out.
        frames: At most this many frames; None = all.
        fps: Frames a second, counted from ``start``; None = every frame of the video.
        width: Pixels; None = the video's own, or what keeps the aspect ratio when height is given.
        height: Pixels; likewise.
    """

    start: Fraction = Fraction(0)
    frames: int | None = None
    fps: Fraction | None = None
    width: int | None = None
    height: int | None = None

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
