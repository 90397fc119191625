"""Runs one command again and again on a disk that is full from an ever later call on.

Started with ``full_disk.c`` preloaded. Each run is a fork of this process, so that what a run needs
is imported once. Prints a line of JSON per run.

Usage: full_disk.py FIRST STEP FOLDER ARGUMENT ...
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

from autogaze_cli.cli.main import cli

_SHIM = ctypes.CDLL(None)


def one_run(arguments: list[str], first: int, log: Path) -> int:
    """The exit code of the command on a disk that is full from its ``first`` call on; 0 = never."""
    child = os.fork()
    if child == 0:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _SHIM.full_from(first)
        code: object = 70
        try:
            cli(arguments, prog_name="autogaze")
        except SystemExit as end:
            code = end.code or 0
        finally:
            calls = _SHIM.full_calls()
            _SHIM.full_from(0)
            log.with_suffix(".calls").write_text(str(calls))
            sys.stdout.flush()
            os._exit(code if isinstance(code, int) else 71)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Run without a fault, and then with every ``STEP``-th call as the first that fails."""
    first, step, folder, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    log = Path(folder, "log")
    for name in (f"commands.{arguments[0].replace('-', '_')}", "jobs.videos", "media.writers"):
        import_module(f"autogaze_cli.{name}")
    Path(folder, "disk").mkdir()
    out, calls = Path(folder, "disk/out"), 0
    for call in (0, *range(first, 10_000, step)):
        if call > calls > 0:
            break
        code = one_run([*arguments, "-o", str(out)], call, log)
        if call == 0:
            calls = int(log.with_suffix(".calls").read_text())
        one = {"call": call, "code": code, "log": log.read_text(), "made": made(out)}
        resumed = one_run([*arguments, "-o", str(out), "--resume"], 0, log.with_suffix(".again"))
        sys.stdout.write(json.dumps(one | {"resumed": resumed, "whole": made(out)}) + "\n")
        shutil.rmtree(out)


def made(folder: Path) -> dict[str, str]:
    """The files of a run with their hashes, without those that tell times."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
        if path.name not in ("index.html", "autogaze-manifest.jsonl")
    }


if __name__ == "__main__":
    main()
