"""``autogaze view`` as a process, for the tests that speak to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start_view(folder: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start it in a folder, without a browser unless the arguments ask for one."""
    return subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", "view", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@contextmanager
def serving(folder: Path, *arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that it prints, and the process, which is ended afterwards."""
    process = start_view(folder, "--no-open", *arguments)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate()
        yield address, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        finally:
            process.kill()
