"""``autogaze view``."""

from __future__ import annotations

import logging
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option
from autogaze_cli.cli.types import Whole
from autogaze_cli.errors import ConfigError, InputError

if TYPE_CHECKING:
    from autogaze_cli.inference.pipeline import AutoGazePipeline

logger = logging.getLogger("autogaze_cli.jobs.view")

_MODEL, _PATCH_DIFF = "autogaze", "patch-diff"


@click.command(
    "view",
    cls=options.Command,
    common=("model", "mask_source", "device", "port", "open_browser"),
    short_help="Gaze at a camera or a video live, on a page that this command serves.",
)
@click.argument("live_input", metavar="[INPUT]", required=False)
@options.sampling_options()
@options.section(
    "Gaze",
    option(
        "--mask-source",
        type=click.Choice([_MODEL, _PATCH_DIFF]),
        help="What the page starts with; patch-diff loads no model.  [default: autogaze if there "
        "is a model, otherwise patch-diff]",
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
    from autogaze_cli.jobs.view import View, serve_view
    from autogaze_cli.player.viewer import served_page

    name = values["live_input"]
    _check_input(name, offline=values["offline"])
    browser = _browser(values["open_browser"])
    sampling = sampling_settings(values)  # type: ignore[arg-type]  # Click's values
    pipelines, model, about = _pipelines(values)
    view = View(
        page=served_page(model, name and (Path(name).name or name)),
        pipelines=pipelines,
        about_model=about,
        input=name,
        sampling=sampling,
    )
    start = _start(values, next(iter(pipelines)))

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


def _pipelines(
    values: dict[str, Any],
) -> tuple[dict[str, AutoGazePipeline], dict[str, Any] | None, str | None]:
    """Pipelines by their gaze source, the first one first; and what a page is told of the model."""
    import json
    import time

    from autogaze_cli.inference.pipeline import AutoGazePipeline
    from autogaze_cli.model.catalog import default_model

    patch_diff = AutoGazePipeline.from_hf_dir(mask_source=_PATCH_DIFF)
    name = None if values["mask_source"] == _PATCH_DIFF else values["model"] or default_model()
    if name is None and values["mask_source"] != _MODEL:
        return {_PATCH_DIFF: patch_diff}, None, None
    begin = time.perf_counter()
    pipeline = AutoGazePipeline.from_hf_dir(
        name, values["device"], values["dtype"], threads=values["threads"]
    )
    source = pipeline.source
    logger.info("model %s (sha256 %s), device %s", source.model, source.model_sha256, source.device)
    about = {
        "type": "ready",
        "scales": source.scales,
        "ids": source.num_vision_tokens_each_frame,
        "budget": source.max_gaze_tokens_each_frame,
        "requirement": source.task_loss_requirement,
        "milliseconds": 1000 * (time.perf_counter() - begin),
    }
    model = {"name": source.model, "sha256": source.model_sha256}
    return {_MODEL: pipeline, _PATCH_DIFF: patch_diff}, model, json.dumps(about)


def _start(values: dict[str, Any], mask_source: str) -> str:
    """The settings of the page that the command line gives, after the #."""
    settings: dict[str, Any] = {} if mask_source == _MODEL else {"mask_source": mask_source}
    sides = {name: values[name] for name in ("inference_width", "inference_height")}
    if any(sides.values()):
        settings |= {name: side or "" for name, side in sides.items()}
    if values["live_input"]:
        settings["start"] = "true"
    return f"#{urlencode(settings)}" if settings else ""
