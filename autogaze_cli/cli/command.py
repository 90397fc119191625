"""The class of all commands, help in sections, and the options common to all commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from autogaze_cli.cli.config import CONFIG, UNTRUSTED, long_name, read_config
from autogaze_cli.cli.presets import apply_preset
from autogaze_cli.errors import OutputError, refuse_address
from autogaze_cli.progress import configure_logging

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SECTIONS = (
    *(
        "Common options",
        "Input",
        "Gaze",
        "Model and device",
        "Drawing",
        "Readout",
        "Measurement",
        "Encoder",
        "Output",
    ),
    *("Batch", "General"),
)
"""The sections of a command's help, in order."""

COMMON = ("more_inputs", "out_dir", "frames", "model", "overwrite")
"""The options that are shown first, unless a command names others."""

TASK_LOSS = "task_loss_requirement"
_ADDRESSES = ("address", "live_input")
"""Parameters that may be addresses: of a Ray cluster, of a live stream."""
_TYPED = "autogaze.typed"
_VERBOSITY = "autogaze.verbosity"
_LOG_FILE = "autogaze.log_file"
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
"""How a log file begins."""


class Option(click.Option):
    """An option that belongs to a section of the help.

    Attributes:
        section: One of ``SECTIONS``.
    """

    section = "General"


class Command(click.Command):
    """A command whose options may be set in the environment and in a configuration file.

    ``--fps`` of ``render-assets`` is ``AUTOGAZE_RENDER_ASSETS_FPS`` in the environment, or
    ``AUTOGAZE_FPS`` for all commands.
    """

    def __init__(self, *args: Any, common: Sequence[str] = COMMON, **kwargs: Any) -> None:
        """As ``click.Command``.

        Args:
            *args: Passed on.
            common: Names of the parameters that the help shows first.
            **kwargs: Passed on.
        """
        super().__init__(*args, **kwargs)
        self.common = common
        for option in self.params:
            if isinstance(option, click.Option) and option.envvar is None:
                names = [f"{self.name}_{long_name(option)}", long_name(option)]
                option.envvar = [f"AUTOGAZE_{n.replace('-', '_').upper()}" for n in names]

    def make_parser(self, ctx: click.Context) -> Any:
        """As ``click.Command``; a task loss in dB is ignored if a plain one follows it.

        Click itself processes options in the order of their first appearance only. What was typed
        is kept for ``--preset``, whose values depend on it.
        """
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            values, rest, order = parse(args)
            losses = [p.name for p in order if p.name and p.name.startswith(TASK_LOSS)]
            if losses and losses[-1] == TASK_LOSS:
                values.pop(f"{TASK_LOSS}_db", None)
            ctx.meta[_TYPED] = values
            return values, rest, order

        parser.parse_args = parse_args  # type: ignore[method-assign]  # avoids parsing twice
        return parser

    def invoke(self, ctx: click.Context) -> Any:
        """As ``click.Command``, unless an option that names a file has an address."""
        for name, value in ctx.params.items():
            if isinstance(value, str) and name not in _ADDRESSES:
                refuse_address(value)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in sections."""
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            section = param.section if isinstance(param, Option) else Option.section
            rows["Common options" if param.name in self.common else section].append(record)
        for name, records in rows.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def option(*names: str, **settings: Any) -> Decorator:
    """As ``click.option``, for a ``Command``."""
    return click.option(*names, cls=Option, **settings)


def group(*options: Decorator) -> Decorator:
    """One decorator that adds all ``options``, shown in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def section(name: str, *options: Decorator) -> Decorator:
    """One decorator that adds ``options`` under a section of the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before = len(getattr(function, "__click_params__", ()))
        function = group(*options)(function)
        for param in function.__click_params__[before:]:  # type: ignore[attr-defined]  # Click's own
            if isinstance(param, Option):
                param.section = name
        return function

    return decorate


def _verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.meta[_VERBOSITY] = ctx.meta.get(_VERBOSITY, 0) + (value if param.name == "v" else -value)
    configure_logging(ctx.meta[_VERBOSITY], ctx.meta.get(_LOG_FILE))


def _log_file(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        refuse_address(value)
        _refuse_no_log(Path(value))
        ctx.meta[_LOG_FILE] = value
        configure_logging(ctx.meta.get(_VERBOSITY, 0), value)


def _refuse_no_log(path: Path) -> None:
    """Refuse to append to a file whose first line is not that of a log, or to wait for a reader."""
    if path.is_fifo():
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(19)
        if head and not _LOG_LINE.match(head):
            raise OutputError(
                f"log-file: {path}: is not a log, and is not appended to", hint="name another file"
            )


def untrusted(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """The callback of ``--untrusted``, which comes before any configuration file is looked for."""
    ctx.meta[UNTRUSTED] = value
    return value


def _config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[CONFIG] = value
    if not isinstance(ctx.command, click.Group):
        read_config(ctx)
        apply_preset(ctx, ctx.meta.get(_TYPED, {}))


always = section(
    "General",
    option(
        "--config",
        type=click.Path(dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_config,
        help="Read options from this TOML file.  [default: the nearest autogaze.toml, or "
        "[tool.autogaze] in pyproject.toml, in this folder or above]",
    ),
    option(
        "-v",
        "--verbose",
        "v",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_verbosity,
        show_default=False,
        help="Verbose: -v per-frame lines, -vv also tracebacks.",
    ),
    option(
        "-q",
        "--quiet",
        "q",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_verbosity,
        show_default=False,
        help="Print errors only.",
    ),
    option(
        "--log-file",
        type=click.Path(dir_okay=False, writable=True),
        is_eager=True,
        expose_value=False,
        callback=_log_file,
        help="Append every message to this file.",
    ),
)
"""The options of the group and of every command."""
