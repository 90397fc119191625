"""The features of gazed patches beside those of all patches: times and similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from autogaze_cli.media.video import Frame
from autogaze_cli.trace import FrameTrace

if TYPE_CHECKING:
    from autogaze_cli.encoders import EncoderOutput

Clip = list[tuple[Frame, FrameTrace]]
"""Frames that are encoded together, with their gaze."""


@dataclass(slots=True)
class Comparison:
    """How the features of gazed patches compare with those of all patches.

    Attributes:
        tiles: Tiles of a frame.
        seconds: To cut and to encode gazed patches, and all patches.
        tokens: How many were encoded, and how many densely.
        frames: Index, time in seconds and mean cosine similarity over tiles, for each frame with a
            token.
        empty: Frames of tiles without a token, which have no features to compare.
    """

    tiles: int
    seconds: list[float] = field(default_factory=lambda: [0.0] * 4)
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    frames: list[tuple[int, float, float]] = field(default_factory=list)
    empty: int = 0

    def add(
        self, clip: Clip, output: EncoderOutput, dense: EncoderOutput, seconds: Sequence[float]
    ) -> None:
        """Take in a clip: its features, those of all its patches, and the times of both."""
        self.seconds = [a + b for a, b in zip(self.seconds, seconds, strict=True)]
        for n, one in enumerate((output, dense)):
            self.tokens[n] += len(one.last_hidden_state)
        ours, all_ = (one.frame_features.double().cpu().numpy() for one in (output, dense))
        norms = np.linalg.norm(ours, axis=2) * np.linalg.norm(all_, axis=2)
        counted = norms > 0
        cosines = np.where(counted, (ours * all_).sum(axis=2), 0) / np.where(counted, norms, 1)
        self.empty += int((~counted).sum())
        span = len(clip) // ours.shape[1]
        for n, (frame, _) in enumerate(clip[::span]):
            if counted[:, n].any():
                mean = float(cosines[counted[:, n], n].mean())
                self.frames.append((frame.index, float(frame.time), mean))

    def document(self, gaze_s: float | None) -> dict[str, Any]:
        """The comparison as JSON has it; times in milliseconds."""
        cut, encode, dense_cut, dense_encode = (round(1000 * s, 3) for s in self.seconds)
        gaze = None if gaze_s is None else round(1000 * gaze_s, 3)
        ours = (gaze or 0) + cut + encode
        worst = min(self.frames, key=lambda frame: frame[2], default=None)
        cosines = [cosine for _, _, cosine in self.frames]
        return {
            "tokens": self.tokens[0],
            "dense_tokens": self.tokens[1],
            "gaze_ms": gaze,
            "cut_ms": cut,
            "encode_ms": encode,
            "dense_cut_ms": dense_cut,
            "dense_encode_ms": dense_encode,
            "speed_up": round((dense_cut + dense_encode) / ours, 3) if ours else None,
            "cosine_similarity": round(sum(cosines) / len(cosines), 6) if cosines else None,
            "frames_without_tokens": self.empty,
            "worst_frame": worst
            and {"index": worst[0], "time_s": worst[1], "cosine_similarity": round(worst[2], 6)},
        }


def comparison_table(name: str, comparison: dict[str, Any]) -> str:
    """A comparison as text, a line per figure."""
    c = comparison

    def ms(*names: str) -> str:
        return f"{sum(c[name] or 0 for name in names):12.1f}"

    gaze = "           -" if c["gaze_ms"] is None else ms("gaze_ms")
    worst = c["worst_frame"]
    lines = [
        name,
        f"{'':<20}{'gazed':>12}{'dense':>12}",
        f"{'tokens':<20}{c['tokens']:12}{c['dense_tokens']:12}",
        f"{'gaze, ms':<20}{gaze}           -",
        f"{'cut, ms':<20}{ms('cut_ms')}{ms('dense_cut_ms')}",
        f"{'encode, ms':<20}{ms('encode_ms')}{ms('dense_encode_ms')}",
        f"{'all, ms':<20}{ms('gaze_ms', 'cut_ms', 'encode_ms')}"
        f"{ms('dense_cut_ms', 'dense_encode_ms')}",
    ]
    if c["speed_up"] is not None:
        lines.append(f"{'times faster':<20}{c['speed_up']:12.2f}")
    if worst:
        lines.append(f"{'cosine similarity':<20}{c['cosine_similarity']:12.4f}")
        lines.append(
            f"{'worst frame':<20}{worst['cosine_similarity']:12.4f}"
            f"   frame {worst['index']}, {worst['time_s']:.3f} s"
        )
    return "\n".join(lines)
