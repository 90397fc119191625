"""Each command as one call.

Arguments are the options of the command by their long names, ``--mask-source`` as ``mask_source``,
with the same meaning and defaults; the classes of ``autogaze_cli.jobs.values`` describe them, and
``help()`` of a call lists them. Neither the environment nor a configuration file is read.
"""

from autogaze_cli.api.batch import run_batch
from autogaze_cli.api.draw import render_assets, render_interframe, render_mask
from autogaze_cli.api.encode import encode_video
from autogaze_cli.api.readout import project_readout
from autogaze_cli.api.trace import trace_video

__all__ = [
    "encode_video",
    "project_readout",
    "render_assets",
    "render_interframe",
    "render_mask",
    "run_batch",
    "trace_video",
]
