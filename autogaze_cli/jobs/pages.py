"""Writes a page for each result in a folder, and their index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.errors import InputError, OutputError, as_autogaze_error
from autogaze_cli.jobs.folder import (
    INDEX,
    Found,
    Manifest,
    find,
    find_video,
    is_ours,
    read_summary,
)
from autogaze_cli.jobs.frames import Job, OnFrame, gazed_frames, open_job, trace_header
from autogaze_cli.player.drawn import write_drawn_page
from autogaze_cli.player.index import Row, write_index
from autogaze_cli.player.page import PAGE_VIEW, draw_frames
from autogaze_cli.progress import TRACEBACK
from autogaze_cli.trace import read_trace
from autogaze_cli.visualize.settings import Visualization

logger = logging.getLogger(__name__)

OnPage = Callable[[Path], AbstractContextManager[OnFrame]]
"""Called before each page is written; yields the progress callback for its frames."""


@dataclass(slots=True, kw_only=True)
class Pages:
    """The outcome for the pages of a folder.

    Attributes:
        index: The index.
        written: Pages that were written.
        kept: Existing pages that were kept.
        failed: Error messages of pages that could not be written, by path.
        rows: The rows of the index.
    """

    index: Path
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The outcome as a JSON document."""
        return {
            "index": str(self.index),
            "written": [str(path) for path in self.written],
            "kept": [str(path) for path in self.kept],
            "failed": [{"page": str(path), "error": why} for path, why in self.failed.items()],
        }

    def lines(self) -> Iterator[dict[str, Any]]:
        """The outcome as events: ``written``, ``kept`` and ``failed`` pages, then ``ended``."""
        for path in self.written:
            yield {"event": "written", "page": str(path)}
        for path in self.kept:
            yield {"event": "kept", "page": str(path)}
        for path, why in self.failed.items():
            yield {"event": "failed", "page": str(path), "error": why}
        yield {"event": "ended", "index": str(self.index)}


def draw_page(
    job: Job,
    path: Path,
    visualization: Visualization = PAGE_VIEW,
    *,
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
) -> dict[str, Any]:
    """Write only the page of one video.

    Args:
        job: The video and its gaze.
        path: The page.
        visualization: The page's initial settings, for which the metrics are computed.
        overwrite: Whether an existing page is replaced.
        on_frame: Called after each frame.

    Returns:
        The metrics document.

    Raises:
        AutogazeError: The video or the trace is invalid, or the page cannot be written; nothing is
            written then.
    """
    gazed = gazed_frames(job, on_frame)
    with Outputs(overwrite=overwrite) as outputs:
        return draw_frames(outputs.add(path), trace_header(job), job.size, visualization, gazed)


def write_pages(
    folder: Path, on_page: OnPage, *, videos: Path | None = None, overwrite: bool = False
) -> Pages:
    """Write the pages of all results below a folder, and the index.

    Args:
        folder: An output folder of the commands, with their results and manifest.
        on_page: See ``OnPage``.
        videos: The folder to search first for the videos of traces.
        overwrite: Whether existing pages are rewritten where possible.

    Raises:
        OutputError: The existing index was not written by this program, or cannot be written.
        InputError: The folder contains no results.
    """
    index = folder / INDEX
    if index.exists() and not (is_ours(index) or overwrite):
        hint = "move it, or give --overwrite to replace it"
        raise OutputError(f"{index}: was not written by this program", hint=hint)
    results, manifest = find(folder), Manifest.read(folder)
    if not results and not manifest.inputs:
        raise InputError(f"{folder}: contains no results", hint="give the --out-dir of a command")
    pages = Pages(index=index)
    for found in results:
        try:
            done = _write(found, folder, on_page, videos, overwrite)
            (pages.written if done else pages.kept).append(found.page)
        except Exception as error:  # one result never stops the others
            problem = as_autogaze_error(error, str(found.page))
            pages.failed[found.page] = problem.line()
            logger.error("%s", problem.line())
            logger.log(TRACEBACK, "traceback of the error:", exc_info=error)
        pages.rows.append(_row(found, folder, manifest, pages.failed.get(found.page)))
    listed = {row.name for row in pages.rows}
    for name, reason in manifest.failures().items():
        if name not in listed:
            pages.rows.append(Row(name=name, error=reason))
    with Outputs(overwrite=True) as outputs:
        write_index(outputs.add(index), folder.resolve().name, pages.rows)
    return pages


def _write(
    found: Found, folder: Path, on_page: OnPage, videos: Path | None, overwrite: bool
) -> bool:
    """Write the page of one result; return False if an existing page is kept.

    Raises:
        AutogazeError: Files that the page needs are missing or invalid.
    """
    there = found.page.exists()
    if there and not overwrite:
        return False
    trace = read_trace(found.trace) if found.trace else None
    video = find_video(trace.header.source, videos, folder) if trace is not None else None
    if trace is not None and video:
        job = open_job(video, trace, name=trace.header.source)
        view = found.visualization() or PAGE_VIEW
        with on_page(found.page) as on_frame:
            draw_page(job, found.page, view, overwrite=overwrite, on_frame=on_frame)
    elif there and (read_summary(found.page).get("draws") or not found.drawn):
        return False
    elif found.drawn:
        document = found.document()
        name = _source(document) or _stem(found)
        with on_page(found.page), Outputs(overwrite=overwrite) as outputs:
            write_drawn_page(outputs.add(found.page), name, found.drawn, document)
    elif trace is not None:
        raise InputError(
            f"{found.trace}: its video {trace.header.source} is not found",
            hint="give its folder with --videos",
        )
    else:
        raise InputError(f"{found.page}: its drawn files are missing", hint="render it again")
    logger.info("wrote %s", found.page)
    return True


def _row(found: Found, folder: Path, manifest: Manifest, error: str | None) -> Row:
    """The row of the index for one result."""
    there = is_ours(found.page)
    summary = read_summary(found.page) if there else {}
    document = summary.get("document")
    name = (_source(document) if isinstance(document, dict) else None) or _stem(found)
    return Row(
        name=name,
        page=found.page if there else None,
        summary=summary,
        seconds=manifest.seconds(found, folder),
        error=error or manifest.failures().get(name),
    )


def _source(document: Mapping[str, Any]) -> str | None:
    source = document.get("source_video")
    return source if isinstance(source, str) else None


def _stem(found: Found) -> str:
    name = found.page.name
    if name.startswith("autogaze_") and name.endswith("_report.html"):
        return name.removeprefix("autogaze_").removesuffix("_report.html")
    return name.removesuffix(".report.html")
