"""``autogaze report``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.streams import outputs_kept, print_document, print_line
from autogaze_cli.errors import SOME_FAILED

if TYPE_CHECKING:
    from autogaze_cli.jobs.frames import OnFrame
    from autogaze_cli.jobs.pages import Pages

logger = logging.getLogger("autogaze_cli.jobs.pages")


@click.command(
    "report",
    cls=options.Command,
    common=("videos", "overwrite", "json"),
    short_help="Write a viewer page for each result in a folder, and an index of them.",
)
@click.argument("out_dir", type=click.Path(exists=True, file_okay=False))
@options.section(
    "Input",
    options.option(
        "--videos",
        type=click.Path(exists=True, file_okay=False),
        help="Where the videos of saved traces are.  [default: their paths, if below the current "
        "folder or FOLDER]",
    ),
)
@options.section(
    "Output", options.option("--overwrite", is_flag=True, help="Rewrite existing pages.")
)
@options.as_json
@options.always
def report(**values: Any) -> None:
    """Write a viewer page for each result in a folder, and an index of them.

    Below OUT_DIR, each saved trace whose video is found gets a page, STEM.report.html, with the
    input, mask and output side by side, drawn in the browser. Results without a trace get a page
    with their drawn files. OUT_DIR/index.html lists all pages and all failures. A page is one file
    that loads nothing else.
    """
    from autogaze_cli.jobs.pages import write_pages

    pages = write_pages(
        Path(values["out_dir"]),
        _progress,
        videos=Path(values["videos"]) if values["videos"] else None,
        overwrite=values["overwrite"],
    )
    logger.info("wrote %s", pages.index)
    with outputs_kept():
        _print(pages, values)
    if pages.failed:
        count = len(pages.failed) + len(pages.written) + len(pages.kept)
        logger.error("%d of %d pages failed", len(pages.failed), count)
    click.get_current_context().exit(SOME_FAILED if pages.failed else 0)


def _print(pages: Pages, values: dict[str, Any]) -> None:
    import json

    from autogaze_cli.visualize.document import dump_document

    if values["json"]:
        print_document(dump_document(pages.document()))
    if values["jsonl"]:
        for line in pages.lines():
            print_line(json.dumps(line))


@contextmanager
def _progress(page: Path) -> Iterator[OnFrame]:
    from autogaze_cli.progress import progress_board

    with progress_board() as board, board(str(page)) as advance:
        yield lambda done, total, line: advance(done, total)
