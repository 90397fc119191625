"""Gaze-driven sparse video: traces, masks, interframe video and readouts.

``load_model`` opens a model for use from Python; each command is one call (``autogaze_cli.api``).
"""

from __future__ import annotations

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
    from autogaze_cli.model.autogaze import load_model

__all__ = [
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


def __getattr__(name: str) -> Any:
    """Import the library's entry points on first use, so that ``--help`` never imports PyTorch."""
    if name == "load_model":
        from autogaze_cli.model.autogaze import load_model

        return load_model
    if name == "load_encoder":
        from autogaze_cli.encoders import load_encoder

        return load_encoder
    if name == "audit_readout":
        from autogaze_cli.audit.call import audit_readout

        return audit_readout
    if name in __all__:  # the commands as functions
        from autogaze_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
