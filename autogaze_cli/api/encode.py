"""``autogaze encode`` as a call."""

from __future__ import annotations

from typing import Unpack

from autogaze_cli.api.arguments import takes
from autogaze_cli.batch.result import Result
from autogaze_cli.jobs.calls import call_one
from autogaze_cli.jobs.values import (
    EncodingValues,
    GazeValues,
    OutputValues,
    PresetValues,
    ReportValues,
    SamplingValues,
    SavedTraceValues,
    Source,
    StoreValues,
)


class EncodeValues(
    EncodingValues,
    SavedTraceValues,
    StoreValues,
    SamplingValues,
    PresetValues,
    GazeValues,
    OutputValues,
    ReportValues,
    total=False,
):
    """The arguments of ``encode_video``."""


@takes(EncodeValues, {})
def encode_video(video: Source, **settings: Unpack[EncodeValues]) -> Result:
    """Encode the gazed patches of a video: ``autogaze encode``; see ``trace_video``.

    ``encoder`` must be given. With ``compare_dense``, ``document["comparison"]`` has the figures.
    """
    return call_one(encode_video, "encode", video, settings)
