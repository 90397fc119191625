"""The table over all clips: as a document, as CSV, and as Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autogaze_cli.bench.report import machine
from autogaze_cli.compare.failures import Failure, failures_markdown
from autogaze_cli.compare.measures import MAX_PSNR_DB
from autogaze_cli.compare.settings import CompareSettings
from autogaze_cli.compare.statistics import mean_interval, summary
from autogaze_cli.compare.text import aligned
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

Clips = Sequence[Mapping[str, Any]]


def compare_document(
    settings: CompareSettings,
    models: Mapping[str, str | None],
    clips: Clips,
    failures: Sequence[Failure] = (),
) -> dict[str, Any]:
    """The whole comparison.

    Args:
        settings: What was compared.
        models: The SHA-256 of each model's weights, by its name.
        clips: The documents of the clips.
        failures: The inputs that could not be measured.
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
        "failures": list(failures),
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
                name: _difference(
                    values[name],
                    [figures[reference][name] for figures in found],
                    higher_is_better=name in HIGHER_IS_BETTER,
                )
                for name in COMPARED
            },
        }


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What distinguishes a row from the others."""
    return tuple(row[name] for name in _KEY)


def _difference(
    values: Sequence[float], first: Sequence[float], *, higher_is_better: bool
) -> dict[str, float | None]:
    """A figure less that of the first source: mean over clips, interval, clips where it is better.

    Clips differ far more than sources do; this compares like with like.
    """
    each = [a - b for a, b in zip(values, first, strict=True)]
    low, high = mean_interval(each)
    better = sum(d > 0 if higher_is_better else d < 0 for d in each)
    return _rounded({"mean": sum(each) / len(each), "low": low, "high": high, "better": better})


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
    """All tables, as aligned Markdown."""
    count, first = len(document["clips"]), document["rows"][0]["source"]
    about = "Figures are of the frames after the first"
    if count > 1:
        about += f": means over {count} clips, in brackets the 95 % bootstrap interval"
    parts = [f"{about}.", *failures_markdown(document)]
    for title, setting, free in SECTIONS:
        if rows := section_rows(document, setting, free):
            parts.append(f"### {title}\n\n{aligned(section_cells(rows))}")
    for title, setting, free in SECTIONS if count > 1 else ():
        rows = [r for r in section_rows(document, setting, free) if r["source"] != first]
        if rows:
            parts.append(f"### {title}: less {first}\n\n{aligned(difference_cells(rows, count))}")
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
    if rows[0]["first_frame_free"]:  # costs are those of the other table
        names = [name for name in names if name in (*COMPARED, "update_ratio", "tokens_per_frame")]
    lines = [["source", *(_NAMES[name] for name in names)]]
    lines += [[r["source"], *(_cell(name, r["figures"][name]) for name in names)] for r in rows]
    return _with_budgets(rows, lines)


def difference_cells(rows: Sequence[Mapping[str, Any]], clips: int) -> list[list[str]]:
    """The cells of a table of differences from the first source, the headings first."""
    lines = [["source", *(title for n in COMPARED for title in (_NAMES[n], "better on"))]]
    for row in rows:
        lines.append([row["source"]])
        for name in COMPARED:
            found = row["against_first"][name]
            lines[-1] += [_cell(name, found, "+"), f"{found['better']:.0f} of {clips}"]
    return _with_budgets(rows, lines)


def _with_budgets(rows: Sequence[Mapping[str, Any]], lines: list[list[str]]) -> list[list[str]]:
    """The lines with a first column of budgets, where they are asked for."""
    if rows[0]["tokens"] is None:
        return lines
    budgets = ["tokens", *(str(row["tokens"]) for row in rows)]
    return [[budget, *line] for budget, line in zip(budgets, lines, strict=True)]


def _cell(name: str, figure: Mapping[str, float | None], sign: str = "") -> str:
    form = f"{sign}.{_DIGITS.get(name, 1)}f"
    text = format(figure["mean"], form)
    if name in COMPARED and figure["low"] is not None:
        text += f" [{format(figure['low'], form)}, {format(figure['high'], form)}]"
    return text
