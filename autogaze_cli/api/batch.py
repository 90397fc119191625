"""Any command over many inputs, as a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Unpack

from autogaze_cli.api.draw import render_assets, render_interframe, render_mask
from autogaze_cli.api.encode import encode_video
from autogaze_cli.api.readout import project_readout
from autogaze_cli.api.trace import trace_video
from autogaze_cli.batch.report import Report
from autogaze_cli.batch.result import Result
from autogaze_cli.errors import ConfigError, did_you_mean
from autogaze_cli.jobs.calls import call
from autogaze_cli.jobs.values import Source, Values

_CALLS: dict[str, Callable[..., Result]] = {
    "trace": trace_video,
    "mask": render_mask,
    "interframe": render_interframe,
    "readout": project_readout,
    "render-assets": render_assets,
    "encode": encode_video,
}


def run_batch(
    command: str, inputs: Source | Iterable[Source], **settings: Unpack[Values]
) -> Report:
    """Run a command over many inputs.

    Args:
        command: ``trace``, ``mask``, ``interframe``, ``readout``, ``render-assets`` or ``encode``.
        inputs: Files, folders, globs, image patterns, ``@list.txt``; or one of these.
        **settings: The arguments of the command's own call, with its defaults, and those of
            batches, which ``BatchValues`` describes.

    Returns:
        What became of each input; ``exit_code()`` is the command's. One that fails does not stop
        the others.

    Raises:
        ConfigError: There is no such command or setting.
        AutogazeError: No input can be done, or the only input failed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = run_batch(
        ...         "trace", ["fixtures/dog.mp4", "no.mp4"], frames=2, mask_source="patch-diff",
        ...         out_dir=folder,
        ...     )
        >>> len(report.results), [str(error) for error in report.failures.values()]
        (1, ['no.mp4: no such file'])
    """
    if isinstance(inputs, str | os.PathLike) or not isinstance(inputs, Iterable):
        return call(_signed(command), command, [inputs], settings)
    return call(_signed(command), command, list(inputs), settings)


def _signed(command: object) -> Callable[..., Result]:
    if not isinstance(command, str) or command not in _CALLS:
        hint = did_you_mean(str(command), _CALLS, f"they are {', '.join(_CALLS)}")
        raise ConfigError(f"no command over videos is called {command!r}", hint=hint)
    return _CALLS[command]
