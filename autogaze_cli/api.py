"""Each command as one call.

The settings are the command's options by their long names, ``--mask-source`` as ``mask_source``,
with the same defaults. Neither the environment nor a configuration file is read. ``None`` leaves an
option out; only ``task_loss_requirement=None`` means never to stop.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.batch.report import Report
from autogaze_cli.batch.result import Result
from autogaze_cli.cli.command import settled
from autogaze_cli.errors import AutogazeError, ConfigError, InputError, did_you_mean

if TYPE_CHECKING:
    from autogaze_cli.audit.audit import Audit

Source = str | os.PathLike[str]


def trace_video(video: Source, **settings: Any) -> Result:
    """Save where the model looks in each frame: ``autogaze trace``.

    Args:
        video: A video file, or an image pattern.
        **settings: The command's options.

    Returns:
        The file, as ``files["trace"]``, and a summary, as ``document``.

    Raises:
        AutogazeError: Its class says whom to blame; nothing has been written then.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = trace_video(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", out_dir=folder
        ...     )
        >>> made.files["trace"].name, made.document["frames"]
        ('dog.trace.json', 2)
    """
    return _one("trace", video, settings)


def render_mask(video: Source, **settings: Any) -> Result:
    """Draw the gazed cells of a video as a mask: ``autogaze mask``; see ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = render_mask(
        ...         "fixtures/dog.mp4", frames=3, mask_source="patch-diff", out_dir=folder
        ...     )
        >>> sorted(made.files), made.document["frames"]
        (['mask', 'metrics'], 3)
    """
    return _one("mask", video, settings)


def render_interframe(video: Source, **settings: Any) -> Result:
    """Rebuild a video from its gazed cells and keyframes: ``autogaze interframe``.

    See ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = render_interframe(
        ...         "fixtures/dog.mp4", frames=3, mask_source="patch-diff", out_dir=folder
        ...     )
        >>> made.files["output"].name, made.document["keyframe_duration"]
        ('dog.interframe.gif', 30)
    """
    return _one("interframe", video, settings)


def project_readout(source: Source, **settings: Any) -> Result:
    """Turn gaze into rectangles, tokens and coordinates: ``autogaze readout``.

    See ``trace_video``.

    Args:
        source: A video, or a saved trace, which needs neither the video nor PyTorch.
        **settings: The command's options.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = project_readout(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", patch_size="20x20",
        ...         out_dir=folder,
        ...     )
        >>> made.files["readout"].name
        'dog.readout.npz'
    """
    return _one("readout", source, settings)


def render_assets(video: Source, **settings: Any) -> Result:
    """Write input, mask and output GIFs and their metrics: ``autogaze render-assets``.

    With ``check=True`` nothing is written, and ``differences`` says what is not as it would be. See
    ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = render_assets(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", inference_width=320,
        ...         inference_height=180, out_dir=folder,
        ...     )
        >>> made.files["output"].name
        'autogaze_dog_output.gif'
    """
    return _one("render-assets", video, settings)


def run_batch(command: str, inputs: Source | Iterable[Source], **settings: Any) -> Report:
    """Do a command's work for many inputs: what the command does for all it is given.

    Args:
        command: ``trace``, ``mask``, ``interframe``, ``readout`` or ``render-assets``.
        inputs: Files, folders, globs, image patterns, ``@list.txt``; or one of these.
        **settings: The command's options; those of batches (``workers``, ``resume``, …) too.

    Returns:
        What became of each input; ``exit_code()`` is the command's. One that fails does not stop
        the others.

    Raises:
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
    names = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    return _run(command, [os.fspath(name) for name in names], settings)


def audit_readout(
    *paths: Source,
    rules: Iterable[str] = (),
    exclude_rules: Iterable[str] = (),
    severity: Mapping[str, str] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    languages: Iterable[str] = (),
    tests: str | None = None,
    include_provider: bool = False,
    include_vendored: bool = False,
    no_gitignore: bool = False,
    require_helpers: bool = False,
    baseline: Source | None = None,
    max_file_size_bytes: int = 2097152,
    file_time_limit_s: float = 10.0,
) -> Audit:
    """Find local arithmetic on AutoGaze ids in source trees: ``autogaze audit-readout``.

    A project's own settings file is read as on the command line; arguments given here win.

    Args:
        *paths: Files and folders.
        rules: Ids or prefixes of the rules to run; empty = all.
        exclude_rules: Ids or prefixes of the rules to leave out.
        severity: Level of a rule by its id: "error", "warning", "note" or "off".
        include: Patterns of the files to scan, as in ``.gitignore``; empty = all.
        exclude: Patterns of files not to scan.
        languages: Languages to scan; empty = all.
        tests: Findings in test code are "note", "same" or "skip"; None = "note".
        include_provider: Scan the modules that define the model.
        include_vendored: Scan copies of other projects.
        no_gitignore: Scan what git ignores.
        require_helpers: Require that readout helpers are called.
        baseline: File of known findings.
        max_file_size_bytes: Larger files are skipped.
        file_time_limit_s: Seconds per file; one that takes longer is not analysed.

    Returns:
        The findings, and which files were analysed, skipped or failed.

    Raises:
        AutogazeError: A path or an argument is invalid.

    Examples:
        >>> found = audit_readout("fixtures/audit/pos/d.go")
        >>> found.findings[0].rule, found.exit_code("warning")
        ('AGR107', 1)
    """
    from autogaze_cli.audit.audit import run_audit
    from autogaze_cli.audit.settings import AuditSettings

    places = [Path(path) for path in paths]
    if not places:
        raise InputError("no path given", hint="name a folder or a file to audit")
    settings = AuditSettings(
        rules=tuple(rules),
        exclude_rules=tuple(exclude_rules),
        severity=dict(severity or {}),
        include=tuple(include),
        exclude=tuple(exclude),
        languages=tuple(languages),
        tests=tests or "note",
        include_provider=include_provider,
        include_vendored=include_vendored,
        gitignore=not no_gitignore,
        require_helpers=require_helpers,
        max_file_size_bytes=max_file_size_bytes,
        file_time_limit_s=file_time_limit_s,
        baseline=Path(baseline) if baseline is not None else None,
    )
    given = {"rules": settings.rules, "tests": tests, "baseline": baseline}
    return run_audit(places, settings.with_config(places[0], [k for k, v in given.items() if v]))


def _one(command: str, video: Source, settings: dict[str, Any]) -> Result:
    for name in ("resume", "dry_run"):
        if settings.get(name):
            raise ConfigError(f"{name} is of many inputs", hint="call run_batch")
    if os.path.isdir(video):  # noqa: PTH112  # os.PathLike is not Path
        raise InputError(f"{os.fspath(video)}: is a folder", hint="call run_batch")
    report = _run(command, [os.fspath(video)], settings)
    if len(report.inputs) > 1:
        raise InputError(f"{os.fspath(video)}: {len(report.inputs)} videos", hint="call run_batch")
    (result,) = report.results.values()
    return result


def _run(command: str, inputs: list[str], settings: dict[str, Any]) -> Report:
    from autogaze_cli.cli.main import cli

    found = cli.get_command(click.Context(cli), command)
    if found is None or not any(param.name == "resume" for param in found.params):
        raise ConfigError(f"no command over videos is called {command!r}")
    values = _values(found, {"inputs": inputs, **settings})
    if command == "readout":
        from autogaze_cli.jobs.readout_batch import run_readout

        return run_readout(values, settings)
    from autogaze_cli.jobs.video import draw, trace_all

    return trace_all(values) if command == "trace" else draw(command, values)


def _values(command: click.Command, settings: dict[str, Any]) -> dict[str, Any]:
    """All of a command's values: those given, checked as on the command line, and its defaults."""
    ctx = click.Context(command, info_name=command.name)
    params = {str(param.name): param for param in command.params if param.expose_value}
    _refuse_unknown(str(command.name), settings, list(params))
    values: dict[str, Any] = {}
    for name, param in params.items():
        value = settings.get(name)
        try:
            if name in settings and name == "task_loss_requirement" and value is None:
                values[name] = None
            elif value is None:
                values[name] = settled(ctx, param, param.get_default(ctx))
            else:
                values[name] = settled(ctx, param, _spelled(param, value))
        except click.UsageError as error:
            raise ConfigError(error.format_message()) from error
    return values


def _spelled(param: click.Parameter, value: Any) -> Any:
    """A value as the command line would have it: paths as text, some words joined by commas."""
    if isinstance(value, list | tuple) and not (param.multiple or param.nargs != 1):
        return ",".join(map(str, value))
    if isinstance(value, list | tuple):
        return [_spelled(param, item) for item in value] if param.multiple else value
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _refuse_unknown(command: str, settings: dict[str, Any], known: list[str]) -> None:
    for name in settings:
        if name not in known:
            hint = did_you_mean(name, known, f"they are {', '.join(sorted(known))}")
            raise ConfigError(f"{command} has no setting {name!r}", hint=hint)


__all__ = [
    "AutogazeError",
    "audit_readout",
    "project_readout",
    "render_assets",
    "render_interframe",
    "render_mask",
    "run_batch",
    "trace_video",
]
