"""Running what the documents show."""

import os
import subprocess
from pathlib import Path


def run(root: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a user would, stdout and stderr in one."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
