"""Figures of the model: whole frames, frames in tiles, and how the time grows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.bench.operations import gaze_operations, vision_operations
from autogaze_cli.bench.report import Figure
from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.synthetic import SEED, seeded_frames
from autogaze_cli.bench.timing import Timer
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.model.autogaze import AutoGaze
from autogaze_cli.model.output import GazeOutput
from autogaze_cli.model.preprocess import cut_tiles, square

logger = logging.getLogger(__name__)


def model_figures(settings: BenchSettings, model: AutoGaze, ceiling: float) -> Iterator[Figure]:
    """Whole frames: for each batch, with and without stopping early.

    Args:
        settings: What to measure, and how often.
        model: The model, on the device to measure.
        ceiling: Peak rate of the device in GFLOP/s.
    """
    device, timer = model.device.type, _timer(settings, model)
    prepare = partial(model.preprocess, _frames(settings))
    seconds = timer.best(prepare)
    yield Figure("preprocess", seconds, device=device, frames=settings.frames)
    clip = square(prepare(), model.config.input_img_size)
    for batch in settings.batch:
        logger.info("measuring %s, %s, batch %d", model.device, _dtype(model), batch)
        video = _rolled(clip, batch)
        frames = batch * settings.frames
        of_vision = vision_operations(model.config, frames)
        same = partial(
            Figure,
            device=device,
            dtype=_dtype(model),
            ceiling_gflops=ceiling,
            batch=batch,
            frames=frames,
        )
        for loss in (None, settings.task_loss_requirement):
            times, output = _generate_parts(settings, model, video, loss)
            vision_s, decode_s, seconds = times
            work = gaze_operations(model.config, output)
            same_loss = partial(same, task_loss_requirement=loss)
            if loss is None:
                yield same("vision", vision_s, operations=of_vision)
            yield same_loss("decode_tokens", decode_s, operations=work)
            yield same_loss("generate", seconds, operations=work + of_vision)


def tiled_figures(settings: BenchSettings, model: AutoGaze, ceiling: float) -> Iterator[Figure]:
    """A clip in tiles, all in one batch: from frames on the GPU to tokens on the host.

    Args: as for :func:`model_figures`.
    """
    width, height = settings.frame_size
    layout = TileLayout(mode="tiled", height=height, width=width)
    logger.info("measuring %s, %s, %d tiles", model.device, _dtype(model), len(layout))
    frames = torch.from_numpy(_frames(settings)).to(model.device)
    p, timer = model.preprocessing, _timer(settings, model)
    cut = partial(cut_tiles, frames, layout, mean=p.mean, std=p.std)
    same = partial(
        Figure,
        device=model.device.type,
        dtype=_dtype(model),
        batch=len(layout),
        frames=settings.frames,
        ceiling_gflops=ceiling,
    )
    cut_s = timer.best(cut)
    (vision_s, decode_s, _), output = _generate_parts(settings, model, cut(), None)
    whole_s = timer.best(lambda: _generate(settings, model, cut(), None))
    of_vision = vision_operations(model.config, settings.frames * len(layout))
    work = gaze_operations(model.config, output)
    yield same("tiled_preprocess", cut_s, ceiling_gflops=None)
    yield same("tiled_vision", vision_s, operations=of_vision)
    yield same("tiled_decode_tokens", decode_s, operations=work)
    yield same("tiled_all", whole_s, operations=work + of_vision)


def growth_of(settings: BenchSettings, model: AutoGaze) -> Iterator[dict[str, Any]]:
    """How the time grows when there is twice as much to do, without stopping early."""
    side, n, batch = model.config.input_img_size, settings.frames, max(settings.batch)
    rng = np.random.default_rng(SEED)
    noise: NDArray[np.float32] = rng.standard_normal((1, 2 * n, 3, side, side), np.float32)
    clip = torch.from_numpy(noise).to(model.device)
    cases = {
        "frames": {n: clip[:, :n], 2 * n: clip},
        "batch": {size: _rolled(clip[:, :n], size) for size in (batch, 2 * batch)},
    }
    timer = _timer(settings, model)
    for what, videos in cases.items():
        logger.info("measuring %s, %s, twice the %s", model.device, _dtype(model), what)
        once, twice = (
            timer.best(partial(_generate, settings, model, video, None))
            for video in videos.values()
        )
        yield {
            "device": model.device.type,
            "dtype": _dtype(model),
            "what": what,
            "from": min(videos),
            "to": max(videos),
            "seconds": [round(once, 6), round(twice, 6)],
            "factor": round(twice / once, 3),
        }


def _generate_parts(
    settings: BenchSettings, model: AutoGaze, video: Tensor, loss: float | None
) -> tuple[tuple[float, ...], GazeOutput]:
    """The times of the vision model, of choosing tokens, and of both; and what was chosen."""
    gazing, timer = model.network.gazing_model, _timer(settings, model)
    embed, vision_s, output = gazing.embed_video, 0.0, None

    def timed(video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        nonlocal vision_s
        result = []
        vision_s = timer.seconds(lambda: result.append(embed(video, past)))
        return result[0]

    def generate() -> None:
        nonlocal output
        output = _generate(settings, model, video, loss)

    def parts() -> tuple[float, float, float]:
        whole = timer.seconds(generate)
        return vision_s, whole - vision_s, whole

    gazing.embed_video = timed  # type: ignore[method-assign]
    try:
        times = timer.best_parts(parts)
    finally:
        del gazing.embed_video
    assert output is not None
    return times, output


def _generate(
    settings: BenchSettings, model: AutoGaze, video: Tensor, loss: float | None
) -> GazeOutput:
    return model.generate(video, gazing_ratio=settings.gazing_ratio, task_loss_requirement=loss)


def _frames(settings: BenchSettings) -> NDArray[np.uint8]:
    """Synthetic frames, ``[frames, height, width, 3]``."""
    return np.stack([f.rgb for f in seeded_frames(settings.frames, *settings.frame_size)])


def _rolled(clip: Tensor, batch: int) -> Tensor:
    """Different clips made of one: each begins at another frame."""
    return torch.cat([clip.roll(n, dims=1) for n in range(batch)])


def _timer(settings: BenchSettings, model: AutoGaze) -> Timer:
    return Timer(settings.repeats, settings.enough_s, model.device)


def _dtype(model: AutoGaze) -> str:
    return str(model.dtype).removeprefix("torch.")
