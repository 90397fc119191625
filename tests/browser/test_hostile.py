"""Pages made of hostile names, notes and values: they are shown as text, and nothing runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autogaze_cli.compare.page import page_html
from autogaze_cli.jobs.frames import OnFrame, open_job
from autogaze_cli.jobs.pages import draw_page, write_pages
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.trace import Trace
from tests.browser.shown import RUN

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("browser")

PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
RUNS = "document.title='owned'"
HOSTILE = (
    f"</script><script>{RUNS}</script>",
    f"<img src=x onerror={RUNS}>",
    f'"onfocus={RUNS} autofocus tabindex=1 x="',
    f"'onmouseover={RUNS} x='",
    f"javascript:{RUNS}",
    f"<svg/onload={RUNS}>",
    "</style><style>body{background:url(//x.test/y)}*{display:none}</style>",
    f"<iframe srcdoc='<script>parent.{RUNS}</script>'>",
    "</title><base href=//x.test/><meta http-equiv=refresh content='0;url=//x.test'>",
    f"<a href=data:text/html,<script>{RUNS}</script>>",
    "--><!--<![CDATA[</textarea></noscript><link rel=stylesheet href=//x.test>",
    f"{{{{constructor.constructor('{RUNS}')()}}}}${{{RUNS}}}",
    "\u202e\u2028\x00\x1b]0;x\x07",
)
EVIL = " ".join(HOSTILE)

FOREIGN = """() => {
  const found = [];
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name) || name === "srcdoc" || name === "autofocus") found.push(name);
      if (/^(href|src|action|xlink:href)$/i.test(name)
          && /^\\s*(javascript:|data:text|\\/\\/|https?:)/i.test(value)) found.push(value);
    }
    if (/^(IFRAME|BASE|OBJECT|EMBED|LINK)$/.test(element.tagName)) found.push(element.tagName);
  }
  const scripts = [...document.scripts].filter((one) => !one.type || one.type.includes("java"));
  return { found, scripts: scripts.length, styles: document.querySelectorAll("style").length };
}"""


def refuse_to_run(page: Page, path: Path) -> None:
    """Open a page, wake everything that could run, and look for what is not the page's own."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_timeout(200)
    for kind in ("mouseover", "focus", "error", "load"):
        page.evaluate(
            "(kind) => document.body.querySelectorAll('*').forEach("
            "(one) => one.dispatchEvent(new Event(kind)))",
            kind,
        )
    page.wait_for_timeout(50)
    assert page.title() != "owned"
    assert dialogs == []
    assert page.url == path.as_uri()
    assert page.evaluate(FOREIGN) == {"found": [], "scripts": 1, "styles": 1}
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', path.read_text())
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe-inline" not in policy[1]
    assert path.read_text().index(policy[0]) < path.read_text().index("<title>")


@contextmanager
def unheard(page: Path) -> Iterator[OnFrame]:
    yield lambda done, total, line: None


@pytest.fixture(scope="module")
def hostile(video: Path, trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of such pages: reports of two traces, and the index."""
    out = tmp_path_factory.mktemp("hostile")
    header = replace(
        trace.header,
        source=EVIL,
        model=EVIL,
        tool_version=EVIL,
        settings={EVIL: EVIL, "note": EVIL},
    )
    evil = replace(trace, header=header)
    for name in ("a.report.html", f"javascript:{RUNS}.report.html"):
        draw_page(open_job(video, evil, Sampling(), name=EVIL), out / name, RUN)
    lines = [{"event": "failed", "input": text, "error": text, "hint": text} for text in HOSTILE]
    (out / "autogaze-manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_pages(out, unheard)
    return out


def test_a_report_of_hostile_values_runs_nothing(page: Page, hostile: Path) -> None:
    refuse_to_run(page, hostile / "a.report.html")
    assert "<img src=x" in page.inner_text("h1")


def test_an_index_of_hostile_values_runs_nothing(page: Page, hostile: Path) -> None:
    refuse_to_run(page, hostile / "index.html")
    shown = page.inner_text("body")
    assert all(text in shown for text in HOSTILE[:4])


def test_a_comparison_of_hostile_names_runs_nothing(page: Page, tmp_path: Path) -> None:
    row = {"source": EVIL, "setting": EVIL, "tokens": 1, "first_frame_free": False}
    document = {
        "rows": [row],
        "machine": {"processor": EVIL},
        "settings": {"tokens": [1]},
        "clips": [{}],
        "failures": [{"input": text, "error": text, "hint": text} for text in HOSTILE],
    }
    clip = {
        "input": EVIL,
        "frames": 1,
        "width": 1,
        "height": 1,
        "rows": [],
        "pictures": {EVIL: PIXEL},
    }
    made = tmp_path / "compare.html"
    made.write_text(page_html(document, [clip], None))
    refuse_to_run(page, made)
    assert page.inner_text("body").count("<img src=x") >= 4
