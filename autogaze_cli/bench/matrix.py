"""Figures of whole cases: every gaze source, in every mode, drawn in every style."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from itertools import product
from pathlib import Path
from typing import get_args

from autogaze_cli.bench.report import Figure
from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.synthetic import seeded_frames
from autogaze_cli.bench.timing import Timer
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings, MaskSource, Mode
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.model.catalog import default_model
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.settings import MASK_VISUALIZATIONS, VISUALIZATION_MODES, Visualization

logger = logging.getLogger(__name__)

SOURCES: tuple[MaskSource, ...] = ("autogaze", "patch-diff")
MODES: tuple[Mode, ...] = get_args(Mode)
STYLES = (*VISUALIZATION_MODES, *MASK_VISUALIZATIONS)
"""What is drawn of a gaze: a composed frame, or a mask panel."""


def matrix_figures(settings: BenchSettings) -> Iterator[Figure]:
    """Time the gaze of each source in each mode, and the drawing of that gaze in each style.

    Args:
        settings: Which cases, on which clip and devices.

    Raises:
        ConfigError: A model is to gaze, and none is named or bundled; or no case
            matches.
    """
    frames = (
        list(read_frames(Path(settings.clip), Sampling(frames=settings.frames)))
        if settings.clip
        else seeded_frames(settings.frames, *settings.frame_size)
    )
    timer = Timer(settings.repeats, settings.enough_s)
    for (source, mode), styles in _cases(settings).items():
        figure = partial(Figure, frames=len(frames), mask_source=source, mode=mode)
        fixations: list[Fixations] = []
        for device, dtype in _places(settings, source):
            logger.info("measuring %s, %s, %s", source, mode, device)
            opened = open_source(_gaze_settings(settings, source, mode, device, dtype))
            fixations = [gaze.fixations for _, gaze in opened.trace(frames)]
            seconds = timer.best(partial(_exhaust, opened, frames))
            yield figure("gaze", seconds, device.partition(":")[0], dtype=dtype)
        for style in styles:
            seconds = timer.best(partial(_draw, frames, fixations, style))
            yield figure("draw", seconds, "cpu", style=style)


def _exhaust(source: GazeSource, frames: Sequence[Frame]) -> None:
    for _ in source.trace(frames):
        pass


def _cases(settings: BenchSettings) -> dict[tuple[MaskSource, Mode], list[str]]:
    """The styles to draw of each source and mode; a source without a model has no tiles."""
    cases: dict[tuple[MaskSource, Mode], list[str]] = {}
    for source, mode, style in product(SOURCES, MODES, STYLES):
        name, tiled = f"{source}/{mode}/{style}", mode != "resize"
        wanted = not settings.case or any(fnmatchcase(name, pattern) for pattern in settings.case)
        if wanted and (source == "autogaze" or not tiled):
            cases.setdefault((source, mode), []).append(style)
    if not cases:
        raise ConfigError(
            f"no case matches {' or '.join(settings.case)}",
            hint="cases are SOURCE/MODE/STYLE, such as patch-diff/resize/overlay",
        )
    return cases


def _places(settings: BenchSettings, source: str) -> Iterator[tuple[str, str | None]]:
    """The devices and precisions that a source is measured with."""
    if source != "autogaze":
        yield "cpu", None
        return
    for device in settings.devices():
        for dtype in settings.dtype:
            yield str(device), dtype


def _gaze_settings(
    settings: BenchSettings, source: MaskSource, mode: Mode, device: str, dtype: str | None
) -> GazeSettings:
    if source != "autogaze":
        return GazeSettings(mask_source=source, mode=mode)
    model = settings.model or default_model()
    if model is None:
        raise ConfigError("no model was named, and none is bundled", hint="give --model")
    return GazeSettings(
        mask_source=source,
        model=model,
        mode=mode,
        gazing_ratio=settings.gazing_ratio,
        task_loss_requirement=settings.task_loss_requirement,
        device=device,
        dtype=dtype,  # type: ignore[arg-type]  # it is checked
    )


def _draw(frames: Sequence[Frame], fixations: Sequence[Fixations], style: str) -> None:
    composed = style in VISUALIZATION_MODES
    compositor = Compositor(
        Visualization(visualization_mode=style)
        if composed
        else Visualization(mask_visualization=style)
    )
    for frame, gazed in zip(frames, fixations, strict=True):
        view = compositor.step(frame.rgb, gazed)
        if not composed:
            _ = view.mask_panel  # drawn when first asked for
