"""``autogaze bench``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option
from autogaze_cli.cli.streams import print_document, print_line
from autogaze_cli.cli.types import ModelName, Real, Whole

_options = options.group(
    options.section(
        "Input",
        option(
            "-i", "--input", "clip", type=click.Path(), help="A video.  [default: a synthetic clip]"
        ),
        option(
            "--frames", type=Whole(), help="Frames per clip.  [default: 16, and 4 with --quick]"
        ),
        option(
            "--batch",
            type=Whole(),
            multiple=True,
            help="Clips per batch; repeatable.  [default: 1 and 8, and 1 with --quick]",
        ),
    ),
    options.section(
        "Model and device",
        option(
            "--model",
            "--model-dir",
            "model",
            type=ModelName(),
            help="A model's name or folder.  [default: the published sizes with random weights]",
        ),
        option(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda[:N]",
            help="Device to measure; auto is the CPU, and a GPU if there is one.",
        ),
        option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16"]),
            multiple=True,
            default=("float32",),
            help="Model precision; repeatable.",
        ),
        option("--threads", type=Whole(), help="CPU threads.  [default: PyTorch's choice]"),
    ),
    options.section(
        "Gaze",
        option(
            "--gazing-ratio",
            type=Real(0, 1),
            default=0.75,
            help="Token budget as a fraction of a frame's tokens.",
        ),
        option(
            "--task-loss-requirement",
            "--task-loss",
            "task_loss_requirement",
            type=Real(0),
            default=0.7,
            help="Early stopping at this predicted loss; measured in addition to no stopping.",
        ),
    ),
    options.section(
        "Measurement",
        option("--repeats", type=Whole(), default=3, help="Timed runs (the best counts)."),
        option(
            "--quick",
            is_flag=True,
            help="Smaller images, fewer frames and fewer runs: some ten seconds on two cores "
            "instead of several minutes.",
        ),
        option("--growth", is_flag=True, help="Also measure twice the frames and twice the batch."),
        option(
            "--matrix",
            is_flag=True,
            help="Measure whole cases instead: the gaze of each source in each mode, and the "
            "drawing of it in each style.",
        ),
        option(
            "--case",
            metavar="PATTERN",
            multiple=True,
            help="With --matrix: only cases whose SOURCE/MODE/STYLE matches, such as "
            "'autogaze/tiled/*'; repeatable.",
        ),
        option(
            "--compare",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Exit with 1 if a stage is slower than in this earlier --json output.",
        ),
        option(
            "--tolerance",
            type=Real(0),
            default=0.2,
            help="Slowdown that --compare accepts, as a fraction of the earlier time.",
        ),
    ),
)


@click.command(
    "bench",
    cls=options.Command,
    common=("clip", "model", "device", "quick", "compare"),
    short_help="Measure how fast this machine gazes, against its peak rates.",
)
@_options
@options.as_json
@options.always
def bench(**values: Any) -> None:
    """Measure how fast this machine gazes, against its peak rates.

    Times decoding, preprocessing, the stages of the model, composing and encoding (each the best of
    several runs), and counts the model's arithmetic. The peak rates are those of a large matrix
    product and of a large copy, timed in the same run. Run it while the machine is idle.

    Exit codes: 0 done; 1 --compare found a slower stage; 2 usage, model or device.
    """
    from autogaze_cli.bench.report import read_document, slower
    from autogaze_cli.bench.run import run_bench
    from autogaze_cli.bench.settings import BenchSettings

    earlier = None if values["compare"] is None else read_document(values["compare"])
    fields = BenchSettings.__dataclass_fields__
    given = {k: v for k, v in values.items() if k in fields and v not in (None, ())}
    found = run_bench(BenchSettings(**BenchSettings.defaults(values["quick"]) | given))
    if values["json"]:
        from autogaze_cli.visualize.document import dump_document

        print_document(dump_document(found))
    elif values["jsonl"]:
        import json

        for line in found["figures"]:
            print_line(json.dumps(line))
    else:
        _print_tables(found)
    if earlier is not None:
        lines = slower(found, earlier, values["tolerance"])
        for line in lines:
            print_line(f"slower: {line}", err=values["json"] or values["jsonl"])
        click.get_current_context().exit(int(bool(lines)))


def _print_tables(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from autogaze_cli.bench.report import table_rows

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # a file has no width
    machine = found["machine"]
    console.print(
        f"{machine['processor']}, {machine['threads']} threads"
        + (f"; {machine['gpu']}" if machine["gpu"] else "")
        + f"; PyTorch {machine['torch']}"
        + f"; compiled layers: {machine['compiled_layers'] or 'none'}",
        markup=False,
    )
    for device, ceilings in found["ceilings"].items():
        rates = ", ".join(f"{name} {value:,.1f}" for name, value in ceilings.items())
        console.print(f"{device} peak rates: {rates}", markup=False)
    table = Table()
    table.add_column("stage", no_wrap=True)
    for column in ("frames/s", "ms/frame", "seconds", "GFLOP", "GFLOP/s", "of peak"):
        table.add_column(column, justify="right")
    for row in table_rows(found):
        table.add_row(*row)
    console.print(table)
    for case in found["growth"]:
        console.print(
            f"{case['device']}/{case['dtype']}: {case['what']} {case['from']} to {case['to']}: "
            f"{case['factor']} times as long",
            markup=False,
        )
