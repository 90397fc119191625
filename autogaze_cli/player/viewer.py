"""The live viewer as one HTML file, and its class as one script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from autogaze_cli.player import html
from autogaze_cli.version import __version__

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model to put into the page.

    Attributes:
        name: Its name on the page; any text.
        sha256: Of its weights, hexadecimal.
        config: The text of its ``config.json``.
        processor: The text of its ``preprocessor_config.json``.
        weights: The content of its ``model.safetensors``.
    """

    name: str
    sha256: str
    config: str
    processor: str
    weights: bytes


def write_viewer(path: Path, checkpoint: Checkpoint) -> None:
    """Write the page.

    Args:
        path: The file, replaced if it exists.
        checkpoint: The model in it.
    """
    style, body = _style_and_body()
    script = html.joined(SCRIPTS)
    model = {"name": checkpoint.name, "sha256": checkpoint.sha256}
    texts = {"config": checkpoint.config, "processor": checkpoint.processor}
    parts = [
        html.head(_TITLE, style, script, html.LIVE),
        body,
        html.data({"version": __version__, "model": model}, id="viewer"),
        html.data(html.joined(WORKER_SCRIPTS), id="worker"),
        _binary("wasm", _wasm()),
        html.data(texts, id="checkpoint-texts"),
        _binary("weights", checkpoint.weights),
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


def _wasm() -> bytes:
    return files("autogaze_cli.player").joinpath("gaze.wasm").read_bytes()


def _binary(name: str, content: bytes) -> str:
    """Bytes as base64 in an element that is never run."""
    encoded = html.encoded(content)
    return f'<script type="application/octet-stream" id="{name}">{encoded}</script>\n'
