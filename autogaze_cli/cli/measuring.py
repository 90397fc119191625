"""What ``compare`` and ``calibrate`` share: their options, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.types import Real, Whole
from autogaze_cli.media.sampling import Sampling

if TYPE_CHECKING:
    from autogaze_cli.batch.report import Report
    from autogaze_cli.compare.run import Execution


class Listed(click.ParamType[tuple[Any, ...]]):
    """A comma-separated list."""

    def __init__(self, name: str, item: click.ParamType[Any] | None = None) -> None:
        """Of names, or of what ``item`` converts."""
        self.name, self.item = name, item

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The name, twice."""
        return f"{self.name},{self.name},..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The parts, in the order given."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(parts):
            self.fail(f"must be separated by commas, none of them empty, not {value!r}", param, ctx)
        return tuple(self.item.convert(p, param, ctx) if self.item else p for p in parts)


WHOLE_NUMBERS = Listed("N", Whole())
NUMBERS = Listed("X", Real(0))
NAMES = Listed("NAME")

measured_output = options.group(
    options.section(
        "Output",
        options.option(
            "-o",
            "--out-dir",
            "--output-dir",
            "out_dir",
            type=click.Path(),
            default=".",
            help="Output folder; created if missing.",
        ),
        options.option("--overwrite", is_flag=True, help="Replace existing outputs."),
    ),
    options.as_json,
    options.section(
        "Batch",
        options.option(
            "--dry-run",
            is_flag=True,
            help="Print the plan and the effective settings; run nothing.",
        ),
        options.option(
            "--resume",
            is_flag=True,
            help="Continue an earlier run into the same folder: skip finished, unchanged inputs.",
        ),
        options.option("--fail-fast", is_flag=True, help="Stop at the first input that fails."),
        options.option(
            "--workers",
            type=Whole(),
            default=1,
            help="Worker processes; each loads its own model.",
        ),
    ),
)


def sampling_of(values: Mapping[str, Any]) -> Sampling:
    """The frames that the options ask for."""
    return Sampling(
        start=Fraction(0) if values["start"] is None else values["start"],
        frames=values["frames"],
        fps=values["fps"],
        width=values["inference_width"],
        height=values["inference_height"],
        stream=values["stream"],
        tone_map=values["tone_map"],
        allow_truncated=values["allow_truncated"],
    )


def execution_of(values: Mapping[str, Any]) -> Execution:
    """Where and how the options ask it to run."""
    from autogaze_cli.compare.run import Execution

    names = ("overwrite", "dry_run", "resume", "fail_fast", "workers")
    return Execution(out_dir=Path(values["out_dir"]), **{name: values[name] for name in names})


def finish_measured(
    report: Report,
    values: Mapping[str, Any],
    document: Mapping[str, Any] | None,
    text: Callable[[Mapping[str, Any]], str],
    negative: Sequence[str] | None = None,
) -> None:
    """Print the plan, the document or its text, and exit.

    Args:
        report: The outcome of each input.
        values: The options.
        document: What was measured; None = nothing.
        text: Writes it for people.
        negative: Lines that say why the result is negative (exit code 1); None = it is not.
    """
    from autogaze_cli.cli.printing import finish
    from autogaze_cli.cli.streams import print_document, print_line
    from autogaze_cli.visualize.document import dump_document

    if document is None:
        finish(report, values)
        return
    if values["json"]:
        print_document(dump_document(document))
    elif not values["jsonl"]:
        print_document(text(document))
    for line in negative or ():
        print_line(line, err=values["json"] or values["jsonl"])
    code = report.exit_code()
    click.get_current_context().exit(code or int(negative is not None))
