"""Gaze-driven sparse video: traces, masks, interframe video and readouts.

Each command is one call (``autogaze_cli.api``). ``AutoGazePipeline`` gazes at frames in memory, and
``load_model`` opens a model by itself.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze_cli.version import __version__

if TYPE_CHECKING:
    from autogaze_cli.api import (
        encode_video,
        project_readout,
        render_assets,
        render_interframe,
        render_mask,
        run_batch,
        trace_video,
    )
    from autogaze_cli.audit.call import audit_readout
    from autogaze_cli.encoders import load_encoder
    from autogaze_cli.inference.pipeline import AutoGazePipeline
    from autogaze_cli.inference.tensors import AutoGazeTensorPipeline
    from autogaze_cli.model.autogaze import load_model
    from autogaze_cli.readout.packet import AutoGazePipelinePacket

__all__ = [
    "AutoGazePipeline",
    "AutoGazePipelinePacket",
    "AutoGazeTensorPipeline",
    "__version__",
    "audit_readout",
    "encode_video",
    "load_encoder",
    "load_model",
    "project_readout",
    "render_assets",
    "render_interframe",
    "render_mask",
    "run_batch",
    "trace_video",
]

# In a checkout the subcommands stand beside the package; an installed wheel has its own copy.
_beside = Path(__file__).parent.parent / "commands"
if not (Path(__file__).parent / "commands").exists() and (_beside / "__init__.py").exists():
    __path__.append(str(_beside.parent))


_HOMES = {
    "AutoGazePipeline": "inference.pipeline",
    "AutoGazePipelinePacket": "readout.packet",
    "AutoGazeTensorPipeline": "inference.tensors",
    "audit_readout": "audit.call",
    "load_encoder": "encoders",
    "load_model": "model.autogaze",
}
"""The modules of the entry points; those that are not here are in ``api``."""


def __getattr__(name: str) -> Any:
    """Import the library's entry points on first use, so that ``--help`` never imports PyTorch."""
    if name in __all__:
        return getattr(import_module(f"autogaze_cli.{_HOMES.get(name, 'api')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
