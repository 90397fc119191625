"""The command ``autogaze``: the table of subcommands, and error handling."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import IO, Any

import click

from autogaze_cli.batch.stopping import END_AT_ONCE, stopped_by_signals
from autogaze_cli.cli import options
from autogaze_cli.cli.config import value_source
from autogaze_cli.cli.streams import prepare_streams
from autogaze_cli.errors import AutogazeError, as_autogaze_error
from autogaze_cli.progress import TRACEBACK, message_line
from autogaze_cli.version import __version__

logger = logging.getLogger(__name__)

COMMANDS = {
    "trace": (
        "autogaze_cli.commands.trace:trace",
        "Save where the model looks in each frame of a video.",
    ),
    "mask": (
        "autogaze_cli.commands.mask:mask",
        "Draw the gazed cells of a video as a mask.",
    ),
    "interframe": (
        "autogaze_cli.commands.interframe:interframe",
        "Rebuild a video from its gazed cells and a few keyframes.",
    ),
    "readout": (
        "autogaze_cli.commands.readout:readout",
        "Turn gaze into the rectangles, tokens and coordinates that a model consumes.",
    ),
    "encode": (
        "autogaze_cli.commands.encode:encode",
        "Encode only the gazed patches of a video with a vision transformer.",
    ),
    "render-assets": (
        "autogaze_cli.commands.render_assets:render_assets",
        "Write the input, mask and output GIFs of a video, and their metrics.",
    ),
    "report": (
        "autogaze_cli.commands.report:report",
        "Write a viewer page for each result in a folder, and an index of them.",
    ),
    "viewer": (
        "autogaze_cli.commands.viewer:viewer",
        "Write a page that gazes at a camera or a video, offline, in the browser.",
    ),
    "view": (
        "autogaze_cli.commands.view:view",
        "Gaze at a camera or a video live, on a page that this command serves.",
    ),
    "compare": (
        "autogaze_cli.commands.compare:compare",
        "Measure gaze sources side by side: one table.",
    ),
    "calibrate": (
        "autogaze_cli.commands.calibrate:calibrate",
        "Find the task loss requirement that keeps its promise on your clips.",
    ),
    "models": (
        "autogaze_cli.commands.models:models",
        "List, locate, fetch and verify the models that --model can name.",
    ),
    "bench": (
        "autogaze_cli.commands.bench:bench",
        "Measure how fast this machine gazes, against its peak rates.",
    ),
    "config": (
        "autogaze_cli.commands.config:config",
        "Show effective option values and their sources.",
    ),
    "audit-readout": (
        "autogaze_cli.commands.audit_readout:audit_readout",
        "Find local arithmetic on AutoGaze ids in a source tree.",
    ),
}


class Failure(click.ClickException):
    """The error line and the exit code of a failed command."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message_line(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # varies between failures

    def show(self, file: IO[Any] | None = None) -> None:
        """As ``click.ClickException``; where stderr takes no more, the exit code alone tells."""
        with suppress(OSError):
            super().show(file)


class Autogaze(click.Group):
    """The root group: imports subcommands on demand, and reports every error as one line."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        """As ``click.Group``.

        Args:
            *args: Passed on.
            table: Maps names to (``"module:attribute"``, one help line), in the order shown. With
                the help lines here, ``--help`` does not import every subcommand.
            **kwargs: Passed on.
        """
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self.table:
            return None
        module, attribute = self.table[cmd_name][0].split(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is not a Click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As ``click.Group``, with error handling for the group's own options."""
        prepare_streams()
        with one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As ``click.Group``, with error handling for parsing and running a subcommand."""
        with one_line_errors():
            return super().invoke(ctx)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn any error into a ``Failure`` with its cause; log the traceback for ``-vv``."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort, click.exceptions.NoArgsIsHelpError):
        raise
    except BrokenPipeError as error:
        with suppress(OSError):  # stdout has no reader any more: discard what is still buffered
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(141) from error  # what a shell reports for SIGPIPE
    except (Exception, KeyboardInterrupt) as error:
        logger.log(TRACEBACK, "traceback of the error:", exc_info=error)
        raise failure(error) from error


def failure(error: BaseException) -> click.ClickException:
    """The exception that Click shows for ``error``: message and hint as one line."""
    if isinstance(error, AutogazeError):
        return Failure(error.line(), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted; finished files are kept", 130)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "autogaze"
        return Failure(
            f"{error.format_message().rstrip('.')}{_from(error)}; see {command} --help", 2
        )
    if isinstance(error, click.ClickException):
        return error
    assert isinstance(error, Exception)
    return failure(as_autogaze_error(error))


def _from(error: click.UsageError) -> str:
    """The source of an invalid value, unless it is the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    source = value_source(error.ctx, error.param)
    return "" if source in ("command line", "default") else f" (from {source})"


_HELP = """Gaze-driven sparse video: where AutoGaze looks, drawn, measured and saved.

\b
Try first:
  autogaze render-assets --input birds.mp4   draw a video and its gaze as GIFs
  autogaze trace birds.mp4                   save the gaze as JSON
  autogaze audit-readout .                   check code that decodes gaze ids

A command takes videos, folders, patterns and @lists, and writes into --out-dir. It works
offline with the bundled model; --mask-source patch-diff needs no model at all.

Exit codes: 0 done; 1 negative result (findings, a --check difference); 2 usage, config, model
or device; 3 inputs failed, and all others are done; 130 interrupted.
"""


@click.group(
    "autogaze",
    help=_HELP,
    cls=Autogaze,
    table=COMMANDS,
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="autogaze")
@options.always
@click.pass_context
def cli(ctx: click.Context) -> None:
    """The command ``autogaze``."""
    _tune_threads()
    if threading.current_thread() is threading.main_thread():  # others may not handle signals
        ctx.with_resource(stopped_by_signals())


def _tune_threads() -> None:
    """Set environment variables that PyTorch reads on import, unless the user has set them."""
    # Idle compute threads should sleep soon, because decoding and encoding share the processor
    # with them. On a busy processor, runs with spinning threads took several times as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Huge pages for large buffers: decoding a batch of eight clips was a twelfth faster.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def end_with_exit_code() -> None:
    """Run the command line as the whole of a process, which ends with its exit code."""
    try:
        cli(prog_name="autogaze")
    except SystemExit as end:
        if END_AT_ONCE.is_set() and isinstance(end.code, int):
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, AttributeError):  # full, or closed
                    stream.flush()
            os._exit(end.code)
        raise
