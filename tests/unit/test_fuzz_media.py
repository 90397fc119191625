"""A short run of scripts/fuzz_media.py; the long ones are by hand, see docs/trust.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_mutated_video_makes_reading_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fuzz_media", "--count", "155", "--first", "4200"],
        capture_output=True, text=True, timeout=300, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = [int(line.split("|")[2]) for line in done.stdout.splitlines()[2:]]
    assert sum(counts) == 155
