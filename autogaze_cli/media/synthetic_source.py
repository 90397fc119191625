"""Clips that are computed: the same pixels on every machine, for tests and demonstrations.

``docs/inputs.md`` has their formulas. All arithmetic is on whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.media.source import Source
from autogaze_cli.media.synthetic import Synthetic

_PERIOD, _STEP, _TILE = 16, 16, 64
_SQUARE = (230, 60, 40)


class SyntheticSource(Source):
    """A synthetic clip as an opened video.

    Args:
        name: As ``Synthetic.named`` takes it.
    """

    def __init__(self, name: str) -> None:
        self._clip = Synthetic.named(name)
        self.container, self.codec = "synthetic", "rawvideo"
        self.fps, self.frames = self._clip.fps, self._clip.frames
        self.duration, self.time_base = self.frames / self.fps, 1 / self.fps
        self._next = 0

    def seek(self, pts: int) -> bool:
        """Move to any frame."""
        self._next = pts
        return True

    def rewind(self) -> None:
        """Move to the first frame."""
        self._next = 0

    def decode(self) -> Iterator[VideoFrame]:
        """The frames from where the source stands."""
        for n in range(self._next, self._clip.frames):
            frame = VideoFrame.from_ndarray(synthetic_picture(self._clip, n), format="rgb24")
            frame.pts, frame.duration = n, 1
            yield frame


def synthetic_picture(clip: Synthetic, n: int) -> NDArray[np.uint8]:
    """Frame ``n``, RGB, uint8 ``[h, w, 3]``."""
    ground = _ground(clip.width, clip.height)
    if clip.motion == "pan":
        return np.roll(ground, -_STEP * n, axis=1)
    if clip.motion == "pulse":
        darker = min(n % _PERIOD, _PERIOD - n % _PERIOD)
        return (ground.astype(np.uint16) * (_PERIOD - darker) // _PERIOD).astype(np.uint8)
    side = max(1, min(clip.height // 4, clip.width))
    left = (n * side // 4) % (clip.width - side + 1)
    top = (clip.height - side) // 2
    ground[top : top + side, left : left + side] = _SQUARE
    return ground


def _ground(width: int, height: int) -> NDArray[np.uint8]:
    """The still picture, uint8 ``[h, w, 3]``. Source: visualization spec 7.3, test frame."""
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    odd = (x // _TILE + y // _TILE) % 2
    ground = np.empty((height, width, 3), np.uint8)
    ground[..., 0] = _ramp(x, width) + 25 * odd
    ground[..., 1] = _ramp(y, height) + 20
    ground[..., 2] = 90 + 140 * odd
    return ground


def _ramp(at: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """From 0 to 220 over ``length`` pixels, to the nearest whole number."""
    last = max(1, length - 1)
    return (2 * 220 * at + last) // (2 * last)
