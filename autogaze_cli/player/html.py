"""The parts of a page: inlined files, data as JSON, and a policy that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from autogaze_cli.version import __version__

GENERATOR = f'<meta name="generator" content="autogaze {__version__}">'
"""Marks a page as made by this program, of any version."""


def asset(name: str) -> str:
    """A file of this folder, as text."""
    return files("autogaze_cli.player").joinpath(name).read_text(encoding="utf-8")


LIVE = (
    "worker-src blob:",  # the worker is made from the page itself
    "media-src blob:",  # a file that the user chose
    "script-src '{script}' 'wasm-unsafe-eval'",  # WebAssembly, and nothing that is text
)
"""What a page may do that gazes by itself; it can request nothing, as all others."""

SERVED = (
    "connect-src 'self'",  # the command that serves it
    "media-src blob:",
    "script-src '{script}'",
)
"""What a page may do whose frames are gazed at by the command that serves it."""


def head(
    title: str, style: str, script: str, rules: Sequence[str] = ("script-src '{script}'",)
) -> str:
    """A document up to the start of its body.

    The policy allows this style and this script, by their hashes, and pictures embedded in the
    page. Nothing else is ever requested, whatever a file name or a trace contains.

    Args:
        title: Any text.
        style: The text of the one style sheet.
        script: The text of the one script, the same as for ``tail``.
        rules: What its script may do: its own rules of the policy, such as ``LIVE``.
    """
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            *(rule.format(script=_hash(script)) for rule in rules),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{GENERATOR}\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def tail(script: str) -> str:
    """A document from its script on."""
    return f"<script>{script}</script>\n</body>\n</html>\n"


def joined(names: Sequence[str], before: str = "") -> str:
    """Several scripts as one, after another text, with a scope of their own."""
    return '(() => {\n"use strict";\n' + before + "".join(map(asset, names)) + "})();\n"


def escape(text: str) -> str:
    """Text escaped for use between tags or in a quoted attribute; undecodable bytes escaped too."""
    return html.escape(text.encode(errors="backslashreplace").decode())


def data(value: Any, **attributes: str) -> str:
    """JSON in an element that is never run; no text in it can end the element."""
    given = "".join(f' {name}="{escape(text)}"' for name, text in attributes.items())
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json"{given}>{text}</script>\n'


def encoded(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode()


def _hash(text: str) -> str:
    return f"sha256-{encoded(hashlib.sha256(text.encode()).digest())}"
