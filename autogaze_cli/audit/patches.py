"""Whether a migration patch still applies to a checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from autogaze_cli.errors import InputError


def patch_problems(patch: Path, root: Path) -> list[str]:
    """What keeps ``patch`` from applying to ``root``; nothing is changed.

    Args:
        patch: A unified diff with paths relative to ``root``.
        root: The folder it is for.

    Returns:
        One line a problem; empty when the patch applies.

    Raises:
        InputError: When the patch is no patch, or git is missing.

    Source: audit spec A.5.
    """
    if not patch.is_file():
        raise InputError(f"{patch}: no such file", hint="give --check-patch a unified diff")
    if not root.is_dir():
        raise InputError(f"{root}: not a folder", hint="give the checkout the patch is for")
    place = root.absolute()
    # A checkout above the folder would make git read the patch's paths from there.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(place.parent), "LC_ALL": "C"}
    inherited = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    command = ["git", "-c", "apply.whitespace=nowarn", "apply", "--check", str(patch.absolute())]
    try:
        done = subprocess.run(
            command, cwd=place, env={**inherited, **ceiling}, capture_output=True, check=False
        )
    except OSError as error:
        raise InputError("git cannot be run", hint="install git to check patches") from error
    if done.returncode == 0:
        return []
    said = done.stderr.decode("utf-8", "replace").splitlines()
    problems = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    if done.returncode != 1 or not problems:
        what = (
            problems[0] if problems else said[-1] if said else f"git ended with {done.returncode}"
        )
        raise InputError(f"{patch}: not a patch that git can read: {what}")
    return problems
