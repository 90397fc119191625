"""``autogaze calibrate``."""

from __future__ import annotations

from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.measuring import NUMBERS, measured_output
from autogaze_cli.cli.options import option
from autogaze_cli.cli.types import Real


@click.command(
    "calibrate",
    cls=options.Command,
    common=("more_inputs", "model", "target", "confidence", "out_dir", "overwrite"),
    short_help="Find the task loss requirement that keeps its promise on your clips.",
)
@options.inputs
@options.sampling_options({"frames": 16})
@options.section(
    "Gaze",
    option(
        "--requirements",
        type=NUMBERS,
        default="0.02,0.03,0.04,0.06,0.08,0.1,0.12,0.15,0.2,0.25,0.3,0.4,0.5",
        help="Task loss requirements to try, ascending, separated by commas.",
    ),
    option("--target", type=Real(0), help="Choose the requirement that reaches this loss."),
    option(
        "--confidence",
        type=Real(0, 1),
        default=0.95,
        help="Fraction of the frames of further clips that must reach --target.",
    ),
)
@options.section("Model and device", options.model)
@options.compute
@measured_output
@options.always
def calibrate(**values: Any) -> None:
    """Find the task loss requirement that keeps its promise on your clips.

    For each requirement: the loss that was asked for, the loss that was left on the canvas, the
    fraction of frames within it, and tokens per frame. With --target, the laxest requirement that
    reaches that loss on a fraction --confidence of the frames of clips that it has not seen, by a
    bound that holds for few clips too; 0.95 needs at least 19 clips, 0.9 at least 9. Writes
    calibrate.json; STEM.calibrate.json has the figures of one clip.

    Exit codes: 0 done; 1 no requirement can be promised; 2 usage, model or device; 3 some inputs
    failed.
    """
    from autogaze_cli.cli.measuring import execution_of, finish_measured, sampling_of
    from autogaze_cli.cli.printing import on_event_of
    from autogaze_cli.compare.calibrate import (
        CalibrateSettings,
        calibration_text,
        promise_line,
    )
    from autogaze_cli.compare.calibrate import calibrate as run
    from autogaze_cli.compare.settings import calibrated_model

    given = ("requirements", "target", "confidence", "device", "dtype", "threads")
    settings = CalibrateSettings(
        model=calibrated_model(values["model"]),
        sampling=sampling_of(values),
        **{name: values[name] for name in given},
    )
    names = [*values["inputs"], *values["more_inputs"]]
    report, document = run(names, settings, execution_of(values), on_event_of(values))
    negative = None
    if document and document["promise"] and document["promise"]["requirement"] is None:
        negative = [promise_line(document)] if values["json"] or values["jsonl"] else []
    finish_measured(report, values, document, calibration_text, negative)
