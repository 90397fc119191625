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

_MAX_REORDERED = 16
"""Frames that may be decoded between one and the next shown; as many as H.264 allows."""

MAX_BYTES = 32 << 20
"""Files up to this size are read whole to learn their timing; of others, this much."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the packets of a stream tell.

    Attributes:
        frames: Packets that were read.
        step: Units from one frame to the next: the median.
        first: Time of the first frame.
        end: When the last one ends; without jumps of the clock on it, otherwise counted on.
        last_known: Whether the last frame has a duration of its own.
        whole: Whether all packets were read.
        jumps: By how many seconds the clock jumps, each time.
    """

    frames: int
    step: int
    first: int
    end: int
    last_known: bool
    whole: bool
    jumps: tuple[Fraction, ...]


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
    decoded: list[int | None] = []
    shown: list[int] = []
    durations: list[int] = []
    whole = True
    for packet in packets:
        if not packet.size:
            continue
        shows = packet.dts if packet.pts is None else packet.pts
        if shows is None:
            return None
        decoded.append(packet.dts)
        shown.append(shows)
        durations.append(packet.duration or 0)
        read += packet.size
        if read > MAX_BYTES:
            whole = False
            break
    gaps = [b - a for a, b in pairwise(sorted(set(shown)))]
    if not gaps:
        return None
    step = median_low(gaps)
    # The times of decoding rise as long as the clock does not jump, but are not always all known.
    rising = [time for time in decoded if time is not None]
    if len(rising) < len(shown):
        rising = _in_order(shown, _MAX_REORDERED * step)
    jumps: list[Fraction] = []
    clock = Clock(time_base, step, discontinuous=discontinuous, on_jump=jumps.append)
    steady = [clock(time, duration) for time, duration in zip(rising, durations, strict=True)]
    last = max(range(len(shown)), key=shown.__getitem__)
    first, end = min(shown), shown[last] + (durations[last] or step)
    if jumps:
        first, end = steady[0][0], sum(steady[-1])
    known = durations[last] > 0
    return Timing(len(decoded), step, first, max(end, first + 1), known, whole, tuple(jumps))


def _in_order(shown: list[int], reordered: int) -> list[int]:
    """Times of showing in order, anew from each that lies further back than reordering explains."""
    parts: list[list[int]] = [[]]
    for time in shown:
        if parts[-1] and time < max(parts[-1][-2 * _MAX_REORDERED :]) - reordered:
            parts.append([])
        parts[-1].append(time)
    return [time for part in parts for time in sorted(part)]
