"""``autogaze bench``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.types import ModelName, Real, Whole


@click.command(
    "bench",
    cls=options.Command,
    short_help="Measure how fast this machine gazes, beside its ceilings.",
)
@click.option("-i", "--input", "clip", type=click.Path(), help="A video.  [default: a made one]")
@click.option(
    "--model",
    "--model-dir",
    "model",
    type=ModelName(),
    help="A model folder or name.  [default: the published sizes, seeded weights]",
)
@click.option("--frames", type=Whole(), default=16, help="Frames in a clip.")
@click.option(
    "--batch", type=Whole(), multiple=True, default=(1, 8), help="Clips together; may repeat."
)
@click.option("--gazing-ratio", type=Real(0, 1), default=0.75, help="Share of a frame's tokens.")
@click.option(
    "--task-loss-requirement",
    "--task-loss",
    "task_loss_requirement",
    type=Real(0),
    default=0.7,
    help="Where frames stop; measured beside not stopping.",
)
@click.option(
    "--device",
    default="auto",
    metavar="auto|cpu|cuda[:N]",
    help="Where to run; auto is the CPU, and a GPU where there is one.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    multiple=True,
    default=("float32",),
    help="Number type of the model; may repeat.",
)
@click.option("--threads", type=Whole(), help="CPU threads.  [default: PyTorch's choice]")
@click.option("--repeats", type=Whole(), default=3, help="Measure so often, and keep the best.")
@click.option("--quick", is_flag=True, help="Small pictures: seconds instead of minutes.")
@click.option("--growth", is_flag=True, help="Also measure twice the frames and twice the batch.")
@click.option(
    "--compare",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Exit 1 where something is slower than in this earlier --json.",
)
@click.option(
    "--tolerance",
    type=Real(0),
    default=0.2,
    help="Share by which a time may be longer in --compare.",
)
@options.as_json
@options.always
def bench(**values: Any) -> None:
    """Measure how fast this machine gazes, beside its ceilings.

    Times decoding, preprocessing, the model's stages, composing and encoding, each the best of a
    few, and counts the arithmetic of the model's. The ceilings are a large matrix product and a
    large copy, timed in the same run. Run it while the machine does nothing else.

    Exit codes: 0 done; 1 --compare found something slower; 2 usage, model or device.
    """
    from autogaze_cli.bench.report import read_document, slower
    from autogaze_cli.bench.run import BenchSettings, run_bench

    earlier = None if values["compare"] is None else read_document(values["compare"])
    fields = BenchSettings.__dataclass_fields__
    found = run_bench(BenchSettings(**{k: v for k, v in values.items() if k in fields}))
    if values["json"]:
        from autogaze_cli.visualize.document import dump_document

        click.echo(dump_document(found), nl=False)
    elif values["jsonl"]:
        import json

        for line in found["figures"]:
            click.echo(json.dumps(line))
    else:
        _print_tables(found)
    if earlier is not None:
        lines = slower(found, earlier, values["tolerance"])
        for line in lines:
            click.echo(f"slower: {line}", err=values["json"] or values["jsonl"])
        click.get_current_context().exit(int(bool(lines)))


def _print_tables(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from autogaze_cli.bench.report import table_rows

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # of a file nobody knows the width
    machine = found["machine"]
    console.print(
        f"{machine['processor']}, {machine['threads']} threads"
        + (f"; {machine['gpu']}" if machine["gpu"] else "")
        + f"; PyTorch {machine['torch']}",
        markup=False,
    )
    for device, ceilings in found["ceilings"].items():
        said = ", ".join(f"{name} {value:,.1f}" for name, value in ceilings.items())
        console.print(f"{device} ceilings: {said}", markup=False)
    table = Table()
    table.add_column("stage", no_wrap=True)
    for column in ("frames/s", "ms/frame", "seconds", "GFLOP", "GFLOP/s", "of ceiling"):
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
