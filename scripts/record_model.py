"""Record a bundled model in autogaze_cli/models/models.json: its hash, size, licence and summary.

Its folder, autogaze_cli/models/NAME, must hold the checkpoint and MODEL_CARD.md.

python scripts/record_model.py NAME --licence Apache-2.0 --summary "..." --default
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autogaze_cli.errors import ModelError
from autogaze_cli.model.catalog import MODELS, WEIGHTS, Model, sha256_of

CARD = "MODEL_CARD.md"


def record(models: Path, name: str, licence: str, summary: str, *, default: bool) -> None:
    """Write a model's entry, replacing an earlier one of the same name.

    Raises:
        ModelError: A file is missing.
    """
    folder = models / name
    Model(name=name, kind="folder", folder=folder).verify()
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder}: {CARD} is missing", hint="describe the model and its licence")
    path = models / "models.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    entry = {
        "name": name,
        "sha256": sha256_of(folder / WEIGHTS),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "licence": licence,
        "summary": summary,
    }
    others = [other for other in document["models"] if other["name"] != name]
    document["models"] = sorted([*others, entry], key=lambda each: str(each["name"]))
    if default:
        document["default"] = name
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Record the model given on the command line."""
    parser = argparse.ArgumentParser(description="Record a bundled model.")
    parser.add_argument("name", help="its folder below autogaze_cli/models")
    parser.add_argument("--licence", required=True)
    parser.add_argument("--summary", required=True, help="what it is, in a line")
    parser.add_argument("--default", action="store_true", help="run it when no model is named")
    given = parser.parse_args()
    try:
        record(MODELS, given.name, given.licence, given.summary, default=given.default)
    except ModelError as error:
        print(error.line(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
