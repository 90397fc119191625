"""The comparison as a plot: what is left against tokens per frame."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze_cli.compare.table import section_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {"psnr_db": "PSNR (dB)", "ssim": "SSIM", "loss": "canvas loss (lower is better)"}

_ROWS = {False: "every token counts", True: "first frame given to all for free"}
_COLOURS = (
    *("#0b5fa5", "#d1495b", "#2e8b57", "#e08e0b", "#7b4fa3", "#666666", "#111111", "#00a0a0"),
    *("#b5651d", "#c05090"),
)
_MARKERS = "osD^vPX*<>"

Looks = dict[str, dict[str, Any]]


def draw(document: Mapping[str, Any]) -> Figure:
    """A column of plots per measure: with the first frame's tokens, and with it for free.

    Lines are equal tokens, with the 95 % interval over clips; large hollow marks are defaults.
    """
    _import_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "autogaze"  # otherwise ids differ from run to run
    names = list(dict.fromkeys(row["source"] for row in document["rows"]))
    looks: Looks = {
        name: {
            "color": _COLOURS[n % len(_COLOURS)],
            "marker": _MARKERS[n % len(_MARKERS)],
            "markersize": 5,
        }
        for n, name in enumerate(names)
    }
    figure = Figure(figsize=(14, 8.6), dpi=100, layout="constrained")
    plots = figure.subplots(len(_ROWS), len(MEASURES), sharex=True)
    for line, (free, title) in zip(plots, _ROWS.items(), strict=True):
        for axes, (measure, label) in zip(line, MEASURES.items(), strict=True):
            _draw_measure(axes, document, measure, free, looks)
            axes.set_title(f"{label.partition(' (')[0]}: {title}", loc="left", fontsize="medium")
            axes.set_ylabel(label)
    for axes in plots[-1]:
        axes.set_xlabel("tokens per frame")
    handles, labels = plots[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(names), frameon=False)
    clips = len(document["clips"])
    figure.supxlabel(
        f"{clips} {'clip' if clips == 1 else 'clips'}, frames after the first. Lines: exactly so "
        "many tokens in every frame, with the 95 % interval over clips.\n"
        "Large hollow marks: each source at its default threshold.",
        fontsize="medium",
    )
    return figure


def _import_matplotlib() -> None:
    """Import matplotlib without the ``matplotlibrc`` of the current folder.

    It may be somebody else's, and can make matplotlib start LaTeX.
    """
    if "matplotlib" in sys.modules:
        return
    with chdir(Path(__file__).parent):
        import matplotlib  # noqa: F401  # an extra


def _draw_measure(
    axes: Axes, document: Mapping[str, Any], measure: str, free: bool, looks: Looks
) -> None:
    from matplotlib.ticker import ScalarFormatter

    lines = section_rows(document, "tokens", free)
    points = section_rows(document, "default", free)
    for shift, (name, look) in enumerate(looks.items()):
        own = [row for row in lines if row["source"] == name]
        # Intervals of several sources at one budget stand beside each other.
        x = [row["tokens"] * 1.012 ** (shift - len(looks) / 2) for row in own]
        figures = [row["figures"][measure] for row in own]
        axes.plot(x, [figure["mean"] for figure in figures], label=name, linewidth=1.6, **look)
        spans = [(at, f["low"], f["high"]) for at, f in zip(x, figures, strict=True)]
        spans = [span for span in spans if None not in span]  # one clip has no interval
        if spans:
            axes.vlines(*zip(*spans, strict=True), color=look["color"], alpha=0.35, linewidth=1)
        for row in points:
            if row["source"] == name:
                at = row["figures"]["tokens_per_frame"]["mean"]
                axes.plot(
                    [at], [row["figures"][measure]["mean"]], **look | {"markersize": 13},
                    markerfacecolor="none", markeredgewidth=1.8,
                )  # fmt: skip
    shown = [row["figures"][measure]["mean"] for row in lines + points]
    margin = 0.08 * (max(shown) - min(shown)) or 1  # wide intervals must not flatten the lines
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set_xscale("log")
    ticks = sorted({row["tokens"] for row in lines})
    axes.set_xticks(ticks, map(str, ticks))
    axes.xaxis.set_minor_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
