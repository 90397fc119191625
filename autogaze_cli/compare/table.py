"""The table over all clips: as a document, as CSV, and as Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autogaze_cli.bench.report import machine
from autogaze_cli.compare.measures import MAX_PSNR_DB
from autogaze_cli.compare.settings import CompareSettings
from autogaze_cli.compare.statistics import mean_interval, summary
from autogaze_cli.compare.work import DIGITS
from autogaze_cli.version import __version__

FORMAT, VERSION = "autogaze-compare", 1

HIGHER_IS_BETTER = frozenset({"psnr_db", "ssim", "cosine_similarity"})

COMPARED = ("psnr_db", "ssim", "loss")
"""The figures of which a row also has its difference from the first source."""

STATISTICS = ("mean", "median", "worst", "low", "high")

_KEY = ("source", "setting", "tokens", "first_frame_free")

_NAMES = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "loss": "canvas loss",
    "update_ratio": "pixels updated",
    "tokens_per_frame": "tokens per frame",
    "tokens_first_frame": "in frame 0",
    "choose_ms": "ms per frame",
    "choose_cpu_ms": "CPU ms",
    "peak_memory_mb": "peak MB",
    "encode_ms": "ms to encode",
    "dense_encode_ms": "densely",
    "cosine_similarity": "cosine",
}
_DIGITS = {"psnr_db": 2, "ssim": 3, "loss": 3, "update_ratio": 2, "cosine_similarity": 4}
_WITHIN = {
    "psnr_db": (0.0, MAX_PSNR_DB),
    "ssim": (-1.0, 1.0),
    "cosine_similarity": (-1.0, 1.0),
    "update_ratio": (0.0, 1.0),
}
_WITH_INTERVAL = frozenset(COMPARED)

Clips = Sequence[Mapping[str, Any]]


def compare_document(
    settings: CompareSettings, models: Mapping[str, str | None], clips: Clips
) -> dict[str, Any]:
    """The whole comparison.

    Args:
        settings: What was compared.
        models: The SHA-256 of each model's weights, by its name.
        clips: The documents of the clips.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "tool_version": __version__,
        "machine": machine(),
        "settings": settings.described(),
        "models": dict(models),
        "rows": list(table_rows(clips)),
        "clips": [{k: v for k, v in clip.items() if k not in _OWN} for clip in clips],
    }


_OWN = ("format", "version", "pictures")


def table_rows(clips: Clips) -> Iterator[dict[str, Any]]:
    """The figures of each row over all clips, in the order of the clips' rows."""
    found = [{key_of(row): row["figures"] for row in clip["rows"]} for clip in clips]
    first = next(iter(found[0]))[0]
    for key in found[0]:
        values = {
            name: [figures[key][name] for figures in found]
            for name in found[0][key]
            if all(name in figures[key] for figures in found)
        }
        reference = (first, *key[1:])
        yield {
            **dict(zip(_KEY, key, strict=True)),
            "figures": {
                name: _rounded(
                    summary(
                        each,
                        higher_is_better=name in HIGHER_IS_BETTER,
                        within=_WITHIN.get(name, (0, math.inf)),
                    )
                )
                for name, each in values.items()
            },
            "against_first": {
                name: _difference(values[name], [figures[reference][name] for figures in found])
                for name in COMPARED
            },
        }


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What distinguishes a row from the others."""
    return tuple(row[name] for name in _KEY)


def _difference(values: Sequence[float], first: Sequence[float]) -> dict[str, float | None]:
    """The mean over clips of a figure less that of the first source, and its interval."""
    each = [a - b for a, b in zip(values, first, strict=True)]
    low, high = mean_interval(each)
    return _rounded({"mean": sum(each) / len(each), "low": low, "high": high})


def _rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: v if v is None else round(v, DIGITS) for k, v in figures.items()}


def csv_text(document: Mapping[str, Any]) -> str:
    """The rows as CSV, one column per figure and statistic."""
    names = list(dict.fromkeys(name for row in document["rows"] for name in row["figures"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_KEY, *(f"{name}_{s}" for name in names for s in STATISTICS)])
    for row in document["rows"]:
        figures = row["figures"]
        cells = [figures.get(name, {}).get(s) for name in names for s in STATISTICS]
        writer.writerow([*key_of(row), *cells])
    return text.getvalue()


def markdown(document: Mapping[str, Any]) -> str:
    """All four tables, as aligned Markdown."""
    count = len(document["clips"])
    parts = [
        f"{count} {'clip' if count == 1 else 'clips'}; means over clips, in brackets the 95 % "
        "bootstrap interval. Figures are of the frames after the first."
    ]
    for title, setting, free in SECTIONS:
        rows = section_rows(document, setting, free)
        if rows:
            parts.append(f"### {title}\n\n{aligned(section_cells(rows))}")
    return "\n\n".join(parts) + "\n"


SECTIONS = (
    ("Equal tokens", "tokens", False),
    ("Equal tokens, first frame given to all for free", "tokens", True),
    ("Default thresholds", "default", False),
    ("Default thresholds, first frame given to all for free", "default", True),
)
"""The tables: title, setting, and whether the first frame is free."""


def section_rows(document: Mapping[str, Any], setting: str, free: bool) -> list[dict[str, Any]]:
    """The rows of one table, those of equal budgets together."""
    rows = [
        row
        for row in document["rows"]
        if row["setting"] == setting and row["first_frame_free"] == free
    ]
    return sorted(rows, key=lambda row: row["tokens"] or 0)


def section_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The cells of a table as text, the headings first."""
    names = [name for name in _NAMES if name in rows[0]["figures"]]
    if rows[0]["setting"] == "tokens":  # where all have them, they are in the first column
        names = [name for name in names if not name.startswith("tokens")]
    elif rows[0]["first_frame_free"]:
        names.remove("tokens_first_frame")
    lines = [["tokens" if rows[0]["tokens"] else "", "source", *(_NAMES[n] for n in names)]]
    for row in rows:
        asked = "" if row["tokens"] is None else str(row["tokens"])
        lines.append([asked, row["source"], *(_cell(name, row["figures"][name]) for name in names)])
    return lines if rows[0]["tokens"] else [line[1:] for line in lines]


def _cell(name: str, figure: Mapping[str, float | None]) -> str:
    digits = _DIGITS.get(name, 1)
    text = f"{figure['mean']:.{digits}f}"
    if name in _WITH_INTERVAL and figure["low"] is not None:
        text += f" [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
    return text


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as text too; the first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )
