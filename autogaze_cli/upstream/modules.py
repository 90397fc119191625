"""The published module names, made importable. Source: upstream interface 1."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from autogaze_cli.upstream import siglip, utils, video_utils
from autogaze_cli.upstream.config import AutoGazeConfig
from autogaze_cli.upstream.model import AutoGaze
from autogaze_cli.upstream.processor import AutoGazeImageProcessor

ROOT = "autogaze"
MARK = "autogaze.models.autogaze"
"""The module by which the published package is recognised."""


def _named(*things: Any) -> dict[str, Any]:
    return {thing.__name__: thing for thing in things}


_MODEL = _named(AutoGaze, AutoGazeConfig, AutoGazeImageProcessor)
_SIGLIP = _named(siglip.SiglipVisionModel, siglip.SiglipVisionConfig)

MODULES: dict[str, dict[str, Any]] = {
    ROOT: {},
    "autogaze.datasets": {},
    "autogaze.datasets.video_utils": _named(
        video_utils.get_relative_video_path,
        video_utils.process_video_frames,
        video_utils.read_video_pyav,
        video_utils.sample_frame_indices,
        video_utils.transform_video_for_pytorch,
    ),
    "autogaze.models": {},
    MARK: _MODEL,
    "autogaze.models.autogaze.configuration_autogaze": _named(AutoGazeConfig),
    "autogaze.models.autogaze.modeling_autogaze": _named(AutoGaze),
    "autogaze.models.autogaze.processing_autogaze": _named(AutoGazeImageProcessor),
    "autogaze.utils": _named(utils.UnNormalize, utils.get_gazing_pos_from_gazing_mask),
    "autogaze.vision_encoders": {},
    "autogaze.vision_encoders.siglip": _SIGLIP,
    "autogaze.vision_encoders.siglip.configuration_siglip": _named(siglip.SiglipVisionConfig),
    "autogaze.vision_encoders.siglip.modeling_siglip": _named(siglip.SiglipVisionModel),
}
"""What each module offers; parents come before what is in them."""


class _Module(ModuleType):
    """A module that ``install`` made."""


def install(*, replace: bool = False) -> bool:
    """Make the published modules importable, with this package's classes in them.

    Args:
        replace: Whether to do so where the published package is present too. Otherwise that is
            left alone.

    Returns:
        Whether the names now stand for this package.
    """
    if not replace and is_present():
        return False
    for name in [name for name in sys.modules if name == ROOT or name.startswith(f"{ROOT}.")]:
        del sys.modules[name]
    for name, contents in MODULES.items():
        parent, _, last = name.rpartition(".")
        is_package = any(other.startswith(f"{name}.") for other in MODULES)
        module = _Module(name, "Of the published interface, provided by autogaze_cli.upstream.")
        module.__spec__ = ModuleSpec(name, None, is_package=is_package)
        module.__package__ = name if is_package else parent
        if is_package:
            module.__path__ = []  # nothing else is in it
        vars(module).update(contents)
        sys.modules[name] = module
        if parent:
            setattr(sys.modules[parent], last, module)
    return True


def is_present() -> bool:
    """Whether the published package itself is there; imports nothing."""
    loaded = sys.modules.get(ROOT)
    if loaded is not None and not isinstance(loaded, _Module):
        return True
    spec = find_spec(ROOT) if loaded is None else None
    folders = (spec and spec.submodule_search_locations) or ()
    return any(Path(folder, *MARK.split(".")[1:], "__init__.py").is_file() for folder in folders)
