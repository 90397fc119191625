"""``autogaze models``."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import click

from autogaze_cli.cli import options
from autogaze_cli.cli.streams import print_text
from autogaze_cli.errors import ModelError
from autogaze_cli.model import catalog
from autogaze_cli.model.catalog import Model

logger = logging.getLogger("autogaze_cli.models")


class Sha256(click.ParamType[str]):
    """A SHA-256 in hexadecimal."""

    name = "sha256"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The hash, in lower case."""
        text = str(value).strip().lower()
        if not re.fullmatch("[0-9a-f]{64}", text):
            self.fail(f"must be 64 hexadecimal digits, not {value!r}", param, ctx)
        return text


@click.group(
    "models",
    short_help="List, locate, fetch and verify the models that --model can name.",
    no_args_is_help=True,
)
@options.always
def models() -> None:
    """List, locate, fetch and verify the models that --model can name.

    A model is bundled with this program, in the local Hub cache, or in a folder. Only fetch uses
    the network, unless --offline or AUTOGAZE_OFFLINE=1 forbids it.
    """


@models.command(
    "list", cls=options.Command, short_help="Show the bundled, cached and known models."
)
@options.as_json
@options.always
def list_models(**values: Any) -> None:
    """Show the bundled, cached and known models.

    The SHA-256 is the recorded one; verify compares the weights with it. A * marks the default
    model.
    """
    default = catalog.default_model()
    found = {**catalog.bundled(), **catalog.cached()}
    found |= {name: model for name, model in catalog.KNOWN.items() if name not in found}
    if values["json"]:
        document = {
            "default": default,
            "models": [_document(model) for model in found.values()],
        }
        print_text(json.dumps(document, indent=2))
        return
    if values["jsonl"]:
        for model in found.values():
            print_text(json.dumps(_document(model) | {"default": model.name == default}))
        return
    rows = [("", "NAME", "KIND", "SIZE", "SHA-256", "LICENCE")]
    rows += [
        (
            "*" if model.name == default else "",
            model.name,
            model.kind,
            "-" if model.bytes is None else f"{model.bytes / 1e6:.1f} MB",
            model.sha256 or "-",
            model.licence or "see its card",
        )
        for model in found.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_text("  ".join(cells[1 if default is None else 0 :]).rstrip())


def _document(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "kind": model.kind,
        "licence": model.licence,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "folder": None if model.folder is None else str(model.folder),
        "summary": model.summary,
    }


@models.command("path", cls=options.Command, short_help="Print the folder of a model.")
@click.argument("name")
@options.as_json
@options.always
def path(name: str, **values: Any) -> None:
    """Print the folder of a model. NAME is a bundled or cached model, or a folder."""
    model = catalog.find(name)
    _print(values, _document(model), str(model.folder))


@models.command(
    "verify", cls=options.Command, short_help="Compare weights with their recorded SHA-256."
)
@click.argument("name", required=False)
@options.as_json
@options.always
def verify(name: str | None, **values: Any) -> None:
    """Compare weights with their recorded SHA-256.

    Without NAME, verifies all bundled and cached models. The SHA-256 of a bundled model is recorded
    in this program, that of a cached one in the Hub cache. For a folder nothing is recorded: its
    SHA-256 is printed.

    Exit code 1: a file is missing or differs.
    """
    if name is None:
        chosen = [*catalog.bundled().values(), *catalog.cached().values()]
    else:
        chosen = [catalog.find(name)]
    if not chosen:
        logger.info("no model is bundled or cached")
    verdicts: list[dict[str, object]] = []
    for model in chosen:
        recorded: dict[str, object] = {"name": model.name, "recorded": model.sha256}
        try:
            found = model.verify()
        except ModelError as error:
            verdicts.append(recorded | {"sha256": None, "error": error.line()})
            line = error.line()
        else:
            verdicts.append(recorded | {"sha256": found, "error": None})
            note = "as recorded" if model.sha256 else "nothing recorded to compare it with"
            line = f"{model.name}: sha256 {found}, {note}"
        if not values["json"]:
            _print(values, verdicts[-1], line)
    if values["json"]:
        print_text(json.dumps(verdicts, indent=2))
    if any(verdict["error"] for verdict in verdicts):
        click.get_current_context().exit(1)


@models.command(
    "fetch", cls=options.Command, short_help="Download a model of the Hub into the local cache."
)
@click.argument("hub_id")
@click.option(
    "--revision", metavar="REVISION", help="Commit, tag or branch.  [default: the Hub's main]"
)
@click.option("--sha256", type=Sha256(), help="Fail if the weights have another SHA-256.")
@options.offline
@options.as_json
@options.always
def fetch(
    hub_id: str, revision: str | None, sha256: str | None, offline: bool, **values: Any
) -> None:
    """Download a model of the Hub into the local cache.

    Needs the hub extra: pip install 'autogaze-cli[hub]'. Prints the name to give to --model. Pin
    the model with a commit as --revision and the --sha256 of its weights.
    """
    known = catalog.KNOWN.get(hub_id)
    if known and not offline:
        logger.info("%s: licence: %s", hub_id, known.licence)
    model = catalog.fetch(
        hub_id,
        revision=revision,
        sha256=sha256,
        offline=offline,
        progress=logger.isEnabledFor(logging.INFO),
    )
    logger.info("fetched %s (sha256 %s)", model.folder, model.sha256)
    _print(values, _document(model), model.name)


def _print(values: dict[str, Any], document: dict[str, object], line: str) -> None:
    """Print a document, one line of JSON, or plain text, as requested."""
    if values["json"] or values["jsonl"]:
        line = json.dumps(document, indent=2 if values["json"] else None)
    print_text(line)
