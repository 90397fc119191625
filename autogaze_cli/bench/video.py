"""Figures of what is done without a model: decoding, comparing, composing, encoding."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

from autogaze_cli.bench.report import Figure
from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.synthetic import seeded_frames
from autogaze_cli.bench.timing import Timer
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.media.writers import Format, open_writer
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.metrics import RenderMetrics
from autogaze_cli.visualize.settings import Visualization

logger = logging.getLogger(__name__)


def video_figures(settings: BenchSettings, folder: Path) -> Iterator[Figure]:
    """Time each stage by itself.

    Args:
        settings: Which video, and how often.
        folder: Where files are written.
    """
    frames = (
        list(read_frames(Path(settings.clip), Sampling(frames=settings.frames)))
        if settings.clip
        else seeded_frames(settings.frames, *settings.frame_size)
    )
    figure = partial(Figure, device="cpu", frames=len(frames))
    timer = Timer(settings.repeats, settings.enough_s)
    logger.info("measuring video")
    made = folder / "clip.mp4"
    encoded = timer.best(partial(_encode, frames, made, "mp4", frames[0].rgb.shape))
    path = Path(settings.clip) if settings.clip else made
    sampling = Sampling(frames=len(frames))
    decode = partial(read_frames, path, sampling, threads=settings.threads)
    yield figure("decode_video", timer.best(lambda: _exhaust(decode())))
    source = open_source(GazeSettings())
    yield figure("patch_diff", timer.best(lambda: _exhaust(source.trace(frames))))
    fixations = [gaze.fixations for _, gaze in source.trace(frames)]
    composed, drawn = timer.best_parts(partial(_compose, frames, fixations))
    yield figure("compose", composed)
    yield figure("mask_panel", drawn)
    gif = partial(_encode, frames, folder / "clip.gif", "gif", (216, 384, 3))
    yield figure("encode_gif", timer.best(gif))
    yield figure("encode_mp4", encoded)


def _compose(frames: Sequence[Frame], fixations: Sequence[Fixations]) -> tuple[float, float]:
    """The times of an interframe with its metrics, and of its mask panels."""
    compositor = Compositor(Visualization(visualization_mode="interframe"))
    metrics, composed, drawn = RenderMetrics(), 0.0, 0.0
    for frame, gazed in zip(frames, fixations, strict=True):
        start = time.perf_counter()
        view = compositor.step(frame.rgb, gazed)
        metrics.add(view)
        middle = time.perf_counter()
        _ = view.mask_panel  # drawn when first asked for
        composed += middle - start
        drawn += time.perf_counter() - middle
    return composed, drawn


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _encode(frames: Sequence[Frame], path: Path, format: Format, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    with open_writer(path, format=format, fps=Fraction(30), width=width, height=height) as writer:
        for frame in frames:
            writer.write(frame.rgb)
