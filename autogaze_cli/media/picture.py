"""From a decoded frame to its RGB picture: colours, orientation, square pixels, size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from autogaze_cli.media.colour import HLG, PQ, Tags, set_for_scaler, usable
from autogaze_cli.media.filters import Converter, Filters, Pixels, pixels
from autogaze_cli.media.hdr import ToneMapper, is_hdr, stated_peak
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.orientation import orientation
from autogaze_cli.media.sampling import MAX_SIDE, ToneMap

_MAX_ASPECT = 16
"""Pixels further from square than this are taken for a damaged header."""


def displayed_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width and height in square pixels, turned for display.

    Args:
        frame: A decoded frame.
        aspect: Width of a pixel by its height, before the frame is turned.
    """
    width, height = frame.width, frame.height
    if Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        square = max(1, round(width * aspect))
        width = width if square > MAX_SIDE else square
    degrees, _ = orientation(frame)
    return (height, width) if degrees % 180 else (width, height)


class Painter:
    """Makes RGB pictures of one size from decoded frames of any form.

    Args:
        size: Width and height of the pictures.
        tone_map: ``auto`` maps HDR to BT.709; ``none`` keeps the values.
        notes: Where corrections are noted.
        threads: Filter threads; None = FFmpeg's own choice.
    """

    def __init__(
        self, size: tuple[int, int], tone_map: ToneMap, notes: Notes, threads: int | None
    ) -> None:
        self._size, self._tone_map = size, tone_map
        self._notes, self._threads = notes, threads or 0
        self._form: tuple[object, ...] | None = None
        self._shown: tuple[int, int] | None = None
        self._converter: Converter
        self._mapper: ToneMapper | None = None

    def __call__(self, frame: VideoFrame) -> Pixels:
        """The picture of one frame, uint8 ``[h, w, 3]``.

        Raises:
            OSError: The system or FFmpeg refused.
        """
        taken = note_colours(frame, self._notes)
        degrees, turns = orientation(frame)
        form = (frame.width, frame.height, frame.format.name, taken, tuple(turns))
        if form != self._form:
            shown = (frame.height, frame.width) if degrees % 180 else (frame.width, frame.height)
            if self._shown not in (None, shown):
                self._notes.add("size", "its frames change their size: all are scaled to one")
            self._shown = shown
            self._prepare(taken, turns)
            self._form = form
        peak = stated_peak(frame) if self._mapper else 0
        set_for_scaler(frame, taken)
        converted = self._converter(frame)
        if self._mapper is None:
            return pixels(converted)
        return self._mapper(np.asarray(converted.to_ndarray(), np.uint16), peak)

    def _prepare(self, taken: Tags, turns: Filters) -> None:
        """Build what frames of one form need."""
        width, height = self._size
        spread = f":threads={self._threads}" if self._threads else ""
        scale = ("scale", f"w={width}:h={height}:flags=lanczos{spread}")
        if self._tone_map == "auto" and is_hdr(taken.transfer):
            self._mapper = ToneMapper(taken.transfer, taken.primaries)
            name = {PQ: "PQ", HLG: "HLG"}[taken.transfer]
            self._notes.add("hdr", f"HDR ({name}) is tone-mapped to BT.709")
            self._converter = Converter([*turns, scale, ("format", "rgb48le")], self._threads)
            return
        self._mapper = None
        # Straight to rgb24 the scaler rounds differently. The second step only moves bytes.
        rgb = [("format", "rgba"), ("scale", "flags=lanczos"), ("format", "rgb24")]
        self._converter = Converter([*turns, scale, *rgb], self._threads)


def note_colours(frame: VideoFrame, notes: Notes) -> Tags:
    """The tags by which a frame is read; where they are not its own, that is noted."""
    taken, wrong = usable(frame)
    if wrong:
        notes.add("colour", f"has colour tags that cannot be used: reads {wrong}")
    return taken
