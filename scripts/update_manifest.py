"""Update the hashes in fixtures/MANIFEST.json, and add a blank entry for each new file.

    python scripts/update_manifest.py

What a new file shows, where it is from and how it was made must be filled in by hand: a test
refuses blanks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures"
MANIFEST = FOLDER / "MANIFEST.json"


def main() -> None:
    """Rewrite the manifest, sorted by path; entries of deleted files are removed."""
    known = {entry["path"]: entry for entry in json.loads(MANIFEST.read_text())["files"]}
    entries = []
    for path in sorted(p for p in FOLDER.rglob("*") if p.is_file() and p != MANIFEST):
        name = path.relative_to(FOLDER).as_posix()
        blank = {"path": name, "what": "", "origin": "", "licence": "", "made": ""}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append({**known.get(name, blank), "sha256": digest})
    MANIFEST.write_text(json.dumps({"files": entries}, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
