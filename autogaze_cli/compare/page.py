"""The comparison as one HTML page: plot, tables, and each clip under every source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autogaze_cli.compare.failures import failures_cells, failures_title
from autogaze_cli.compare.table import SECTIONS, Clips, section_cells, section_rows
from autogaze_cli.player import html

_STYLE = """
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 12px; }
.strips figcaption { display: flex; justify-content: space-between; gap: 8px; font-size: 14px; font-weight: 600; }
.strips figcaption small { font-weight: 400; }
.strips img, .plot-picture { display: block; width: 100%; height: auto; border-radius: 6px; }
"""  # noqa: E501  # a style sheet

_HEADER = """<header>
  <div>
    <p class="kicker">autogaze compare</p>
    <h1 id="name">{title}</h1>
    <p class="quiet">{facts}</p>
  </div>
  <div class="segments" role="group" aria-label="Colours of the page" id="theme">
    <button type="button" value="light dark">System</button>
    <button type="button" value="light">Light</button>
    <button type="button" value="dark">Dark</button>
  </div>
</header>
"""


def page_html(document: Mapping[str, Any], clips: Clips, plot: bytes | None) -> str:
    """The page, which loads nothing else.

    Args:
        document: The comparison.
        clips: The documents of its clips, with their pictures.
        plot: The plot as PNG; None without one.
    """
    names = list(dict.fromkeys(row["source"] for row in document["rows"]))
    title = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    facts = (
        f"{len(clips)} {'clip' if len(clips) == 1 else 'clips'}, figures of the frames after the "
        f"first, mean over clips and 95 % interval; {document['machine']['processor']}"
    )
    script = html.joined(("theme.js",))
    head = html.head("Gaze sources compared - autogaze", html.asset("style.css") + _STYLE, script)
    parts = [
        head,
        _HEADER.format(title=html.escape(title), facts=html.escape(facts)),
        "<main>\n",
        _failures(document),
        *_plot(plot),
        *(_table(document, *section) for section in SECTIONS),
        *(_clip(document, clip) for clip in clips),
        "</main>\n",
        html.tail(script),
    ]
    return "".join(parts)


def _plot(plot: bytes | None) -> list[str]:
    if plot is None:
        return []
    source = f"data:image/png;base64,{html.encoded(plot)}"
    alt = "PSNR, SSIM and canvas loss against tokens per frame; the tables have the figures"
    return [_card("What is left", f'<img class="plot-picture" src="{source}" alt="{alt}">')]


def _table(document: Mapping[str, Any], title: str, setting: str, free: bool) -> str:
    rows = section_rows(document, setting, free)
    if not rows:
        return ""
    cells = section_cells(rows)
    return _card(title, _cells(cells, texts=1 + cells[0].index("source")))


def _failures(document: Mapping[str, Any]) -> str:
    if not document["failures"]:
        return ""
    cells = failures_cells(document["failures"])
    return _card(failures_title(document), _cells(cells, texts=len(cells[0])))


def _cells(cells: Sequence[Sequence[str]], texts: int) -> str:
    """A table, the headings first; all columns but the first ``texts`` are numbers."""
    head, *lines = cells
    number = [' class="number"' if n >= texts else "" for n in range(len(head))]
    heads = "".join(
        f'<th scope="col"{c}>{html.escape(t)}</th>' for t, c in zip(head, number, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{c}>{html.escape(t)}</td>" for t, c in zip(line, number, strict=True))
        + "</tr>"
        for line in lines
    )
    return (
        '<div class="aside" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _clip(document: Mapping[str, Any], clip: Mapping[str, Any]) -> str:
    """The clip's frames as they are, and as each source shows them at the middle budget."""
    tokens = document["settings"]["tokens"]
    budget = tokens[len(tokens) // 2]
    figures = {
        row["source"]: row["figures"]
        for row in clip["rows"]
        if row["tokens"] == budget and not row["first_frame_free"]
    }
    strips = [
        _strip(name or "input", _said(figures.get(name)), picture)
        for name, picture in clip["pictures"].items()
    ]
    size = f"{clip['frames']} frames of {clip['width']} by {clip['height']}"
    note = f'<p class="quiet">{size}; {budget} tokens in every frame</p>'
    return _card(str(clip["input"]), f'{note}<div class="strips">{"".join(strips)}</div>')


def _said(figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return "as the model sees it"
    return f"{figures['psnr_db']:.1f} dB, SSIM {figures['ssim']:.3f}, loss {figures['loss']:.3f}"


def _strip(name: str, said: str, picture: str) -> str:
    caption = f"<figcaption>{html.escape(name)} <small>{html.escape(said)}</small></figcaption>"
    alt = html.escape(f"Frames from the first to the last: {name}")
    source = f"data:image/jpeg;base64,{html.escape(picture)}"
    return f'<figure>{caption}<img src="{source}" alt="{alt}"></figure>\n'


def _card(title: str, content: str) -> str:
    return f'<section class="card"><h2>{html.escape(title)}</h2>{content}</section>\n'
