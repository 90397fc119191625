"""A short run of scripts/sanitize.py; the long ones are by hand, see docs/trust.md."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="the sanitizers are those of GCC on Linux for x86-64",
    ),
]


def test_random_calls_harm_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "scripts.sanitize", "--count", "100", "--seconds", "600"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [row.split(" | ") for row in run.stdout.splitlines()[2:]]
    assert sum(int(row[1]) for row in rows) == 100
    assert sum(int(row[2]) for row in rows) > 10
