"""``autogaze trace`` as a call."""

from __future__ import annotations

from typing import Literal, Unpack

from autogaze_cli.api.arguments import takes
from autogaze_cli.batch.result import Result
from autogaze_cli.jobs.calls import call_one
from autogaze_cli.jobs.values import (
    GazeValues,
    OutputValues,
    PresetValues,
    ReportValues,
    SamplingValues,
    Source,
)


class TraceValues(
    SamplingValues, PresetValues, GazeValues, OutputValues, ReportValues, total=False
):
    """The arguments of ``trace_video``.

    Attributes:
        format: Format of the trace.
    """

    format: Literal["json", "npz", "safetensors", "csv"]


@takes(TraceValues, {"format": "json"})
def trace_video(video: Source, **settings: Unpack[TraceValues]) -> Result:
    """Save where the model looks in each frame: ``autogaze trace``.

    Args:
        video: A file, or an image pattern.
        **settings: The options of the command; see ``SamplingValues``, ``GazeValues`` and
            ``OutputValues``.

    Returns:
        The file, as ``files["trace"]``, and a summary, as ``document``.

    Raises:
        AutogazeError: Its class says what to fix; nothing has been written then.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = trace_video(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", out_dir=folder
        ...     )
        >>> made.files["trace"].name, made.document["frames"]
        ('dog.trace.json', 2)
    """
    return call_one(trace_video, "trace", video, settings)
