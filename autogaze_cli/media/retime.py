"""Frames of a video file moved to other times, without encoding them again."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import Path

import av

from autogaze_cli.media.timeline import MAX_RATE, Timeline

_COMMON_RATE = 90_000
_MILLISECONDS = 1000


def retime(path: Path, container: str, timeline: Timeline, options: dict[str, str]) -> None:
    """Give the frames of a video file their times.

    Args:
        path: The file, replaced.
        container: FFmpeg's name of its format.
        timeline: When each frame is shown.
        options: Of the format.
    """
    rate = _MILLISECONDS if container == "webm" else _rate(timeline)
    base = Fraction(1, rate)
    seconds = [*timeline.times, float(timeline.end)]
    ticks = _rising([round(time * rate) for time in seconds])
    # An absolute path, for FFmpeg takes "a:b.mp4" for a protocol named "a".
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    timed = absolute.with_name(absolute.name + ".timed")
    try:
        with av.open(str(absolute)) as source:
            (stream,) = source.streams.video
            packets = [p.pts for p in source.demux(stream) if p.pts is not None and p.size]
            number = {pts: n for n, pts in enumerate(sorted(packets))}
            shown = [ticks[number[pts]] for pts in packets]
        # Decoding goes by the same steps, as much earlier as it must be before showing.
        early = max(tick - pts for tick, pts in zip(ticks, shown, strict=False))
        with (
            av.open(str(absolute)) as source,
            av.open(str(timed), "w", format=container, options=options) as output,
        ):
            (stream,) = source.streams.video
            copy = output.add_stream_from_template(stream)
            copy.time_base = base
            order = zip(shown, pairwise(ticks), strict=True)
            for packet in source.demux(stream):
                if packet.pts is None or not packet.size:
                    continue
                pts, (decoded, following) = next(order)
                packet.stream, packet.time_base = copy, base
                packet.pts, packet.dts = pts, decoded - early
                packet.duration = following - decoded
                output.mux(packet)
        timed.replace(absolute)
    finally:
        timed.unlink(missing_ok=True)


def _rate(timeline: Timeline) -> int:
    """Units per second in which all times are whole, if a file can have them."""
    rate = lcm(timeline.rate, timeline.end.denominator)
    while rate < _MILLISECONDS:
        rate *= 10
    return rate if rate <= MAX_RATE else _COMMON_RATE


def _rising(ticks: list[int]) -> list[int]:
    for n in range(1, len(ticks)):
        ticks[n] = max(ticks[n], ticks[n - 1] + 1)
    return ticks
