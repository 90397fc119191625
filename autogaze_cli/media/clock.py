"""The clock of a video: times that rise, whatever a container's own clock does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

DISCONTINUOUS_GAP_S = 10
"""A longer gap is a jump of the clock in formats whose clock may jump; as FFmpeg has it."""

GAP_S = 1000
"""A longer gap is a jump in any other format; the longest delay of a GIF is 655 seconds."""


class Clock:
    """Makes the times of decoded frames rise.

    A clock that goes back, or far ahead, goes on one frame after the last. A frame that is only
    out of order, by less than two frames, is put right after the one before it.

    Args:
        time_base: Seconds in one unit of time.
        step: Units from one frame to the next where nothing else tells; None = as the first two.
        discontinuous: Whether the container's clock may jump, as in transport streams.
        on_jump: Called with the seconds of each jump.
    """

    def __init__(
        self,
        time_base: Fraction,
        step: int | None,
        *,
        discontinuous: bool,
        on_jump: Callable[[Fraction], object],
    ) -> None:
        self._base, self._step, self._on_jump = time_base, step, on_jump
        self._limit = int((DISCONTINUOUS_GAP_S if discontinuous else GAP_S) / time_base)
        self._offset = 0
        self._last: int | None = None
        self._delta = 0
        self._next = 0

    def __call__(self, time: int | None, duration: int) -> tuple[int, int]:
        """The time and duration of the next frame, in units.

        Args:
            time: What the container says, or None.
            duration: Likewise; 0 = unknown.
        """
        duration = duration if duration > 0 else self._step or 1
        if self._last is None:
            now = 0 if time is None else time
        elif time is None:
            now = self._last + (self._delta or duration)
        else:
            now = self._continued(time + self._offset, self._last)
        if self._last is not None:
            self._delta = now - self._last
        self._last, self._next = now, now + duration
        return now, duration

    def _continued(self, time: int, last: int) -> int:
        """``time`` after ``last``; when it is a jump, all that follows is moved with it."""
        step = self._step or 1
        if last < time <= self._next + max(self._limit, 10 * step):
            if self._step is None:
                self._step = time - last
            return time
        if last - 3 * step / 2 < time <= last:
            return last + 1
        self._on_jump((time - self._next) * self._base)
        self._offset += self._next - time
        return self._next
