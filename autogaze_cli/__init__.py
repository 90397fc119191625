"""Gaze-driven sparse video: traces, masks, interframe video and readouts.

``load_model`` opens a model for use from Python; everything the commands do is in this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze_cli.version import __version__

if TYPE_CHECKING:
    from autogaze_cli.model.autogaze import load_model

__all__ = ["__version__", "load_model"]

# In a checkout the subcommands stand beside the package; an installed wheel has its own copy.
_beside = Path(__file__).parent.parent / "commands"
if not (Path(__file__).parent / "commands").exists() and (_beside / "__init__.py").exists():
    __path__.append(str(_beside.parent))


def __getattr__(name: str) -> Any:
    """Import the library's entry points on first use, so that ``--help`` never imports PyTorch."""
    if name == "load_model":
        from autogaze_cli.model.autogaze import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
