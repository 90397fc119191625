"""The gaze sources by name: those of this package, and those that other packages add.

A package adds one by an entry point of the group ``autogaze.sources``, whose name is the source's
and whose value names a subclass of ``GazeSource``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from autogaze_cli.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from autogaze_cli.sources.source import GazeSource

GROUP = "autogaze.sources"
"""The entry point group by which packages add sources."""

BUILT_IN: Mapping[str, str] = {
    "autogaze": "autogaze_cli.sources.model:AutoGazeSource",
    "patch-diff": "autogaze_cli.sources.patch_diff:PatchDiffSource",
    "rlt": "autogaze_cli.sources.rlt:RltSource",
    "evs": "autogaze_cli.sources.evs:EvsSource",
    "codec": "autogaze_cli.sources.codec:CodecSource",
    "random": "autogaze_cli.sources.random_cells:RandomSource",
    "uniform": "autogaze_cli.sources.uniform:UniformSource",
}
"""Module and class of each source of this package; no other package's source replaces one."""


def source_names() -> list[str]:
    """All names, those of this package first."""
    return [*BUILT_IN, *(name for name in sorted(_added()) if name not in BUILT_IN)]


def check_source_name(name: str) -> None:
    """Refuse a name that no source has.

    Raises:
        ConfigError: There is no such source.
    """
    if name not in BUILT_IN and name not in _added():
        names = source_names()
        raise ConfigError(
            f"mask_source must be one of {', '.join(names)}, not {name!r}",
            hint=did_you_mean(name, names, "is the package that adds it installed?"),
        )


def source_class(name: str) -> type[GazeSource]:
    """The class of a source, imported now.

    Raises:
        ConfigError: There is no such source, or its package is broken.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: type[GazeSource] = getattr(import_module(module), attribute)
        return found
    check_source_name(name)
    point = _added()[name]
    from autogaze_cli.sources.source import GazeSource  # names alone are known without it

    package = point.dist.name if point.dist else point.value
    try:
        added = point.load()
    except Exception as error:  # whatever a foreign module raises
        raise ConfigError(
            f"gaze source {name} of {package} cannot be imported ({error})",
            hint=f"update or remove {package}",
        ) from error
    if not (isinstance(added, type) and issubclass(added, GazeSource)):
        raise ConfigError(
            f"gaze source {name} of {package}: {point.value} is not a subclass of GazeSource",
            hint=f"update or remove {package}",
        )
    return added


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
