"""``autogaze audit-readout``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.streams import print_line
from autogaze_cli.progress import message_line, printable, unmarked

if TYPE_CHECKING:
    from autogaze_cli.audit.audit import Audit
    from autogaze_cli.audit.settings import AuditSettings

logger = logging.getLogger("autogaze_cli.audit")

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan", "path": "bold", "fix": "green"}


def _print_rules(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from autogaze_cli.audit.rules import RULES

        for rule in RULES:
            click.echo(f"{rule.id}  {rule.level:<7}  {rule.name}")
        ctx.exit()


def _explain(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    from autogaze_cli.audit.rules import BY_ID

    if value not in BY_ID:
        raise click.BadParameter(f"no rule is called {value!r}; see --list-rules", ctx, parameter)
    click.echo(BY_ID[value].text())
    ctx.exit()


def _show_patch(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    from autogaze_cli.audit.patches import MIGRATIONS

    if value not in MIGRATIONS:
        known = ", ".join(MIGRATIONS)
        raise click.BadParameter(f"no patch for {value!r}, only for {known}", ctx, parameter)
    click.echo(MIGRATIONS[value].read_text(encoding="utf-8"), nl=False)
    ctx.exit()


def _severity(ctx: click.Context, parameter: click.Parameter, values: Any) -> dict[str, str]:
    pairs = [str(value).partition("=") for value in values]
    for rule, equals, level in pairs:
        if not (rule and equals and level):
            raise click.BadParameter(f"{rule!r} is not ID=LEVEL", ctx, parameter)
    return {rule: level for rule, _, level in pairs}


@click.command(
    "audit-readout",
    cls=options.Command,
    short_help="Find local arithmetic on AutoGaze ids in a source tree.",
)
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--format",
    "format",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    help="Report format.",
)
@options.as_json
@click.option("--output", type=click.Path(dir_okay=False), help="Write the report to this file.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="warning",
    help="Lowest level that gives exit code 1.",
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 where findings would give 1.")
@click.option(
    "--strict-coverage",
    is_flag=True,
    help="Exit with 1 when a file was skipped unasked or parsed in part.",
)
@click.option(
    "--rule", "rules", multiple=True, metavar="ID", help="Run only this rule; AGR1 = all 1xx."
)
@click.option(
    "--exclude-rule", "exclude_rules", multiple=True, metavar="ID", help="Do not run this rule."
)
@click.option(
    "--severity",
    multiple=True,
    metavar="ID=LEVEL",
    callback=_severity,
    help="Level of a rule: error, warning, note or off.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Scan only matching files (gitignore syntax)."
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Skip matching files (gitignore syntax)."
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    type=click.Choice(["rust", "python", "js", "cpp", "go"]),
    help="Scan only this language; repeatable.  [default: all]",
)
@click.option(
    "--tests",
    type=click.Choice(["note", "same", "skip"]),
    help="Level of findings in test code.  [default: note]",
)
@click.option(
    "--include-provider",
    is_flag=True,
    help="Scan the modules that define the model, at level note.",
)
@click.option("--include-vendored", is_flag=True, help="Scan vendored copies of other projects.")
@click.option("--no-gitignore", is_flag=True, help="Scan files that git ignores.")
@click.option("--require-helpers", is_flag=True, help="Require that readout helpers are called.")
@click.option("--baseline", type=click.Path(), help="File of known findings, which do not count.")
@click.option(
    "--write-baseline", type=click.Path(), help="Write all findings to this file, as known."
)
@click.option(
    "--fix", is_flag=True, help="Rewrite Python decoders to call a helper, where that is certain."
)
@click.option("--diff", is_flag=True, help="Print what --fix would change as a patch.")
@click.option("--show-suppressed", is_flag=True, help="List suppressed findings as well.")
@click.option(
    "--max-file-size",
    "max_file_size_bytes",
    type=click.IntRange(min=1),
    default=2097152,
    metavar="BYTES",
    help="Larger files are skipped.",
)
@click.option(
    "--file-time-limit",
    "file_time_limit_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    metavar="SECONDS",
    help="Files that take longer are not analysed.",
)
@click.option(
    "--profile",
    type=click.Choice(["generic", "burn-jepa"]),
    default="generic",
    help="burn-jepa: the reference tool's fixed checks of that repository.",
)
@click.option(
    "--check-patch",
    type=click.Path(),
    metavar="FILE|NAME",
    help="Check whether this patch still applies to PATH; changes nothing.",
)
@click.option(
    "--show-patch", is_eager=True, expose_value=False, callback=_show_patch, metavar="NAME",
    help="Print the migration patch for a known repository: burn_jepa.",
)  # fmt: skip
@click.option(
    "--list-rules", is_flag=True, is_eager=True, expose_value=False, callback=_print_rules,
    help="List the rules.",
)  # fmt: skip
@click.option(
    "--explain", is_eager=True, expose_value=False, callback=_explain, metavar="ID",
    help="Print the page of a rule.",
)  # fmt: skip
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Colours in the text report.",
)
@options.always
def audit_readout(**values: Any) -> None:
    """Find local arithmetic on AutoGaze ids in a source tree.

    Reads Rust, Python, JavaScript and TypeScript, C and C++, and Go under each PATH, runs none of
    it, and names for each finding the readout helper to call instead.

    Settings may also stand in .autogaze-audit.toml, or in pyproject.toml under
    [tool.autogaze.audit]; the command line wins.

    The audit is a heuristic without types. It follows ids through functions, fields and one level
    of imports; silence is not proof. The last line counts what was not analysed.

    Exit codes: 0 nothing at or above --fail-on; 1 findings, or gaps with --strict-coverage; 2
    usage, or something that is not clean: a file could not be analysed, or none was.
    """
    from autogaze_cli.batch.inputs import named_paths

    paths = named_paths(values["paths"])
    if not paths:
        raise click.UsageError("give a folder or a file to audit; for this folder, '.'")
    if values["check_patch"] is not None:
        _check_patch(Path(values["check_patch"]), paths)
    elif values["profile"] == "burn-jepa":
        _check_reference(paths)
    else:
        _audit(paths, values)


def _audit(paths: list[Path], values: dict[str, Any]) -> None:
    from autogaze_cli.audit.audit import run_audit
    from autogaze_cli.audit.baseline import write_baseline
    from autogaze_cli.audit.reading import shown, write_whole

    settings = _settings(paths, values)
    _refuse_sources(paths, settings, values)
    audit = run_audit(paths, settings)
    if values["diff"] or values["fix"]:
        from autogaze_cli.audit.fixes import rewrites

        changes = rewrites(paths, audit.counted())
        if values["diff"]:
            _warn(audit)
            _write(values, "".join(change.patch() for change in changes))
            click.get_current_context().exit(2 if audit.is_void() else 0)
        for change in changes:
            if not change.is_current():
                logger.warning("%s: not rewritten: it has changed since", shown(change.name))
                continue
            if change.is_read_only():
                logger.warning("%s: not rewritten: it is read-only", shown(change.name))
                continue
            write_whole(change.path, change.after)
            logger.info("rewrote %s", shown(change.name))
        audit = run_audit(paths, settings)
    _warn(audit)
    code = audit.exit_code(
        values["fail_on"],
        exit_zero=values["exit_zero"],
        strict_coverage=values["strict_coverage"],
    )
    if values["write_baseline"] is not None:
        code = 2 if audit.is_void() else 0
        known = [finding for finding in audit.findings if finding.suppressed is None]
        write_baseline(Path(values["write_baseline"]), known)
    _report(audit, values, code)
    click.get_current_context().exit(code)


def _refuse_sources(paths: list[Path], settings: AuditSettings, values: dict[str, Any]) -> None:
    """Refuse to write a report or a baseline over what is audited, or over each other.

    Raises:
        OutputError: A file that would be written is one that the audit reads.
    """
    import os

    from autogaze_cli.audit.languages import language
    from autogaze_cli.audit.reading import shown
    from autogaze_cli.errors import OutputError

    read = {os.path.realpath(path) for path in (*paths, settings.baseline) if path}
    for name in ("write_baseline", "output"):
        if values[name] is None:
            continue
        place = os.path.realpath(values[name])
        source = language(place) or place.endswith(".toml")
        if place in read or (source and Path(place).is_file()):
            raise OutputError(
                f"{shown(values[name])}: is a file that the audit reads or writes",
                hint="name another file",
            )
        read.add(place)


def _warn(audit: Audit) -> None:
    """Say what was not analysed."""
    from autogaze_cli.audit.reading import shown

    for notice in audit.notices:
        level = logging.DEBUG if notice.kind == "generated" else logging.WARNING
        logger.log(level, "%s: %s", shown(notice.path), notice.message)
    if audit.coverage.analysed == 0:
        logger.error("nothing was analysed: %s", audit.coverage.text() or "no source files there")


def _settings(paths: list[Path], values: dict[str, Any]) -> AuditSettings:
    from dataclasses import replace

    from autogaze_cli.audit.settings import AuditSettings

    fields = AuditSettings.__dataclass_fields__
    given = {name: v for name, v in values.items() if name in fields and v not in (None, (), {})}
    if values["baseline"] is not None:
        given["baseline"] = Path(values["baseline"])
    given["gitignore"] = not values["no_gitignore"]
    settings = AuditSettings(**given).with_config(paths[0], given)
    # What is written anew is not compared with what it replaces, which may not be there yet.
    return settings if values["write_baseline"] is None else replace(settings, baseline=None)


def _report(audit: Audit, values: dict[str, Any], code: int) -> None:
    form, show = values["format"], values["show_suppressed"]
    if values["jsonl"]:
        from autogaze_cli.audit.reports import jsonl_text

        _write(values, unmarked(jsonl_text(audit, show_suppressed=show, exit_code=code)))
    elif form == "json" or values["json"]:
        from autogaze_cli.audit.reports import json_text

        _write(values, unmarked(json_text(audit, show_suppressed=show, exit_code=code)))
    elif form == "sarif":
        from autogaze_cli.audit.sarif import sarif_text

        _write(values, unmarked(sarif_text(audit, exit_code=code)))
    else:
        from autogaze_cli.audit.reports import text_lines

        brief = not logging.getLogger("autogaze_cli").isEnabledFor(logging.INFO)
        lines = [
            [(printable(text), kind) for text, kind in line]
            for line in text_lines(audit, show_suppressed=show, brief=brief)
        ]
        if _is_coloured(values):
            _write(values, _coloured(lines))
        else:
            _write(values, "".join("".join(text for text, _ in line) + "\n" for line in lines))


def _is_coloured(values: dict[str, Any]) -> bool:
    if values["color"] != "auto":
        return bool(values["color"] == "always")
    import os
    import sys

    return (
        bool(sys.stdout and sys.stdout.isatty())
        and values["output"] is None
        and not os.environ.get("NO_COLOR")
    )


def _coloured(lines: list[list[tuple[str, str]]]) -> str:
    from rich.console import Console
    from rich.text import Text

    console = Console(color_system="standard", force_terminal=True, width=10_000, no_color=False)
    with console.capture() as capture:
        for line in lines:
            parts = [(text, _STYLES.get(kind, "")) for text, kind in line]
            console.print(Text.assemble(*parts), soft_wrap=True)
    return capture.get()


def _write(values: dict[str, Any], text: str) -> None:
    import sys

    from autogaze_cli.audit.reading import write_whole
    from autogaze_cli.errors import OutputError

    if values["output"] is not None:
        write_whole(Path(values["output"]), text)
    elif sys.stdout is None:
        raise OutputError("stdout is closed: the report is lost", hint="use --output")
    else:
        click.echo(text, nl=False, color=True)


def _check_patch(patch: Path, paths: list[Path]) -> None:
    if len(paths) != 1:
        raise click.UsageError("--check-patch takes one PATH, the folder the patch is for")
    from autogaze_cli.audit.patches import MIGRATIONS, patch_problems

    if not patch.exists():
        patch = MIGRATIONS.get(str(patch), patch)
    problems = patch_problems(patch, paths[0])
    for problem in problems:
        print_line(message_line(problem))
    print_line(f"{patch} {'does not apply' if problems else 'applies'} to {paths[0]}")
    click.get_current_context().exit(int(bool(problems)))


def _check_reference(paths: list[Path]) -> None:
    if len(paths) != 1:
        raise click.UsageError("--profile burn-jepa takes one PATH, the checkout")
    from autogaze_cli.audit.reference import check

    verdict = check(paths[0])
    for line in verdict.lines:
        print_line(line, err=True)
    if verdict.error is not None:
        print_line(f"Error: {verdict.error}", err=True)
        click.get_current_context().exit(1)
    print_line(f"AutoGaze sparse readout integration looks migrated: {paths[0]}")
