"""The rate, length and duration of a stream, by the times of its own packets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

from av.packet import Packet
from av.video.stream import VideoStream

from autogaze_cli.media.clock import Clock

MAX_BYTES = 64 << 20
"""Files up to this size are read whole to learn their timing; of others, this much."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the packets of a stream tell.

    Attributes:
        frames: Packets that were read.
        step: Units from one frame to the next: the median.
        units: Units from the first frame to the end of the last.
        whole: Whether all packets were read.
        jumps: By how many seconds the clock jumps, each time.
    """

    frames: int
    step: int
    units: int
    whole: bool
    jumps: tuple[Fraction, ...]

    def fps(self, time_base: Fraction) -> Fraction:
        """Average frames per second."""
        return self.frames / (self.units * time_base)


def packet_timing(
    packets: Iterable[Packet[VideoStream]], time_base: Fraction, *, discontinuous: bool
) -> Timing | None:
    """Timing by up to ``MAX_BYTES`` of packets; None when they carry no times.

    Args:
        packets: Packets of one stream, from the first on; errors end them.
        time_base: Seconds in one unit of their times.
        discontinuous: Whether the container's clock may jump.
    """
    read = 0
    decoded: list[int] = []
    shown: list[int] = []
    durations: list[int] = []
    whole = True
    for packet in packets:
        if not packet.size:
            continue
        time = packet.dts if packet.dts is not None else packet.pts
        if time is None:
            return None
        decoded.append(time)
        shown.append(time if packet.pts is None else packet.pts)
        durations.append(packet.duration or 0)
        read += packet.size
        if read > MAX_BYTES:
            whole = False
            break
    gaps = [gap for a, b in pairwise(decoded) if (gap := b - a) > 0]
    if not gaps:
        return None
    step = median_low(gaps)
    jumps: list[Fraction] = []
    clock = Clock(time_base, step, discontinuous=discontinuous, on_jump=jumps.append)
    steady = [clock(time, duration) for time, duration in zip(decoded, durations, strict=True)]
    if jumps:
        units = steady[-1][0] + steady[-1][1] - steady[0][0]
    else:
        last = max(range(len(shown)), key=shown.__getitem__)
        units = shown[last] + (durations[last] or step) - min(shown)
    return Timing(len(decoded), step, max(units, 1), whole, tuple(jumps))
