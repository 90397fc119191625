"""``autogaze view``."""

from __future__ import annotations

import logging
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option
from autogaze_cli.cli.types import Whole
from autogaze_cli.errors import ConfigError, InputError

logger = logging.getLogger("autogaze_cli.jobs.view")

_WIDTH = 640
"""The page's width of frames at first, in pixels."""


@click.command(
    "view",
    cls=options.Command,
    common=("model", "mask_source", "device", "port", "open_browser"),
    short_help="Gaze at a camera or a video live, on a page that this command serves.",
)
@click.argument("live_input", metavar="[INPUT]", required=False)
@options.sampling_options({"inference_width": _WIDTH})
@options.section(
    "Gaze",
    option(
        "--mask-source",
        type=click.Choice(["autogaze", "patch-diff"]),
        help="Gaze sources of the page: the model and patch-diff, or patch-diff alone, which loads "
        "no model.  [default: autogaze if there is a model, otherwise patch-diff]",
    ),
)
@options.section("Model and device", options.model)
@options.compute
@options.section(
    "Output",
    option(
        "--host",
        default="127.0.0.1",
        help="Address to listen at. Any other than loopback lets other machines in, without "
        "encryption.",
    ),
    option("--port", type=Whole(0), default=0, help="Port to listen at; 0 = one that is free."),
    option(
        "--open/--no-open",
        "open_browser",
        default=None,
        help="Open the page in a browser.  [default: if there is one]",
    ),
)
@options.always
def view(**values: Any) -> None:
    """Gaze at a camera or a video live, on a page that this command serves.

    The page is that of `autogaze viewer`, but frames are gazed at by this command, at native speed
    or on a GPU. It shows the camera of the browser, a file chosen there, or INPUT: a video, a
    device such as /dev/video0, a URL, a synthetic clip, or - for stdin. Its address, with a token,
    is printed; nobody else is let in. Ctrl-C ends it.
    """
    from autogaze_cli.cli.streams import print_line
    from autogaze_cli.jobs.request import sampling_settings
    from autogaze_cli.jobs.view import open_view, serve_view

    name = values["live_input"]
    _check_input(name, offline=values["offline"])
    browser = _browser(values["open_browser"])
    view = open_view(
        name,
        sampling_settings(values),  # type: ignore[arg-type]  # Click's values
        mask_source=values["mask_source"],
        model=values["model"],
        device=values["device"],
        dtype=values["dtype"],
        threads=values["threads"],
    )
    start = _start(values)

    def on_ready(address: str) -> None:
        print_line(address + start)
        logger.info("open this address in a browser; Ctrl-C ends")
        if browser is not None:
            browser.open(address + start)

    serve_view(view, values["host"], values["port"], on_ready)


def _check_input(name: str | None, *, offline: bool) -> None:
    """Refuse an input that cannot be there."""
    from autogaze_cli.media.live import STDIN
    from autogaze_cli.media.synthetic import is_synthetic

    if name is None or name == STDIN or is_synthetic(name):
        return
    if "://" in name:
        if offline:
            from autogaze_cli.model.catalog import offline_hint

            raise InputError(f"{name}: not opened while offline", hint=offline_hint())
    elif not name or not Path(name).exists():
        raise InputError(f"{name or repr(name)}: no such file or device", hint="check the path")


def _browser(wanted: bool | None) -> webbrowser.BaseBrowser | None:
    """The browser to open; None = none.

    Raises:
        ConfigError: One is wanted, and there is none.
    """
    if wanted is False:
        return None
    try:
        return webbrowser.get()
    except webbrowser.Error as error:
        if wanted is None:
            return None
        raise ConfigError(
            "--open: no browser is found here",
            hint="leave it out and open the printed address yourself, or set BROWSER",
        ) from error


def _start(values: dict[str, Any]) -> str:
    """The settings of the page that the command line gives, after the #."""
    at_first = {"inference_width": _WIDTH, "inference_height": None}
    settings = {name: values[name] for name, side in at_first.items() if values[name] != side}
    if values["live_input"]:
        settings["start"] = "true"
    return f"#{urlencode(settings)}" if settings else ""
