"""The index of a folder's pages: one row per video, sorted and filtered in the browser."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autogaze_cli.player import html

SCRIPTS = ("theme.js", "index.js")

COLUMNS = {
    "picture": "",
    "video": "Video",
    "frames": "Frames",
    "size": "Size",
    "source": "Gaze from",
    "gaze_ratio": "Gaze ratio",
    "psnr_db": "PSNR",
    "cells": "Cells",
    "seconds": "Seconds",
    "status": "Status",
}
"""Columns of the table and their headings."""

_NUMBERS = {"frames", "size", "gaze_ratio", "psnr_db", "cells", "seconds"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One video.

    Attributes:
        name: Its name; any text.
        page: Its page; None if there is none.
        summary: The summary stored in the page, see ``PageWriter.close``; any JSON object.
        seconds: Processing time, if known.
        error: Message of the failure; None = no failure.
    """

    name: str
    page: Path | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None


def write_index(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Write the index; its links are relative to its folder.

    Args:
        path: The file.
        title: Heading; any text.
        rows: The rows, in their initial order.
    """
    script = html.joined(SCRIPTS)
    failed = sum(row.error is not None for row in rows)
    facts = f"{len(rows)} {'video' if len(rows) == 1 else 'videos'}"
    facts += f", {failed} failed" if failed else ""
    parts = {
        "TITLE": html.escape(title),
        "FACTS": facts,
        "HEAD": "\n".join(_heading(name) for name in COLUMNS),
        "ROWS": "\n".join(_row(row, path.parent) for row in rows),
    }
    body = re.sub("@([A-Z]+)@", lambda match: parts[match[1]], html.asset("index.html"))
    head = html.head(f"{title} - autogaze", html.asset("style.css"), script)
    path.write_text(head + body + html.tail(script), encoding="utf-8")


def _heading(name: str) -> str:
    if name == "picture":
        return '<th scope="col"><span class="unseen">Picture</span></th>'
    number = ' class="number"' if name in _NUMBERS else ""
    return f'<th scope="col"{number}><button type="button">{COLUMNS[name]}</button></th>'


def _row(row: Row, folder: Path) -> str:
    """A row, each cell with the value it sorts by."""
    document = row.summary.get("document")
    given = document if isinstance(document, dict) else {}
    frames = _number(row.summary, "frames")
    ratio, psnr = _number(given, "average_update_ratio"), _number(given, "average_output_psnr_db")
    cells = _number(given, "positive_fixations")
    width, height = _number(given, "inference_width"), _number(given, "inference_height")
    known_size = width is not None and height is not None
    values: dict[str, tuple[float | str | None, str]] = {
        "picture": (None, _picture(row.summary.get("thumbnail"))),
        "video": (row.name, _link(row, folder)),
        "frames": (frames, _shown(frames, ",.0f")),
        "size": (
            width * height if width is not None and height is not None else None,
            f"{width:.0f} × {height:.0f}" if known_size else "",  # noqa: RUF001
        ),
        "source": _source(given),
        "gaze_ratio": (ratio, _shown(ratio and ratio * 100, ".1f", " %")),
        "psnr_db": (psnr, _shown(psnr, ".2f", " dB")),
        "cells": (cells, _shown(cells, ",.0f")),
        "seconds": (row.seconds, _shown(row.seconds, ",.1f")),
        "status": _status(row),
    }
    return "<tr>" + "".join(_cell(name, *values[name]) for name in COLUMNS) + "</tr>"


def _cell(name: str, value: float | str | None, shown: str) -> str:
    """A cell; ``shown`` is HTML already."""
    kind = {"video": "", "status": ' class="message"'}.get(name, "")
    kind = ' class="number"' if name in _NUMBERS else kind
    tag = 'th scope="row"' if name == "video" else "td"
    sorted_by = html.escape("" if value is None else str(value))
    return f'<{tag}{kind} data-value="{sorted_by}">{shown}</{tag[:2]}>'


def _link(row: Row, folder: Path) -> str:
    if row.page is None:
        return html.escape(row.name)
    path = row.page.relative_to(folder).as_posix()
    # A leading "./" keeps "a:b.html" from being an address.
    address = f"./{quote(os.fsencode(path))}"
    where = f'<br><small class="quiet">{html.escape(path)}</small>'
    return f'<a href="{address}">{html.escape(row.name)}</a>{where}'


def _picture(thumbnail: object) -> str:
    if not (isinstance(thumbnail, str) and _BASE64.fullmatch(thumbnail)):
        return ""
    return f'<img src="data:image/jpeg;base64,{thumbnail}" alt="" width="120">'


def _source(document: Mapping[str, Any]) -> tuple[str | None, str]:
    source = document.get("model") or document.get("mask_source")
    text = source if isinstance(source, str) else None
    return text, html.escape(text or "")


def _status(row: Row) -> tuple[str, str]:
    if row.error is None:
        return "done", "done"
    return f"failed: {row.error}", f'<span class="bad">failed</span> {html.escape(row.error)}'


def _number(mapping: Mapping[str, Any], key: str) -> float | None:
    value = mapping.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
