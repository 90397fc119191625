"""Motion vectors for frames that came without: encoded once more, in memory."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.media.motion import EXPORT_MVS, Motion, motion_of

_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "bf": "0", "crf": "23", "threads": "1"}
"""Of x264: each frame is coded at once, and the result does not depend on threads."""


class Reencoder:
    """Encodes frames one after the other with x264, and decodes their motion vectors.

    Args:
        side: Width and height of the encoded frames in pixels; frames are stretched to it.
    """

    def __init__(self, side: int = 224) -> None:
        self._side, self._count = side, 0
        self._encoder = av.CodecContext.create("libx264", "w")
        self._encoder.width = self._encoder.height = side
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.framerate = Fraction(25)
        self._encoder.options = _OPTIONS
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.flags2 |= EXPORT_MVS
        self._decoder.thread_type, self._decoder.thread_count = ThreadType.SLICE, 1

    def __call__(self, rgb: NDArray[np.uint8]) -> Motion:
        """The motion vectors of the next frame, RGB, uint8 ``[h, w, 3]`` of any size."""
        frame = VideoFrame.from_ndarray(rgb, format="rgb24")
        small = frame.reformat(
            width=self._side, height=self._side, format="yuv420p", interpolation="AREA"
        )
        small.pts, self._count = self._count, self._count + 1
        (packet,) = self._encoder.encode(small)
        (decoded,) = self._decoder.decode(packet)
        return motion_of(decoded)
