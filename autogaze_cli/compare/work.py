"""Every row of a comparison on one clip, as the work of a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from autogaze_cli.batch.outputs import Outputs, name_temporaries
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.compare.clip import Clip
from autogaze_cli.compare.cost import Chosen, choose
from autogaze_cli.compare.pictures import strip
from autogaze_cli.compare.settings import CompareSettings, Row
from autogaze_cli.cpus import available_cpus
from autogaze_cli.errors import AutogazeError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame, read_frames
from autogaze_cli.progress import Advance
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.document import write_document

if TYPE_CHECKING:
    from autogaze_cli.encoders import Encoder

DIGITS = 6
"""Decimal places of figures in documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareWork:
    """Measures every row on each clip, ``STEM.compare.json``.

    Attributes:
        settings: What is compared.
        out_dir: Output folder.
        run: The run's name in temporary files.
    """

    settings: CompareSettings
    out_dir: Path
    run: str = ""

    def of_run(self, run: str) -> Self:
        """A copy whose temporary files have that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Open every row's source; a model is loaded once."""
        name_temporaries(self.run)
        s = replace(self.settings, threads=worker_threads(self.settings.threads, workers))
        sources: dict[Row, GazeSource] = {}
        loaded: dict[str, GazeSource] = {}
        for row in s.rows():
            loaded[row.source] = sources[row] = opened(s.gaze(row), loaded.get(row.source))
        encoder = None
        if s.encoder is not None:
            from autogaze_cli.encoders import load_encoder

            encoder = load_encoder(s.encoder, device=s.device, dtype=s.dtype)
        return partial(self._one, sources, encoder)

    def _one(
        self, sources: Mapping[Row, GazeSource], encoder: Encoder | None, task: Task, step: Advance
    ) -> Result:
        motion = any(source.reads_motion for source in sources.values())
        frames = read_clip(task, self.settings.sampling, motion=motion)
        path = self.out_dir / task.item.stem.with_name(f"{task.item.stem.name}.compare.json")
        try:
            measured = _Measured(self.settings, frames, encoder)
            for done, (row, source) in enumerate(sources.items(), 1):
                measured.add(row, source)
                step(done * len(frames), len(sources) * len(frames))
        except AutogazeError as error:
            raise type(error)(f"{task.item.name}: {error}", hint=error.hint) from error
        height, width = frames[0].rgb.shape[:2]
        document: dict[str, Any] = {
            "format": "autogaze-compare-clip",
            "version": 1,
            "input": task.item.name,
            "frames": len(frames),
            "width": width,
            "height": height,
            "rows": measured.rows(),
        }
        with Outputs(overwrite=task.overwrite) as outputs:
            write_document(outputs.add(path), document | {"pictures": measured.pictures})
        return Result(files={"figures": path}, document=document)


class _Measured:
    """The figures of a clip, row by row."""

    def __init__(
        self, settings: CompareSettings, frames: Sequence[Frame], encoder: Encoder | None
    ) -> None:
        self._settings, self._frames = settings, frames
        self._clip = Clip([frame.rgb for frame in frames])
        self._encoded = None
        if encoder is not None:
            from autogaze_cli.compare.encoded import Encoded

            self._encoded = Encoded(encoder, frames)
        self._found: dict[tuple[Row, bool], list[dict[str, float]]] = defaultdict(list)
        self._pictured = settings.tokens[len(settings.tokens) // 2]
        self.pictures = {"": strip(self._clip.frames)}

    def add(self, row: Row, source: GazeSource) -> None:
        """Gaze, and measure what the canvas shows; the draws of chance share a row."""
        shared = replace(row, seed=0)
        chosen = choose(source, self._frames, self._settings.repeats)
        fixations = [frame.fixations for frame in chosen.gaze]
        for free in (False, True):
            played = self._clip.play(fixations, first_frame_free=free)
            figures = self._clip.measures(played)
            figures |= token_figures(chosen.gaze, first_frame_free=free)
            self._found[shared, free].append(figures | _cost(chosen))
            if row == Row(row.source, self._pictured) and not free:
                self.pictures[row.source] = strip(played.pictures)
        if self._encoded is not None:
            figures = self._encoded.figures(source, chosen.gaze)
            for free in (False, True):
                self._found[shared, free][-1] |= figures

    def rows(self) -> list[dict[str, Any]]:
        """One entry per row of the table, twice: with the first frame's tokens and without."""
        return [
            {
                "source": row.source,
                "setting": row.setting,
                "tokens": row.tokens,
                "first_frame_free": free,
                "figures": _means(draws),
            }
            for (row, free), draws in self._found.items()
        ]


def _cost(chosen: Chosen) -> dict[str, float]:
    memory = {} if chosen.memory_mb is None else {"peak_memory_mb": chosen.memory_mb}
    return {"choose_ms": chosen.ms, "choose_cpu_ms": chosen.cpu_ms, **memory}


def _means(draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([d[name] for d in draws])), DIGITS) for name in draws[0]}


def token_figures(gaze: Sequence[FrameTrace], *, first_frame_free: bool) -> dict[str, float]:
    """Tokens per frame, of the first frame and of the clip; those of a free frame do not count."""
    counts = [len(frame.fixations.active()) for frame in gaze]
    first = 0 if first_frame_free else counts[0]
    later = counts[1:]
    frames = later if first_frame_free else counts
    return {
        "tokens_per_frame": float(np.mean(frames)),
        "tokens_first_frame": first,
        "tokens_clip": first + sum(later),
    }


def read_clip(task: Task, sampling: Sampling, *, motion: bool) -> list[Frame]:
    """The frames of a clip, all of them.

    Raises:
        InputError: It cannot be read, or is shorter.
    """
    return list(read_frames(Path(task.item.path), sampling, motion=motion, require=True))


def opened(settings: GazeSettings, loaded: GazeSource | None = None) -> GazeSource:
    """A gaze source, sharing the model of one that is loaded."""
    return open_source(settings) if loaded is None else loaded.with_settings(settings)


def worker_threads(threads: int | None, workers: int) -> int | None:
    """The CPU threads of each of several workers; also set for this process."""
    if threads is None and workers > 1:
        threads = max(1, available_cpus() // workers)
    if threads is not None:
        torch.set_num_threads(threads)
    return threads
