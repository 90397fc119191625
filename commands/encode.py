"""``autogaze encode``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.options import option

_encoder_options = options.section(
    "Encoder",
    option(
        "--encoder",
        metavar="FOLDER|ID",
        help="Vision transformer: a folder with config.json and safetensors weights (SigLIP, "
        "SigLIP 2, CLIP, DINOv2, ViT, VideoMAE), or the id of one in the Hub cache. Required.",
    ),
    option(
        "--scales",
        metavar="N+N+...",
        help="Sides of the encoder's pictures in pixels, such as 32+64+112+224.  [default: 2, 4, "
        "7 and 14 patches, or the multiple nearest to the size it was made for]",
    ),
    option(
        "--attend",
        type=click.Choice(["block-causal", "frame", "clip", "causal"]),
        default="block-causal",
        help="Which tokens a token sees: of its frame and earlier ones (block-causal), of its "
        "frame, of its clip, or those chosen before it (causal).",
    ),
    option("--dense", is_flag=True, help="Encode every patch instead of the gazed ones."),
    option(
        "--compare-dense",
        is_flag=True,
        help="Encode every patch too, and print tokens, times and cosine similarity of both.",
    ),
)


@click.command(
    "encode",
    cls=options.Command,
    common=("more_inputs", "encoder", "out_dir", "device", "compare_dense"),
    short_help="Encode only the gazed patches of a video with a vision transformer.",
)
@options.inputs
@_encoder_options
@options.sampling_options()
@options.section(
    "Input",
    option(
        "--trace",
        type=click.Path(),
        help="Encode what this saved trace of the input gazes at; runs no gaze model. --frames "
        "takes its first frames.",
    ),
)
@options.store
@options.preset
@options.gaze_options()
@options.compute
@options.output_options()
@options.report
@options.batch
@options.always
def encode(**values: Any) -> None:
    """Encode only the gazed patches of a video with a vision transformer.

    Writes STEM.features.safetensors for each input: the features of every token, where and when it
    is, and pooled features per frame and per clip. --report adds the figures of --compare-dense to
    the page.
    """
    from autogaze_cli.cli.printing import finish, on_event_of, request_of
    from autogaze_cli.cli.streams import outputs_kept, print_document
    from autogaze_cli.jobs.comparison import comparison_table
    from autogaze_cli.jobs.run import run

    report = run(request_of("encode", values), on_event_of(values))
    if not (values["json"] or values["jsonl"]):
        for item, result in report.results.items():
            if "comparison" in result.document:
                table = comparison_table(item.name, result.document["comparison"])
                with outputs_kept():
                    print_document(table + "\n")
    finish(report, values)
