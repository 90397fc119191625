"""A comparison from its settings to its files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.compare.failures import failures_of
from autogaze_cli.compare.page import page_html
from autogaze_cli.compare.run import Execution, measure_clips, model_hashes
from autogaze_cli.compare.settings import CompareSettings
from autogaze_cli.compare.table import Clips, compare_document, csv_text, markdown
from autogaze_cli.compare.work import CompareWork
from autogaze_cli.visualize.document import write_document

logger = logging.getLogger(__name__)

FILES = ("compare.json", "compare.csv", "compare.md", "compare.html")
PLOTS = ("compare.png", "compare.svg")
"""Only written where matplotlib is installed."""


def compare(
    names: Sequence[str],
    settings: CompareSettings,
    execution: Execution,
    on_event: OnEvent | None = None,
) -> tuple[Report, dict[str, Any] | None]:
    """Compare gaze sources on clips.

    Args:
        names: The inputs as named by the user.
        settings: What is compared.
        execution: Where and how it runs.
        on_event: Called with each event.

    Returns:
        The report, and the comparison; None with a dry run, or without a clip.

    Raises:
        AutogazeError: Nothing can be compared, or outputs exist already.
    """
    rows = list(settings.rows())
    models = model_hashes([settings.gaze(row) for row in rows])
    described: dict[str, Any] = settings.described() | {"models": models}
    if settings.encoder is not None:
        from autogaze_cli.encoders.checkpoint import encoder_sha256, find_encoder

        described["encoder_sha256"] = encoder_sha256(find_encoder(settings.encoder))
    plots = PLOTS if find_spec("matplotlib") else ()
    report, clips = measure_clips(
        "compare",
        names,
        CompareWork(settings=settings, out_dir=execution.out_dir),
        settings.sampling,
        described,
        execution,
        rows=len(rows),
        finals=(*FILES, *plots),
        on_event=on_event,
    )
    if not clips:
        return report, None
    document = compare_document(settings, models, clips, failures_of(report))
    _write(document, clips, execution, plots)
    return report, document


def _write(
    document: dict[str, Any], clips: Clips, execution: Execution, plots: Sequence[str]
) -> None:
    paths = {name: execution.out_dir / name for name in (*FILES, *plots)}
    replace = execution.overwrite or execution.resume
    with Outputs(overwrite=replace) as outputs:
        at: dict[str, Path] = {name: outputs.add(path) for name, path in paths.items()}
        write_document(at["compare.json"], document)
        at["compare.csv"].write_text(csv_text(document), encoding="utf-8")
        at["compare.md"].write_text(markdown(document), encoding="utf-8")
        plot = None
        if plots:
            from autogaze_cli.compare.plot import draw

            figure = draw(document)
            figure.savefig(at["compare.png"])
            figure.savefig(at["compare.svg"], metadata={"Date": None})
            plot = at["compare.png"].read_bytes()
        at["compare.html"].write_text(page_html(document, clips, plot), encoding="utf-8")
    for path in paths.values():
        logger.info("wrote %s", path)
    if not plots:
        logger.info("no plot: install the extra plots")
