"""The gaze source that follows the video's own encoder: where it found something new.

The score of a cell is the sum, at most 1, of three parts. A macroblock has 16 x 16 pixels of the
decoded frame; a cell sees every macroblock that it touches:

* **new**: the fraction of its macroblocks without a motion vector (coded without a reference);
* **split**: 1/4 if a macroblock is split into 8 x 8, 1/8 if into halves, 0 if none is split;
* **motion**: the mean over its macroblocks of how far they move against the frame's median vector
  (the camera), in cells, at most 1.

A key frame has no vectors, nor does the first frame need any: there a cell scores by its detail,
the mean absolute difference of neighbouring green values, as a fraction of the highest cell's.
If sampling left out frames since the frame before, a cell has its highest score among them, key
frames aside; a frame that sampling repeats scores 0.

Vectors are those of the file where its decoder gives them out (H.264, MPEG-4, MPEG-2). Otherwise
frames are encoded once more at the model's size, with x264 and without B-frames, for their vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.motion import Motion
from autogaze_cli.media.reencode import Reencoder
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.cell_sums import bins
from autogaze_cli.sources.cells import CellSource, Scores

_MACROBLOCK = 16
_SPLIT = np.float32(0.125)
"""The score of one halving of a macroblock."""

Spans = list[tuple[int, int]]
"""First and one past the last index of each cell on an axis."""

_DETAIL_SIDE = 224
"""Pixels of the shorter side that are enough to see the detail of a cell."""

_TURNS: Mapping[tuple[str, str], Callable[[NDArray[Any]], NDArray[Any]]] = {
    ("hflip", ""): lambda cells: cells[:, ::-1],
    ("vflip", ""): lambda cells: cells[::-1],
    ("transpose", "clock"): lambda cells: np.rot90(cells, -1),
    ("transpose", "cclock"): lambda cells: np.rot90(cells),
    ("transpose", "cclock_flip"): lambda cells: cells.T,
    ("transpose", "clock_flip"): lambda cells: np.rot90(cells, 2).T,
}
"""FFmpeg's filters that turn a frame, for the square grid of its cells."""


class CodecSource(CellSource):
    """Gazes where the video's encoder coded new content, split blocks, or saw them move."""

    mask_source = "codec"
    reads_motion = True

    def __init__(self, settings: GazeSettings) -> None:
        super().__init__(settings)
        self.threshold = settings.codec_threshold

    def scores(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Scores]]:
        """See ``CellSource.scores``."""
        reencoder: Reencoder | None = None
        for number, frame in enumerate(frames):
            motions = frame.motion
            if motions is None:
                reencoder = reencoder or Reencoder()
                motions = (reencoder(frame.rgb),)
            moving = [motion for motion in motions if not motion.intra]
            if number == 0 or (motions and not moving):
                yield frame, detail_scores(frame.rgb, self.grid)
                continue
            scores = np.zeros(self.grid**2)
            for motion in moving:
                np.maximum(scores, motion_scores(motion, self.grid), out=scores)
            yield frame, scores


def motion_scores(motion: Motion, grid: int) -> Scores:
    """Every cell's score by the motion vectors of a frame, turned as the frame is."""
    rows, cols = (-(-side // _MACROBLOCK) for side in (motion.height, motion.width))
    new, moved, split = maps = np.zeros((3, rows + 1, cols + 1), np.float32)  # see _pooled
    new[:] = 1
    vectors = motion.vectors
    if len(vectors):
        block = _macroblocks(vectors, rows, cols)
        new.ravel()[block] = 0
        np.maximum.at(moved.ravel(), block, _motion(motion, grid))
        np.maximum.at(split.ravel(), block, _splits(vectors))
    spans = _blocks(motion.height, grid), _blocks(motion.width, grid)
    means = _pooled(np.add, maps[0] + maps[1], *spans) / _areas(*spans)
    cells: NDArray[Any] = np.minimum(1, means + _pooled(np.maximum, split, *spans))
    for turn in motion.turns:
        cells = _TURNS[turn](cells)
    return cells.ravel().astype(np.float64)


def detail_scores(rgb: NDArray[np.uint8], grid: int) -> Scores:
    """Every cell's spatial detail, as a fraction of that of the highest."""
    height, width, _ = rgb.shape
    step = max(1, min(height, width) // max(_DETAIL_SIDE, grid))
    green = rgb[::step, ::step, 1].astype(np.int16)
    height, width = green.shape
    detail = np.zeros((height + 1, width + 1), np.int64)  # see _pooled
    detail[:-1, 1:-1] += np.abs(np.diff(green, axis=1))
    detail[1:-1, :-1] += np.abs(np.diff(green, axis=0))
    spans = bins(height, grid), bins(width, grid)
    means = _pooled(np.add, detail, *spans) / _areas(*spans)
    scores: Scores = means.ravel() / max(means.max(), 1e-9)
    return scores


def _macroblocks(vectors: NDArray[Any], rows: int, cols: int) -> NDArray[np.intp]:
    """The macroblock that each vector's block is in, row-major in a map with a spare column."""
    # The middle of a block is in its macroblock too: no block is larger.
    x = vectors["dst_x"].astype(np.intp) // _MACROBLOCK
    y = vectors["dst_y"].astype(np.intp) // _MACROBLOCK
    blocks: NDArray[np.intp] = y.clip(0, rows - 1) * (cols + 1) + x.clip(0, cols - 1)
    return blocks


def _splits(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """How often each vector's macroblock was halved, as a score."""
    halves = np.full(257, 2 * _SPLIT, np.float32)
    halves[128], halves[256] = _SPLIT, 0
    scores: NDArray[np.float32] = halves[vectors["w"].astype(np.intp) * vectors["h"]]
    return scores


def _motion(motion: Motion, grid: int) -> NDArray[np.float32]:
    """How far each block moves against the median, in cells, at most 1."""
    vectors = motion.vectors
    # Vectors into the future point the other way.
    unit = -vectors["source"].astype(np.float32) * vectors["motion_scale"].astype(np.float32)
    x = vectors["motion_x"].astype(np.float32) / (unit * (motion.width / grid))
    y = vectors["motion_y"].astype(np.float32) / (unit * (motion.height / grid))
    x -= np.median(x)
    y -= np.median(y)
    away: NDArray[np.float32] = np.sqrt(x * x + y * y)
    return away.clip(max=1)


def _blocks(length: int, grid: int) -> Spans:
    """First and one past the last macroblock that touches each cell."""
    cell = grid * _MACROBLOCK
    return [(i * length // cell, -(-(i + 1) * length // cell)) for i in range(grid)]


def _areas(rows: Spans, cols: Spans) -> NDArray[np.int64]:
    return np.outer(np.diff(rows)[:, 0], np.diff(cols)[:, 0])


def _pooled(reduce: np.ufunc, values: NDArray[Any], rows: Spans, cols: Spans) -> NDArray[Any]:
    """Reduce the values of each cell to one; ``values`` has a spare row and column at the end.

    ``reduceat`` reduces from each index to the next, here within the spans and between them; the
    spare ones let the last span end.
    """
    across = reduce.reduceat(values, np.ravel(rows), axis=0)[::2]
    pooled: NDArray[Any] = reduce.reduceat(across, np.ravel(cols), axis=1)[:, ::2]
    return pooled
