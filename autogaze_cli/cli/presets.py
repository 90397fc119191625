"""``--preset``: values that come after those of the file, and before the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from autogaze_cli.jobs.presets import preset_values

_PRESET = "autogaze.preset"
"""The key in a context's ``meta`` of the preset's name and the parameters that it sets."""


def apply_preset(ctx: click.Context, typed: Mapping[str, Any]) -> None:
    """Add the values of the preset of ``ctx``, if it has one, below those of the file.

    Args:
        ctx: The context of a command, after its file was read.
        typed: The values on the command line, by parameter name.
    """
    ctx.meta.pop(_PRESET, None)
    given = {}
    for param in ctx.command.params:
        value, source = param.consume_value(ctx, typed)
        if source is not ParameterSource.DEFAULT:
            given[str(param.name)] = value
    if "preset" not in given:
        return
    known = [str(param.name) for param in ctx.command.params]
    values = preset_values(given["preset"], known, given)
    ctx.default_map = {**values, **(ctx.default_map or {})}
    ctx.meta[_PRESET] = (f"preset {given['preset']}", values)


def preset_of(ctx: click.Context, param: click.Parameter) -> str | None:
    """The preset that sets a parameter, as text; None if none does."""
    name, values = ctx.meta.get(_PRESET, ("", ()))
    return name if param.name in values else None
