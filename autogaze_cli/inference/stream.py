"""A node that is fed one frame at a time and gazes in its own thread, at the newest frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from autogaze_cli.readout.packet import AutoGazePipelinePacket

Stamped = tuple[int, Fraction, Any]
"""A frame's number, its time in seconds, and its pixels."""

Gaze = Callable[[list[Stamped]], "AutoGazePipelinePacket"]
"""Makes the packet of a window of frames; may remember those before."""


class _Job(NamedTuple):
    sequence: int
    gaze: Gaze
    frames: list[Stamped]


class AutoGazeStream:
    """A rolling window of frames, gazed at whenever the one before is done.

    ``push`` never waits for the gaze. While a job is in flight only the newest window waits, so
    memory does not grow with the frames that a slow model or a slow consumer leaves out. Frames of
    another size start anew: results of the frames before are then refused.

    Use it as a context manager, or close it. ``push`` is for one thread at a time.

    Args:
        start: Makes the gaze of a new window, at the start and after each change of size.
        window: Frames per job.
        pixels: Brings a frame to the form that the gaze takes.
        fps: Frames per second, for the times of frames.
    """

    def __init__(
        self, start: Callable[[], Gaze], window: int, pixels: Callable[[Any], Any], fps: Fraction
    ) -> None:
        self._start, self._pixels, self._fps = start, pixels, fps
        self._window: deque[Stamped] = deque(maxlen=window)
        self._gaze = start()
        self._count = 0
        self._refused = 0  # results up to this sequence number are stale
        self._waiting: _Job | None = None
        self._busy = self._closed = False
        self._ready: AutoGazePipelinePacket | None = None
        self._error: BaseException | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="autogaze-stream", daemon=True)
        self._thread.start()

    def push(self, frame: Any) -> AutoGazePipelinePacket | None:
        """Hand over the next frame, which is copied.

        Args:
            frame: One frame, in a form that ``trace_clip`` takes for clips.

        Returns:
            The newest packet that has not been returned yet, or None. Its ``index`` is the number
            of its first frame, counted from 0 over all frames pushed.

        Raises:
            ConfigError: The frame has another form; it is left out.
            AutogazeError: The gaze at an earlier frame failed; the stream starts anew.
        """
        pixels = self._pixels(frame)
        with self._changed:
            if self._closed:
                raise ValueError("push to a closed stream")
            if self._window and self._window[-1][2].shape != pixels.shape:
                self._begin()
            self._window.append((self._count, self._count / self._fps, pixels))
            self._count += 1
            if len(self._window) == self._window.maxlen:
                self._waiting = _Job(self._count, self._gaze, list(self._window))
                self._changed.notify_all()
            return self._take()

    def flush(self) -> AutoGazePipelinePacket | None:
        """Wait until the newest frames have been gazed at; otherwise like ``push``."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._busy or self._waiting))
            return self._take()

    def reset(self) -> None:
        """Forget all frames; results that are not ready yet are refused, numbers go on."""
        with self._changed:
            self._begin()

    def close(self) -> None:
        """Stop, after the job in flight; what waits is left out."""
        with self._changed:
            self._closed, self._waiting = True, None
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._window.clear()
        self._gaze = self._start()
        self._refused = self._count
        self._waiting = self._ready = self._error = None

    def _take(self) -> AutoGazePipelinePacket | None:
        if (error := self._error) is not None:
            self._begin()
            raise error
        packet, self._ready = self._ready, None
        return packet

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                job, self._waiting = self._waiting, None
                if job is None:
                    return
                self._busy = True
            packet, error = None, None
            try:
                packet = job.gaze(job.frames)
            except BaseException as raised:  # noqa: BLE001  # raised where frames are pushed
                error = raised
            with self._changed:
                self._busy = False
                if job.sequence > self._refused:
                    self._ready, self._error = packet, error
                self._changed.notify_all()
            del job, packet  # otherwise they stay in memory while waiting
