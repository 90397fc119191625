"""``autogaze compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.measuring import NAMES, WHOLE_NUMBERS, measured_output
from autogaze_cli.cli.options import option
from autogaze_cli.cli.types import Whole


@click.command(
    "compare",
    cls=options.Command,
    common=("more_inputs", "sources", "tokens", "out_dir", "overwrite"),
    short_help="Measure gaze sources side by side: one table.",
)
@options.inputs
@options.sampling_options({"frames": 16})
@options.section(
    "Gaze",
    option(
        "--sources",
        type=NAMES,
        help="Gaze sources and models, separated by commas; differences are from the first.  "
        "[default: the bundled model and every source without one]",
    ),
    option(
        "--tokens",
        type=WHOLE_NUMBERS,
        default="5,10,20,40,80",
        help="Budgets: exactly so many tokens in every frame, separated by commas.",
    ),
)
@options.compute
@options.section(
    "Encoder",
    option(
        "--encoder",
        metavar="FOLDER|ID",
        help="Also run this encoder on what is gazed at, and on every patch.",
    ),
)
@options.section(
    "Measurement",
    option("--repeats", type=Whole(), default=3, help="Timed runs of a row (the best counts)."),
    option("--seeds", type=Whole(), default=8, help="Draws of random, which are averaged."),
    option(
        "--check",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Exit with 1 if a figure other than times and memory is not that of this earlier "
        "compare.json.",
    ),
)
@measured_output
@options.always
def compare(**values: Any) -> None:
    """Measure gaze sources side by side: one table.

    For each source and budget, and for each source at its default threshold: what is left of the
    clips after gazing (PSNR, SSIM, canvas loss), tokens, pixels updated, milliseconds and memory
    to choose, each as mean, median and worst over the clips with a bootstrap interval. Writes
    compare.json, .csv, .md, .html and, with the extra plots, .png and .svg; STEM.compare.json has
    the figures of one clip. Measure times while the machine is idle, and with --workers 1.

    Exit codes: 0 done; 1 --check found a difference; 2 usage, model or device; 3 some inputs
    failed.
    """
    from autogaze_cli.cli.measuring import execution_of, finish_measured, sampling_of
    from autogaze_cli.cli.printing import on_event_of
    from autogaze_cli.compare.check import differences, read_comparison
    from autogaze_cli.compare.compare import compare as run
    from autogaze_cli.compare.settings import CompareSettings, default_sources
    from autogaze_cli.compare.table import markdown

    earlier = None if values["check"] is None else read_comparison(Path(values["check"]))
    given = ("tokens", "repeats", "seeds", "encoder", "device", "dtype", "threads")
    settings = CompareSettings(
        sources=values["sources"] or default_sources(),
        sampling=sampling_of(values),
        **{name: values[name] for name in given},
    )
    names = [*values["inputs"], *values["more_inputs"]]
    report, document = run(names, settings, execution_of(values), on_event_of(values))
    changed = None
    if earlier is not None and document is not None:
        changed = list(differences(document, earlier)) or None
    finish_measured(report, values, document, markdown, changed)
