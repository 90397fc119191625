"""When the frames of a drawn file are shown: one clock for all files that are drawn of a video."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import lcm
from typing import Generic, TypeVar

_JITTER = Fraction(1, 1000)
"""How far frames at a constant rate may be off: containers that count milliseconds round so."""

MIN_DELAY = 2
"""Centiseconds; browsers show for 10 what a GIF wants shown for less."""

MAX_RATE = 1_000_000
"""Units per second above which times are not all whole."""

MAX_DELAY = 65535
"""Centiseconds, the most a GIF can say."""

T = TypeVar("T")


class Timeline:
    """The times of the frames of one file, counted from the first of them.

    Args:
        fps: Frames per second. Frames that come at this rate get exactly its times.

    Attributes:
        times: Seconds of each frame.
        rate: Units per second in which all times are whole, if there are not too many.
    """

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps
        self._steady = True
        self._origin = Fraction(0)
        self._last = self._end = Fraction(0)
        self.times = array("d")  # hours of frames are kept
        self.rate = 1

    def add(self, time: Fraction | None = None, duration: Fraction | None = None) -> Fraction:
        """Add a frame, and return its time, but for jitter.

        Args:
            time: Seconds on the source's clock; None = ``1 / fps`` after the frame before.
            duration: Seconds it is shown for if it is the last; None = as long as the one before.

        Raises:
            ValueError: It is not after the frame before.
        """
        number = len(self.times)
        nominal = number / self._fps
        if time is None:
            now = self._last + 1 / self._fps if number else nominal
        else:
            if number == 0:
                self._origin = time
            now = time - self._origin
        if number and now <= self._last:
            raise ValueError(f"frame {number} at {now} s is not after {self._last} s")
        on_time = abs(now - nominal) <= _JITTER
        self._steady &= on_time
        before = now - self._last if number and not self._steady else 1 / self._fps
        self._last, self._end = now, now + (duration or before)
        self.times.append(float(now))
        self.rate = lcm(self.rate, now.denominator) if self.rate <= MAX_RATE else self.rate
        return nominal if on_time else now

    @property
    def constant(self) -> bool:
        """Whether the frames so far come at the rate of ``fps``, to the end of the last."""
        return self._steady and abs(self._end - len(self.times) / self._fps) <= 2 * _JITTER

    @property
    def end(self) -> Fraction:
        """When the last frame ends."""
        return len(self.times) / self._fps if self.constant else self._end


class GifPacer(Generic[T]):
    """Gives the frames of a GIF their times in whole centiseconds.

    Frames for which there is no time are left out, so that the others are shown at their own.
    """

    def __init__(self) -> None:
        self._held: tuple[T, int] | None = None
        self._before: int | None = None
        self._left_out = False

    def add(self, frame: T, time: Fraction) -> Iterator[tuple[T, int]]:
        """Take a frame that begins at ``time``; yield those that are decided on, with their times.

        What is yielded must be used before the next call.
        """
        start = _centiseconds(time)
        if self._held is not None:
            if start - self._held[1] < MIN_DELAY:
                self._left_out = True
                return
            yield self._held
            self._before = self._held[1]
        self._held = frame, start

    def finish(self, timeline: Timeline) -> tuple[list[tuple[T, int]], int]:
        """What is left of the frames, and when the last one ends.

        At a constant rate the last frame is shown as long as the one before, as FFmpeg does it.

        Source: visualization spec 6.8.
        """
        assert self._held is not None
        _, start = self._held
        if self._before is not None and timeline.constant and not self._left_out:
            return [self._held], 2 * start - self._before
        end = _centiseconds(timeline.end)
        if self._before is not None and end - start < MIN_DELAY:
            return [], end
        return [self._held], max(end, start + MIN_DELAY)


def _centiseconds(time: Fraction) -> int:
    return int(100 * time + Fraction(1, 2))


def gif_delays(
    fps: Fraction, times: Sequence[Fraction | None], last: Fraction | None = None
) -> list[tuple[int, int]]:
    """Which frames a GIF shows, and for how many centiseconds.

    Args:
        fps: Frames per second.
        times: Seconds of each frame; None = at that rate.
        last: Seconds that the last frame is shown for; None = as long as the one before.

    Returns:
        Number of each frame that is shown, and its delay.

    >>> gif_delays(Fraction(8), [None] * 4)
    [(0, 13), (1, 12), (2, 13), (3, 13)]
    >>> gif_delays(Fraction(60), [None] * 6)
    [(0, 2), (1, 3), (3, 2), (4, 3)]
    """
    timeline, pacer = Timeline(fps), GifPacer[int]()
    shown: list[tuple[int, int]] = []
    for number, time in enumerate(times):
        now = timeline.add(time, last if number == len(times) - 1 else None)
        shown += pacer.add(number, now)
    rest, end = pacer.finish(timeline)
    shown += rest
    ends = [start for _, start in shown[1:]] + [end]
    return [(number, end - start) for (number, start), end in zip(shown, ends, strict=True)]
