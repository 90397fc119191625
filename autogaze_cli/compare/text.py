"""Text as Markdown: escaped, and as tables."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown reads as more than text; an underscore between letters or digits is text."""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as text too; the first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )


def escaped(text: str) -> str:
    r"""One line of any text as Markdown that shows it; undecodable bytes are escaped too.

    >>> print(escaped("<b>|my_clip_.mp4"))
    &lt;b&gt;\|my_clip\_.mp4
    """
    text = html.escape(text.encode(errors="backslashreplace").decode(), quote=False)
    return _MARKS.sub(r"\\\g<0>", text)
