"""Write the JSON Schemas of documents that this program reads, from what it reads them by.

python scripts/write_schemas.py [--check]
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET, UnsetType, defstruct
from msgspec.json import schema

from autogaze_cli.batch.manifest import Line
from autogaze_cli.cli import types
from autogaze_cli.cli.config import commands, settable
from autogaze_cli.cli.main import cli
from autogaze_cli.cli.measuring import Listed
from autogaze_cli.encoders.config import ProcessorFile, VisionFile
from autogaze_cli.model.checkpoint import PreprocessorFile
from autogaze_cli.model.config import ConfigFile
from autogaze_cli.model.record import Record
from autogaze_cli.readout.document import ARRAYS, COLUMNS
from autogaze_cli.readout.document import HEADER as READOUT
from autogaze_cli.trace.header import HEADER as TRACE
from autogaze_cli.trace.text import FRAME

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"

REQUIRED = ("frame_index", "frame_time_s")
"""The arrays that every readout has."""

TRACE_FILE = defstruct(
    "Trace", [("frames", list.__class_getitem__(FRAME))], bases=(TRACE,), forbid_unknown_fields=True
)
READOUT_FILE = defstruct(
    "Readout",
    [(n, t) if n in REQUIRED else (n, t | UnsetType, UNSET) for n, t in ARRAYS.items()],
    bases=(READOUT,),
    forbid_unknown_fields=True,
    kw_only=True,
)

DOCUMENTS: dict[str, tuple[Any, str, str]] = {
    "trace": (
        TRACE_FILE,
        "AutoGaze trace, version 1",
        "The JSON form of a trace: see docs/trace_format.md. What a schema cannot say, and readers "
        "check: the columns of a frame have one length, num_gazing has tile_count elements, tile "
        "is below tile_count, index ascends, time_s is time, fps is above 0.",
    ),
    "readout": (
        READOUT_FILE,
        "AutoGaze readout, version 1",
        "The JSON form of a readout: see docs/readout_format.md. What a schema cannot say, and "
        "readers check: which arrays there are follows from emit; video_grid is that of geometry; "
        "sizes are above 0; offsets ascend from 0 to the number of what they count; ids and "
        "coordinates are within their grids; coords are those of video_tokens; gazing_pos and "
        "if_padded_gazing have a row for each tile and a column for each slot; keep_indices "
        "ascend, merge divides video_grid, grid_thw is video_grid, and mrope is that of "
        "keep_indices.",
    ),
    "manifest": (Line, "A line of autogaze-manifest.jsonl", "See docs/batch.md; it may have more."),
    "bundled-models": (Record, "models.json", "What is recorded of the bundled models."),
    "model-config": (
        ConfigFile,
        "config.json of a gaze model",
        "What is read of it; a value that is null counts as absent, and the sizes must fit the "
        "weights.",
    ),
    "preprocessor-config": (
        PreprocessorFile,
        "preprocessor_config.json of a gaze model",
        "What is read of it; a value that is null counts as absent.",
    ),
    "encoder-config": (
        VisionFile,
        "config.json of an encoder",
        "What is read of it, or of its vision_config; a value that is null counts as absent.",
    ),
    "encoder-preprocessor-config": (
        ProcessorFile,
        "preprocessor_config.json of an encoder",
        "What is read of it; a value that is null counts as absent.",
    ),
}


def fraction(kind: type[Any]) -> dict[str, Any]:
    """The schema of a ``Fraction``."""
    assert kind is Fraction
    return {"type": "string", "pattern": "^-?[0-9]{1,19}(/[0-9]{1,19})?$"}


def together() -> dict[str, list[str]]:
    """By array of a readout, the others that come with it."""
    parts = [list(columns) for part, columns in COLUMNS.items() if part]
    parts[-1].append("merge")  # keep-indices
    return {n: [o for o in part if o != n] for part in parts for n in part if len(part) > 1}


def text_of(name: str) -> str:
    """The schema of one document."""
    if name == OPTIONS:
        return options_text()
    kind, title, description = DOCUMENTS[name]
    found = schema(kind, schema_hook=fraction)
    parts = found["$defs"]
    whole = parts.pop(found["$ref"].rpartition("/")[2]) | {"title": title}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "description": description}
    if kind is READOUT_FILE:
        whole["dependentRequired"] = together()
    document = {**head, **whole, "$defs": parts} if parts else {**head, **whole}
    return json.dumps(document, indent=2) + "\n"


OPTIONS = "options"
"""The name of the schema of ``autogaze.toml``, which is made from the command line's options."""

NUMERIC = (types.Rate, types.Time, types.TaskLoss, types.Sides)
"""Types of options that are a number or a text."""


def option_schema(option: click.Option) -> dict[str, Any]:
    """What a configuration file may set an option to."""
    kind: Any = option.type
    own: dict[str, Any] = {"type": "string"}
    if option.is_flag:
        own = {"type": "boolean"}
    elif isinstance(kind, click.Choice):
        own = {"enum": [str(choice) for choice in kind.choices]}
    elif isinstance(kind, types.Word):
        own = {"enum": list(kind.canonical)}
    elif isinstance(kind, types.Whole):
        own = {"type": "integer", "minimum": kind.minimum}
    elif isinstance(kind, NUMERIC):
        own = {"type": ["number", "string"]}
    elif isinstance(kind, types.Real):
        bounds = {"minimum": kind.minimum, "maximum": kind.maximum}
        own = {"type": "number", **{n: b for n, b in bounds.items() if math.isfinite(b)}}
    elif isinstance(kind, click.IntRange | click.FloatRange):
        own = {"type": "integer" if isinstance(kind, click.IntRange) else "number"}
        own |= {} if kind.min is None else {"minimum": kind.min}
    elif isinstance(kind, Listed | types.Words):
        own = {"type": ["string", "array"]}
    if option.multiple:
        own = {"anyOf": [own, {"type": "array", "items": own}]}
    return {**own, "description": inspect.cleandoc(option.help or "")}


def options_text() -> str:
    """The schema of ``autogaze.toml``: options of all commands, and a table for each command."""
    shared: dict[str, list[dict[str, Any]]] = {}
    tables: dict[str, Any] = {}
    for path, command in commands(cli):
        entries = {}
        for name, option in settable(command).items():
            entry, known = option_schema(option), shared.setdefault(name, [])
            if entry not in known:
                known.append(entry)
            entries[name] = reference(name, known.index(entry))
        table = tables
        for name in path[:-1]:
            table = table.setdefault(name, closed({}))["properties"]
        table[path[-1]] = closed(entries)
    everywhere = {
        name: {"anyOf": [reference(name, n) for n in range(len(known))]}
        for name, known in shared.items()
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "autogaze.toml",
        "description": "Options of the commands: see docs/config.md. Names may have _ for -.",
        **closed(everywhere | tables),
        "$defs": {f"{n}.{k}": e for n, known in shared.items() for k, e in enumerate(known)},
    }
    return json.dumps(document, indent=2) + "\n"


def reference(name: str, number: int) -> dict[str, Any]:
    """To one of the forms that an option of this name has."""
    return {"$ref": f"#/$defs/{name}.{number}"}


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with no other properties."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def main() -> int:
    """Write, or with ``--check`` return 1 if a schema is not current."""
    old = []
    for name in (*DOCUMENTS, OPTIONS):
        path, text = FOLDER / f"{name}.schema.json", text_of(name)
        if not path.is_file() or path.read_text("utf-8") != text:
            old.append(path)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    print(*old, sep="\n")
    return int(bool(old) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
