"""A command as a Python call: its settings checked against the call's own signature."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from autogaze_cli.batch.report import Report
from autogaze_cli.batch.result import Result
from autogaze_cli.errors import ConfigError, InputError, did_you_mean
from autogaze_cli.jobs.checks import check_inputs, checked
from autogaze_cli.jobs.presets import preset_values
from autogaze_cli.jobs.request import make_request
from autogaze_cli.jobs.run import run
from autogaze_cli.jobs.values import BatchValues, Source, Values

_OF_BATCHES = frozenset(BatchValues.__annotations__)


def call_one(
    signed: Callable[..., Result], command: str, video: Source, settings: Mapping[str, Any]
) -> Result:
    """Run a command for one video.

    Args:
        signed: The call, whose signature says which settings there are, and their defaults.
        command: The command.
        video: The video.
        settings: Those given.

    Raises:
        AutogazeError: It failed, or ``video`` names several.
    """
    check_inputs([video])
    if os.path.isdir(video):  # noqa: PTH112  # Path.is_dir() raises for some names
        raise InputError(f"{os.fspath(video)}: is a folder", hint="call run_batch")
    for name in _OF_BATCHES & settings.keys():
        raise ConfigError(f"{name} is a setting of run_batch", hint="call run_batch")
    report = call(signed, command, [video], cast("Values", settings))
    if len(report.inputs) > 1:
        raise InputError(f"{os.fspath(video)}: {len(report.inputs)} videos", hint="call run_batch")
    (result,) = report.results.values()
    return result


def call(
    signed: Callable[..., Result], command: str, inputs: Sequence[Source], settings: Values
) -> Report:
    """Run a command for many inputs, with the defaults of its call.

    Raises:
        ConfigError: There is no such setting.
        AutogazeError: No input can be done, or the only input failed.
    """
    parameters = inspect.signature(signed).parameters
    defaults = {name: p.default for name, p in parameters.items() if name != "video"}
    for name in settings:
        if name not in defaults and name not in _OF_BATCHES:
            hint = did_you_mean(name, defaults, f"they are {', '.join(sorted(defaults))}")
            raise ConfigError(f"{command} has no setting {name!r}", hint=hint)
    check_inputs(inputs)
    defaults |= preset_values(settings.get("preset"), defaults, settings)
    values = checked(cast("Values", {**defaults, **settings}))
    given = [name for name in settings if values.get(name) != defaults.get(name)]
    return run(make_request(command, inputs, values, given))
