"""The motion vectors that the encoder of a video chose for each frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.media.filters import Filters
from autogaze_cli.media.orientation import orientation, side_data

EXPORT_MVS = 1 << 28
"""FFmpeg's flag (of ``flags2``) by which decoders give out motion vectors."""

MOTION_CODECS = frozenset(["h264", "mpeg4", "mpeg2video", "mpeg1video"])
"""Codecs whose decoders do; those of HEVC, VP8, VP9 and AV1 do not."""

MAX_MOTIONS = 64
"""Frames whose vectors are kept at most: each takes up to a megabyte."""

Vectors = NDArray[Any]
"""FFmpeg's ``AVMotionVector``, a structured array ``[n]``: the centre of a block (``dst_x``,
``dst_y``) and its size (``w``, ``h``) in pixels of the decoded frame, how far it moved
(``motion_x`` and ``motion_y`` by ``motion_scale``), and whether from the past or the future
(``source`` -1 or 1). Blocks that are coded without a reference have none."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Motion:
    """The motion vectors of one decoded frame.

    Attributes:
        vectors: In decoded pixels, before the frame is turned for display or scaled.
        width: Width of the decoded frame in pixels.
        height: Height of the decoded frame in pixels.
        turns: FFmpeg's filters that turn the frame for display.
    """

    vectors: Vectors
    width: int
    height: int
    turns: Filters = ()

    @property
    def intra(self) -> bool:
        """Whether no block has a reference, as in a key frame."""
        return len(self.vectors) == 0


def motion_of(frame: VideoFrame) -> Motion:
    """The motion vectors of a frame whose decoder gives them out."""
    data: Any = side_data(frame, "MOTION_VECTORS")
    _, turns = orientation(frame)
    return Motion(
        vectors=_NONE if data is None else data.to_ndarray().copy(),
        width=frame.width,
        height=frame.height,
        turns=turns,
    )


class MotionLog:
    """Keeps motion vectors until a frame is taken that they lead to.

    Frames that sampling leaves out have moved too: the frame taken next gets their vectors as well,
    those of ``MAX_MOTIONS`` frames in all.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Motion]] = deque(maxlen=MAX_MOTIONS)

    def add(self, frame: VideoFrame) -> None:
        """Keep the vectors of the next frame; every one has a ``pts``, and these rise."""
        assert frame.pts is not None
        self._waiting.append((frame.pts, motion_of(frame)))

    def take(self, pts: int) -> tuple[Motion, ...]:
        """What has been read up to the frame at ``pts`` and not been taken; none if repeated."""
        taken = []
        while self._waiting and self._waiting[0][0] <= pts:
            taken.append(self._waiting.popleft()[1])
        return tuple(taken)


_NONE: Vectors = np.zeros(
    0,
    np.dtype(
        [
            *((name, np.int32) for name in ("source", "motion_x", "motion_y")),
            *((name, np.uint8) for name in ("w", "h")),
            *((name, np.int16) for name in ("src_x", "src_y", "dst_x", "dst_y")),
            ("motion_scale", np.uint16),
        ]
    ),
)
