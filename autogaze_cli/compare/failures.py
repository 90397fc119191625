"""The inputs that a measurement leaves out, and why: as records, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from autogaze_cli.batch.report import Report
from autogaze_cli.compare.text import aligned, escaped
from autogaze_cli.progress import message_line

_NOT_PROCESSED = "not processed: the run stopped before it reached this input"


class Failure(TypedDict):
    """An input that is not in the figures: its name, what is wrong, and what to try if known."""

    input: str
    error: str
    hint: str | None


def failures_of(report: Report) -> list[Failure]:
    """The inputs that failed or were not processed, in the order of the inputs."""
    measured = report.results.keys() | report.skipped.keys()
    found: list[Failure] = []
    for item in report.inputs:
        if item in report.failures:
            error = report.failures[item]
            found.append({"input": item.name, "error": str(error), "hint": error.hint})
        elif item not in measured:
            found.append({"input": item.name, "error": _NOT_PROCESSED, "hint": None})
    return found


def failures_title(document: Mapping[str, Any]) -> str:
    """How many of the inputs are not in the figures."""
    failed = len(document["failures"])
    return f"Not measured: {failed} of {failed + len(document['clips'])} inputs"


def failures_cells(failures: Sequence[Failure]) -> list[list[str]]:
    """The cells of the table as plain text, the headings first."""
    lines = [["input", "error"]]
    for failure in failures:
        name = failure["input"]
        error = failure["error"].removeprefix(f"{name}: ")
        lines.append([message_line(name), message_line(error)])
    return lines


def failures_markdown(document: Mapping[str, Any]) -> list[str]:
    """The heading and the table as one block of Markdown; none if nothing failed."""
    if not document["failures"]:
        return []
    cells = [[escaped(cell) for cell in line] for line in failures_cells(document["failures"])]
    return [f"### {failures_title(document)}\n\n{aligned(cells)}"]
