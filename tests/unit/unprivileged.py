"""Python that runs without the privileges of root, to whom nothing is forbidden."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SETTLED = "import os\nif os.getuid() == 0:\n    os.setuid(65534)\n"


def printed_unprivileged(imports: str, code: str, folder: Path) -> str:
    """What code prints in a folder, which everybody may then look into.

    Args:
        imports: What is run as who the tests are.
        code: What is run afterwards.
        folder: The current one.
    """
    return subprocess.run(
        [sys.executable, "-c", f"{imports}\n{_SETTLED}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout
