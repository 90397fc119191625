"""``autogaze readout`` as a call."""

from __future__ import annotations

from typing import Literal, Unpack

from autogaze_cli.api.arguments import takes
from autogaze_cli.batch.result import Result
from autogaze_cli.jobs.calls import call_one
from autogaze_cli.jobs.values import (
    GazeValues,
    OutputValues,
    PresetValues,
    ReadoutValues,
    SamplingValues,
    Source,
    StoreValues,
)


class ProjectValues(
    StoreValues, ReadoutValues, SamplingValues, PresetValues, GazeValues, OutputValues, total=False
):
    """The arguments of ``project_readout``.

    Attributes:
        format: Format of the readout.
    """

    format: Literal["npz", "safetensors", "json", "csv"]


@takes(ProjectValues, {"format": "npz"})
def project_readout(video: Source, **settings: Unpack[ProjectValues]) -> Result:
    """Turn gaze into rectangles, tokens and coordinates: ``autogaze readout``.

    ``video`` is a video, or a saved trace, which needs neither the video nor PyTorch. See
    ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = project_readout("fixtures/traces/v1.trace.json", out_dir=folder)
        >>> made.files["readout"].name
        'v1.readout.npz'
    """
    return call_one(project_readout, "readout", video, settings)
