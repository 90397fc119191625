"""What every gaze source is: frames in, the same frames with their gaze out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.media.video import Frame
from autogaze_cli.trace import FrameTrace

OnGazed = Callable[[float], None]
"""Progress callback: how many frames were gazed at so far, parts of a clip included."""


class GazeSource(ABC):
    """Turns frames into fixations.

    Attributes:
        settings: As given to ``open_source``, with the source's own defaults filled in.
        mask_source: Its name, as in ``--mask-source``.
        reads_motion: Whether frames should carry the motion vectors of the video.
        model: The model's name or folder; None without one, as are the next three.
        model_sha256: Of its weights.
        scales: Its scales, such as ``32+64+112+224``.
        num_vision_tokens_each_frame: Its ids per frame.
        max_gaze_tokens_each_frame: Token budget per tile and frame, before ``top_k`` raises it.
        task_loss_requirement: The threshold in force; None = no stopping.
        device: Where it runs.
    """

    mask_source: str
    reads_motion: bool = False
    model: str | None = None
    model_sha256: str | None = None
    scales: str | None = None
    num_vision_tokens_each_frame: int | None = None
    task_loss_requirement: float | None = None
    max_gaze_tokens_each_frame: int
    device: str = "cpu"

    def __init__(self, settings: GazeSettings) -> None:
        self.settings = settings

    def with_settings(self, settings: GazeSettings) -> GazeSource:
        """A source with other settings; a loaded model is shared, and stays as it was loaded."""
        return type(self)(settings)

    def layout(self, width: int, height: int) -> TileLayout:
        """The tiles of a frame of that size."""
        s = self.settings
        return TileLayout(
            mode=s.mode, height=height, width=width, tile_size=s.tile_size, stride=s.stride
        )

    def tile_count(self, width: int, height: int) -> int:
        """How many tiles a frame of that size has, 1 in resize mode."""
        return len(self.layout(width, height))

    @abstractmethod
    def trace(
        self, frames: Iterable[Frame], on_gazed: OnGazed | None = None
    ) -> Iterator[tuple[Frame, FrameTrace]]:
        """Gaze at frames of one size.

        Args:
            frames: In order; no more of them are held than a clip.
            on_gazed: Progress callback, for sources that work in clips.

        Yields:
            Every frame once, in order, with its gaze.
        """
