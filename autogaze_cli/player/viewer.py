"""The live viewer as one HTML file, and its class as one script."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from autogaze_cli.errors import ModelError
from autogaze_cli.model.catalog import CONFIG, PREPROCESSOR, WEIGHTS, sha256_of
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.player import html
from autogaze_cli.version import __version__

HEAD_DIM = 32
"""Channels of a head in the compiled code."""

_MODEL_SCRIPTS = ("cells.js", "checkpoint.js", "network.js", "tiles.js", "gaze.js")

WORKER_SCRIPTS = (*_MODEL_SCRIPTS, "worker.js")
"""The scripts of the page's worker, in load order."""

CLASS_SCRIPTS = (*_MODEL_SCRIPTS, "composite.js", "autogaze.js")
"""The scripts of the class ``AutoGaze``, in load order."""

SCRIPTS = tuple(
    f"{name}.js"
    for name in [
        *("theme", "dom", "cells", "composite", "drawing", "shortcuts", "panels", "tiles"),
        *("sources", "record", "controls", "figures", "viewer", "keep", "viewer_start"),
    ]
)
"""The scripts of the page, in load order."""


def write_viewer(path: Path, folder: Path | None, name: str | None) -> None:
    """Write the page.

    Args:
        path: The file, replaced if it exists.
        folder: A checkpoint's folder; None = a page without a model.
        name: The model's name on the page; any text.

    Raises:
        ModelError: The checkpoint cannot run in a browser.
    """
    style = html.asset("style.css") + html.asset("viewer.css")
    script = html.joined(SCRIPTS)
    model = {"name": name, "sha256": sha256_of(folder / WEIGHTS)} if folder else None
    body = html.asset("viewer.html").replace("@DRAWING@", html.asset("drawing.html"))
    parts = [
        html.head("Live gaze - autogaze", style, script, live=True),
        body,
        html.data({"version": __version__, "model": model}, id="viewer"),
        html.data(html.joined(WORKER_SCRIPTS), id="worker"),
        _binary("wasm", _wasm()),
        *(_checkpoint(folder) if folder else []),
        html.tail(script),
    ]
    path.write_text("".join(parts), encoding="utf-8")


def write_class(path: Path) -> None:
    """Write the class ``AutoGaze`` as one script, without a model.

    Args:
        path: The file, replaced if it exists.
    """
    constants = (
        f'const VERSION = {json.dumps(__version__)};\nconst WASM = "{html.encoded(_wasm())}";\n'
    )
    path.write_text(html.joined(CLASS_SCRIPTS, constants), encoding="utf-8")


def _checkpoint(folder: Path) -> list[str]:
    config = GazeConfig.from_file(folder / CONFIG)
    if config.head_dim != HEAD_DIM or config.num_key_value_heads != config.num_attention_heads:
        raise ModelError(
            f"{folder}: heads of {config.head_dim} channels cannot run in a browser, "
            f"only of {HEAD_DIM}, as many for keys as for queries",
            hint="use the other commands for this model",
        )
    texts = {
        "config": (folder / CONFIG).read_text("utf-8"),
        "processor": (folder / PREPROCESSOR).read_text("utf-8"),
    }
    weights = _binary("weights", (folder / WEIGHTS).read_bytes())
    return [html.data(texts, id="checkpoint-texts"), weights]


def _wasm() -> bytes:
    return files("autogaze_cli.player").joinpath("gaze.wasm").read_bytes()


def _binary(name: str, content: bytes) -> str:
    """Bytes as base64 in an element that is never run."""
    encoded = html.encoded(content)
    return f'<script type="application/octet-stream" id="{name}">{encoded}</script>\n'
