"""Runs a script as if the published package were installed.

python -m autogaze_cli.upstream [--rows ROWS] [--replace] SCRIPT [ARGUMENT...]
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path

from autogaze_cli.errors import AutogazeError
from autogaze_cli.upstream.model import ROWS
from autogaze_cli.upstream.modules import install


def main(arguments: list[str]) -> int:
    """Run a script; its own exit code passes through."""
    parser = argparse.ArgumentParser(
        prog="python -m autogaze_cli.upstream",
        description="Run a script that was written for the published autogaze package.",
    )
    parser.add_argument(
        "--rows",
        choices=("independent", "published"),
        help=f"how the rows of a batch are decoded (default: ${ROWS}, otherwise independent)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="also where the published package is installed"
    )
    parser.add_argument("script", type=Path, help="the script to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    asked = parser.parse_args(arguments)
    if not asked.script.is_file():
        parser.error(f"{asked.script}: is not a file")
    if asked.rows:
        os.environ[ROWS] = asked.rows
    if not install(replace=asked.replace):
        print(  # noqa: T201
            "the published package is installed and is used; --replace runs this one",
            file=sys.stderr,
        )
    sys.argv = [str(asked.script), *asked.arguments]
    sys.path[0] = str(asked.script.resolve().parent)
    try:
        runpy.run_path(str(asked.script), run_name="__main__")
    except AutogazeError as error:
        print(f"Error: {error.line()}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
