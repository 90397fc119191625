"""Decoding a stream with corrupt packets: what comes after them is read too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_BAD_PACKETS = 1000
"""Corrupt packets in a row after which the rest of a file is given up."""

MAX_FAILED_READS = 8
"""As above, where not even a packet was read: the next attempt may stop at the same place."""

ENDS = (EOFError, IndexError)
"""How PyAV ends; by the second when streams were added while a file was read."""


class Damage:
    """Decodes what can be decoded, and counts the rest.

    Args:
        container: From where the stream is read on.
        stream: Its frames are decoded.
        on_error: Called with each error; raises those that are no corrupt packets.

    Attributes:
        packets: How many corrupt packets were skipped.
        in_a_row: How many of them follow each other at the place that was reached.
        gave_up: Whether these were too many, so that the rest is not read.
        end: When the last frame ends, in units of the stream's time; None = not known.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._container, self._stream, self._on_error = container, stream, on_error
        self._last: int | None = None
        self._now: int | None = None
        self.end: int | None = None
        self.packets = self.in_a_row = 0
        self.gave_up = False

    def frames(self) -> Iterator[VideoFrame]:
        """The frames, without those that the decoder held back over damage for too long."""
        for frame in self._decoded():
            if not (self.packets and self._is_late(frame.pts)):
                self._last = frame.pts
                self.end = None if frame.pts is None else frame.pts + frame.duration
                yield frame

    def _decoded(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        failed_reads = 0
        while not self.gave_up:
            packet: Packet[VideoStream] | None = None
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                frames = packet.decode()
            except ENDS:
                break
            except (FFmpegError, OSError) as error:
                self._on_error(error)
                self.packets, self.in_a_row = self.packets + 1, self.in_a_row + 1
                failed_reads = failed_reads + 1 if packet is None else 0
                self.gave_up = self.in_a_row >= MAX_BAD_PACKETS or failed_reads >= MAX_FAILED_READS
                # An error ends PyAV's generator, though the container can be read on.
                packets = self._container.demux(self._stream)
                continue
            self.in_a_row = failed_reads = 0
            if packet.pts is not None:
                self._now = packet.pts
            yield from frames
        with suppress(FFmpegError, OSError):
            yield from self._stream.codec_context.decode(None)

    def _is_late(self, time: int | None) -> bool:
        """Whether a frame's time goes back, though the packets' time did not: that is no jump."""
        if time is None or self._last is None or self._now is None or time > self._last:
            return False
        return abs(self._now - self._last) < abs(self._now - time)
