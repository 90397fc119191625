"""The live viewer as one HTML file, and its class as one script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

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

SERVED_SCRIPTS = tuple(
    name
    for script in SCRIPTS
    for name in (["served.js", script] if script == "record.js" else [script])
)
"""Those of the page of ``autogaze view``."""

_TITLE = "Live gaze - autogaze"


def write_viewer(path: Path, folder: Path | None, name: str | None) -> None:
    """Write the page.

    Args:
        path: The file, replaced if it exists.
        folder: A checkpoint's folder; None = a page without a model.
        name: The model's name on the page; any text.

    Raises:
        ModelError: The checkpoint cannot run in a browser.
    """
    style, body = _style_and_body()
    script = html.joined(SCRIPTS)
    model = {"name": name, "sha256": sha256_of(folder / WEIGHTS)} if folder else None
    parts = [
        html.head(_TITLE, style, script, html.LIVE),
        body,
        html.data({"version": __version__, "model": model}, id="viewer"),
        html.data(html.joined(WORKER_SCRIPTS), id="worker"),
        _binary("wasm", _wasm()),
        *(_checkpoint(folder) if folder else []),
        html.tail(script),
    ]
    path.write_text("".join(parts), encoding="utf-8")


def served_page(model: Mapping[str, Any] | None, input: str | None) -> str:
    """The page whose frames are gazed at by the command that serves it.

    Args:
        model: ``name`` and ``sha256`` of the command's model; None = it has none.
        input: The name of the command's own input on the page, any text; None = it has none.
    """
    style, body = _style_and_body()
    script = html.joined(SERVED_SCRIPTS)
    about = {"version": __version__, "model": model, "served": {"input": input}}
    parts = [html.head(_TITLE, style, script, html.SERVED), body, html.data(about, id="viewer")]
    return "".join([*parts, html.tail(script)])


def _style_and_body() -> tuple[str, str]:
    style = html.asset("style.css") + html.asset("viewer.css")
    return style, html.asset("viewer.html").replace("@DRAWING@", html.asset("drawing.html"))


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
