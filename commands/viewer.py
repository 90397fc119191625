"""``autogaze viewer``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option
from autogaze_cli.errors import ConfigError

logger = logging.getLogger("autogaze_cli.player")


@click.command(
    "viewer",
    cls=options.Command,
    common=("output", "model", "overwrite"),
    short_help="Write a page that gazes at a camera or a video, offline, in the browser.",
)
@options.section("Model and device", options.model)
@options.section(
    "Output",
    option(
        "-o",
        "--output",
        default="gaze.html",
        type=click.Path(dir_okay=False),
        help="The page, *.html; or *.js for the JavaScript class alone, without a model.",
    ),
    option("--overwrite", is_flag=True, help="Replace an existing file."),
)
@options.always
def viewer(**values: Any) -> None:
    """Write a page that gazes at a camera or a video, offline, in the browser.

    The page is one file with a model in it. Opened in a browser, also from disk, it gazes at the
    camera, at a file or at a synthetic picture, draws the mask and the output beside it, and
    measures itself. It loads nothing and sends nothing.
    """
    from autogaze_cli.batch.outputs import Outputs
    from autogaze_cli.jobs.viewer import read_checkpoint
    from autogaze_cli.player.viewer import write_class, write_viewer

    path = Path(values["output"])
    if path.suffix not in (".html", ".js"):
        raise ConfigError(
            f"--output {path}: must end with .html (the page) or .js (the class alone)"
        )
    if path.suffix == ".js" and values["model"] is not None:
        raise ConfigError(
            "--model: the class alone holds no model", hint="give it one in AutoGaze.create"
        )
    with Outputs(overwrite=values["overwrite"]) as outputs:
        written = outputs.add(path)
        if path.suffix == ".js":
            write_class(written)
        else:
            write_viewer(written, read_checkpoint(values["model"]))
    logger.info("wrote %s", path)
