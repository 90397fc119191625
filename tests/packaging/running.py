"""Running what the documents show."""

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from click.testing import CliRunner

from autogaze_cli.cli.main import cli


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


def run_line(folder: Path, line: str) -> str:
    """What ``autogaze ...`` prints, stdout and stderr in one, run in this process.

    Each process that a model runs in takes seconds to load PyTorch.
    """
    with chdir(folder):
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return without_progress(done.output)


def run_python(folder: Path, text: str) -> str:
    """What a program prints, run in this process.

    In a thread of its own, because an event loop may be running in this one, that of a browser.
    """
    program = compile(text, "example", "exec")
    with (
        chdir(folder),
        redirect_stdout(StringIO()) as out,
        redirect_stderr(out),
        ThreadPoolExecutor(1) as threads,
    ):
        threads.submit(exec, program, {"__name__": "__main__"}).result()
    return out.getvalue()


def without_progress(text: str) -> str:
    """On a slow machine a command also says how far it is, every few seconds."""
    return re.sub(r"^.*: \d+/\d+ frames, .*\n", "", text, flags=re.MULTILINE)
