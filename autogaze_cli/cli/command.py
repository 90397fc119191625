"""What every command has: its class, and the options that stand on all of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import click

from autogaze_cli.progress import configure_logging

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_VERBOSITY = "autogaze.verbosity"
_LOG_FILE = "autogaze.log_file"
CONFIG = "autogaze.config"
"""Where a context's ``meta`` holds the configuration file that counts, if there is one."""


class Command(click.Command):
    """A command whose options may stand in the environment and in a configuration file.

    Of two options for one setting, the later wins. ``--fps`` of ``render-assets`` is
    ``AUTOGAZE_RENDER_ASSETS_FPS`` in the environment, or ``AUTOGAZE_FPS`` for all commands.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As ``click.Command``."""
        super().__init__(*args, **kwargs)
        for option in self.params:
            if isinstance(option, click.Option) and option.envvar is None:
                names = [f"{self.name}_{long_name(option)}", long_name(option)]
                option.envvar = [f"AUTOGAZE_{n.replace('-', '_').upper()}" for n in names]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As ``click.Command``; a task loss in dB counts only when no plain one follows it."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        rest = super().parse_args(ctx, args)
        losses = [p.name for p in order if p.name and p.name.startswith("task_loss_requirement")]
        if losses and losses[-1] == "task_loss_requirement":
            ctx.params["task_loss_requirement_db"] = None
        return rest


def settled(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A parameter's value as a command sees it: of the right type, None where there is none."""
    if isinstance(value, Enum):  # Click's mark for "nothing was given, and there is no default"
        value = None
    if value is None:
        many = param.nargs == -1 or param.multiple
        return () if many else False if isinstance(param, click.Option) and param.is_flag else None
    return param.type_cast_value(ctx, value)


def long_name(option: click.Option) -> str:
    """The first of its long spellings, without dashes: ``fps``, ``mask-source``."""
    return next(name for name in option.opts if name.startswith("--"))[2:]


def group(*options: Decorator) -> Decorator:
    """One decorator that adds all ``options``, shown in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.meta[_VERBOSITY] = ctx.meta.get(_VERBOSITY, 0) + (value if param.name == "v" else -value)
    configure_logging(ctx.meta[_VERBOSITY], ctx.meta.get(_LOG_FILE))


def _log_file(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[_LOG_FILE] = value
        configure_logging(ctx.meta.get(_VERBOSITY, 0), value)


def _config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[CONFIG] = value
    if not isinstance(ctx.command, click.Group):
        from autogaze_cli.cli.config import (
            read_config,  # tomllib is needed only where there is a file
        )

        read_config(ctx)


always = group(
    click.option(
        "--config",
        type=click.Path(dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_config,
        help="Take options from this TOML file.  [default: autogaze.toml, or [tool.autogaze] in "
        "pyproject.toml, in this folder or above]",
    ),
    click.option(
        "-v",
        "--verbose",
        "v",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_verbosity,
        show_default=False,
        help="Say more: -v a line a frame, -vv tracebacks too.",
    ),
    click.option(
        "-q",
        "--quiet",
        "q",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_verbosity,
        show_default=False,
        help="Say nothing but errors.",
    ),
    click.option(
        "--log-file",
        type=click.Path(dir_okay=False, writable=True),
        is_eager=True,
        expose_value=False,
        callback=_log_file,
        help="Append every message to this file.",
    ),
)
"""On the group and on every command."""
