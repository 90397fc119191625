"""What an encoder makes of a gaze, beside what it makes of every patch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from autogaze_cli.errors import ConfigError
from autogaze_cli.inference import header_of
from autogaze_cli.media.video import Frame
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, TraceHeader

if TYPE_CHECKING:
    from autogaze_cli.encoders import Encoder, EncoderOutput


class Encoded:
    """A clip's frames, encoded from every patch and from gazed ones.

    Args:
        encoder: The encoder.
        frames: The clip.
    """

    def __init__(self, encoder: Encoder, frames: Sequence[Frame]) -> None:
        span = encoder.network.sizes.tubelet
        if len(frames) % span:
            raise ConfigError(
                f"{len(frames)} frames cannot be cut into the encoder's tubelets of {span}",
                hint=f"give --frames {len(frames) - len(frames) % span}",
            )
        self._encoder = encoder
        self._rgb = np.stack([frame.rgb for frame in frames])
        self._dense: tuple[float, EncoderOutput] | None = None

    def figures(self, source: GazeSource, gaze: Sequence[FrameTrace]) -> dict[str, float]:
        """Milliseconds per frame to cut and encode, and the similarity of the clip's features."""
        height, width = self._rgb.shape[1:3]
        header = header_of(source, name="", size=(width, height), fps=Fraction(25), settings={})
        if self._dense is None:
            self._dense = min(
                (self._timed(gaze, header, dense=True) for _ in range(2)), key=lambda run: run[0]
            )
        seconds, output = min(
            (self._timed(gaze, header, dense=False) for _ in range(2)), key=lambda run: run[0]
        )
        ours, all_ = (one.clip_features.double().cpu() for one in (output, self._dense[1]))
        norm = float(ours.norm() * all_.norm())
        count = len(self._rgb)
        return {
            "encode_ms": 1000 * seconds / count,
            "dense_encode_ms": 1000 * self._dense[0] / count,
            "cosine_similarity": float((ours * all_).sum()) / norm if norm else 0.0,
        }

    def _timed(
        self, gaze: Sequence[FrameTrace], header: TraceHeader, *, dense: bool
    ) -> tuple[float, EncoderOutput]:
        encoder = self._encoder
        start = encoder.clock()
        patches = encoder.cut_frames(self._rgb, gaze, header, dense=range(1) if dense else None)
        output = encoder.encode(patches, attend=encoder.dense_attend if dense else None)
        return encoder.clock() - start, output
