"""Settings of a request: how to draw, how to encode, how a batch runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import Attend
from autogaze_cli.jobs.values import EngineName
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.visualize.settings import Visualization

if TYPE_CHECKING:
    from autogaze_cli.media.writers import Format

MAX_GIF_WIDTH = 640
"""Maximum width of a GIF in pixels, unless a size is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How to draw, and the format of drawn files.

    Attributes:
        visualization: How masks and outputs are composed.
        format: ``gif``, ``mp4``, ``webm``, ``png``, ``apng`` or ``webp``.
        width: Width of a panel in pixels; None = derived from the height, or that of the frames
            (at most ``MAX_GIF_WIDTH`` for a GIF).
        height: Height of a panel in pixels; None = derived from the width, or as for ``width``.
        side_by_side: Whether the input is drawn to the left of the mask or output.
    """

    visualization: Visualization
    format: Format = "gif"
    width: int | None = None
    height: int | None = None
    side_by_side: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a panel for frames of that size."""
        wanted = self.width
        if self.format == "gif" and wanted is None and self.height is None:
            wanted = min(width, MAX_GIF_WIDTH)
        return Sampling(width=wanted, height=self.height).size(width, height)

    def file_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the files for frames of that size."""
        width, height = self.size(width, height)
        return width * (1 + self.side_by_side), height


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Which encoder runs, and on what.

    Attributes:
        encoder: A folder, or the id of a model in the Hub cache.
        scales: Sides of the encoder's pictures in pixels, such as ``32+64+112+224``; None = those
            that suit it.
        attend: Which tokens a token sees; see ``load_encoder``.
        dense: Encode every patch instead of the gazed ones.
        compare_dense: Encode every patch too, and compare.
    """

    encoder: str
    scales: str | None = None
    attend: Attend = "block-causal"
    dense: bool = False
    compare_dense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Output folder and execution of a batch. The content of outputs never depends on these.

    Attributes:
        out_dir: Output folder.
        overwrite: Replace existing outputs.
        check: Write nothing; compare with what exists.
        dry_run: Plan only.
        resume: Skip what an earlier run into the same folder finished.
        fail_fast: Stop at the first input that fails.
        workers: Worker processes.
        engine: ``local`` or ``ray``.
        address: Address of the Ray cluster, ``HOST:PORT``.
        gpus_per_worker: GPUs that Ray reserves per worker; None = 1 on a GPU, otherwise 0.
    """

    out_dir: Path = Path()
    overwrite: bool = False
    check: bool = False
    dry_run: bool = False
    resume: bool = False
    fail_fast: bool = False
    workers: int = 1
    engine: EngineName = "local"
    address: str | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1, not {self.workers}")
