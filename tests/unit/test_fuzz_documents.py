"""A short run of scripts/fuzz_documents.py; the long ones are by hand, see docs/trust.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LENIENT = ("manifest", "metrics", "report")
"""Readers that leave out what they cannot use."""


def test_no_changed_document_makes_a_reader_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fuzz_documents", "--count", "125", "--first", "14000"],
        capture_output=True, text=True, timeout=300, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()[2:]]
    assert sum(int(row[2]) for row in rows) == 125
    assert all(int(row[3]) > 0 for row in rows if not any(word in row[1] for word in LENIENT))
