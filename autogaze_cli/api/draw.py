"""``autogaze mask``, ``interframe`` and ``render-assets`` as calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from autogaze_cli.api.arguments import takes
from autogaze_cli.batch.result import Result
from autogaze_cli.jobs.calls import call_one
from autogaze_cli.jobs.presets import PRESETS
from autogaze_cli.jobs.values import (
    DrawingValues,
    GazeValues,
    OutputValues,
    PanelValues,
    PresetValues,
    ReportValues,
    SamplingValues,
    SavedTraceValues,
    Source,
    StoreValues,
)

if TYPE_CHECKING:
    from autogaze_cli.media.writers import Format


class DrawValues(
    SavedTraceValues,
    StoreValues,
    SamplingValues,
    PresetValues,
    GazeValues,
    DrawingValues,
    PanelValues,
    OutputValues,
    ReportValues,
    total=False,
):
    """The arguments of ``render_mask`` and ``render_interframe``.

    Attributes:
        format: Format of the drawn file.
    """

    format: Format


class AssetValues(
    SamplingValues, GazeValues, DrawingValues, OutputValues, ReportValues, total=False
):
    """The arguments of ``render_assets``.

    Attributes:
        check: Write nothing; compare with what exists.
    """

    check: bool


@takes(DrawValues, {"format": "gif"})
def render_mask(video: Source, **settings: Unpack[DrawValues]) -> Result:
    """Draw the gazed cells of a video as a mask: ``autogaze mask``; see ``trace_video``."""
    return call_one(render_mask, "mask", video, settings)


@takes(DrawValues, {"format": "gif"})
def render_interframe(video: Source, **settings: Unpack[DrawValues]) -> Result:
    """Rebuild a video from its gazed cells and keyframes: ``autogaze interframe``.

    See ``trace_video``.
    """
    return call_one(render_interframe, "interframe", video, settings)


@takes(AssetValues, PRESETS["assets"])
def render_assets(video: Source, **settings: Unpack[AssetValues]) -> Result:
    """Write input, mask and output GIFs and their metrics: ``autogaze render-assets``.

    With ``check=True`` nothing is written, and ``differences`` lists what is not up to date. See
    ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = render_assets(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", inference_width=320,
        ...         inference_height=180, out_dir=folder,
        ...     )
        >>> made.files["output"].name
        'autogaze_dog_output.gif'
    """
    return call_one(render_assets, "render-assets", video, settings)
