"""Runs a command on videos: from Click's values to the request, the output and the exit code."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import click
from click.core import ParameterSource

from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.cli.config import CONFIG, long_name, plain, value_source
from autogaze_cli.cli.streams import outputs_kept, print_document, print_line
from autogaze_cli.jobs.request import Request, make_request
from autogaze_cli.jobs.run import run
from autogaze_cli.jobs.values import Values
from autogaze_cli.visualize.document import dump_document


def run_command(command: str, values: Mapping[str, Any]) -> None:
    """Run a command on videos, print the requested output, and exit with its exit code."""
    on_event = on_event_of(values)
    finish(run(request_of(command, values), on_event), values)


def request_of(command: str, values: Mapping[str, Any]) -> Request:
    """The request of a command line."""
    ctx = click.get_current_context()
    typed = [n for n in values if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    inputs = [*values["inputs"], *values["more_inputs"]]
    return make_request(command, inputs, cast("Values", values), typed)


def refuse_json_twice(values: Mapping[str, Any]) -> None:
    """Refuse ``--json`` together with ``--jsonl``."""
    if values["json"] and values["jsonl"]:
        raise click.UsageError("give one of --json and --jsonl")


def on_event_of(values: Mapping[str, Any]) -> OnEvent | None:
    """With ``--jsonl``, the callback that prints each event as a line of JSON.

    Raises:
        UsageError: ``--json`` is also given.
    """
    refuse_json_twice(values)
    return _print_line if values["jsonl"] and not values["dry_run"] else None


def finish(report: Report, values: Mapping[str, Any]) -> None:
    """Print the requested output, and exit with the report's exit code.

    With ``--json``, print the document of a single input, or that of the whole report.

    Raises:
        OutputError: Stdout is closed or full.
    """
    with outputs_kept() if report.results else nullcontext():
        _print_report(report, values)
    click.get_current_context().exit(report.exit_code())


def _print_report(report: Report, values: Mapping[str, Any]) -> None:
    if report.plan is not None:
        _print_plan(report.plan, values)
    elif values["json"]:
        documents = [result.document for result in report.results.values()]
        alone = len(report.inputs) == len(documents) == 1
        print_document(dump_document(documents[0] if alone else report.document()))
    for result in report.results.values():
        for line in result.differences:
            print_line(line, err=values["json"] or values["jsonl"])


def settings_of(ctx: click.Context) -> list[dict[str, Any]]:
    """Name, value and source of each option of the running command."""
    return [
        {
            "option": long_name(option),
            "value": plain(ctx.params[str(option.name)]),
            "source": value_source(ctx, option),
        }
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.name in ctx.params
    ]


def _print_line(event: dict[str, Any]) -> None:
    print_line(json.dumps(event, ensure_ascii=True, allow_nan=False))


def _print_plan(plan: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    ctx = click.get_current_context()
    settings = settings_of(ctx)
    counts = {state: sum(p["state"] == state for p in plan) for state in ("run", "skip", "fail")}
    work = {
        name: sum(p.get(name) or 0 for p in plan if p["state"] == "run")
        for name in ("frames", "tile_frames")
    }
    totals = {**counts, **work, "unknown_length": sum(p.get("frames", 0) is None for p in plan)}
    config = ctx.meta.get(CONFIG)
    if values["json"]:
        document = {"inputs": plan, "totals": totals, "config": config, "settings": settings}
        print_document(dump_document(document))
        return
    if values["jsonl"]:
        for item in plan:
            _print_line({"event": "planned", **item})
        _print_line({"event": "ended", **totals})
        return
    _print_plan_text(plan, settings, totals)


def _print_plan_text(
    plan: list[dict[str, Any]], settings: list[dict[str, Any]], totals: dict[str, int]
) -> None:
    for item in plan:
        size = ""
        if "width" in item:
            size = f"  {item['frames'] or '?'} frames {item['width']}x{item['height']}"
        print_line(f"{item['state']:<4}  {item['input']}{size}")
        if item["state"] == "fail":
            print_line(f"      {item['error']}")
            continue
        for path in item["output_files"]:
            print_line(f"      -> {path}")
    everything = logging.getLogger("autogaze_cli").isEnabledFor(logging.DEBUG)
    print_document("\nsettings\n" if everything else "\nnon-default settings (-v for all)\n")
    for row in settings:
        if everything or row["source"] != "default":
            value = json.dumps(row["value"])
            print_line(f"  {row['option']:<28} {value:<20} {row['source']}")
    unknown = totals["unknown_length"]
    print_document(
        f"\n{totals['run']} to run, {totals['skip']} already done, {totals['fail']} would fail; "
        f"{totals['frames']} frames, {totals['tile_frames']} tile-frames to process"
        + (f", and {unknown} inputs of unknown length" if unknown else "")
        + "\n"
    )
