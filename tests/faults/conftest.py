"""Real processes, and faults of the system around them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOG = ROOT / "fixtures/dog.mp4"
MANIFEST = "autogaze-manifest.jsonl"
QUICK = ("--mask-source", "patch-diff", "--inference-width", "96", "--frames", "2")
SLOW = ("--mask-source", "patch-diff", "--inference-width", "320")
"""A third of a second per input."""

Build = Callable[[str], Path]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autogaze_cli", *map(str, arguments)]


def run(*arguments: object, **how: object) -> subprocess.CompletedProcess[str]:
    """A command that runs to its end."""
    settings = {"env": environment(), "capture_output": True, "text": True, "timeout": 120} | how
    return subprocess.run(command(*arguments), check=False, **settings)  # type: ignore[call-overload,no-any-return]


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command in a process group of its own."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running process does."""
    until = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def outputs(folder: Path) -> dict[str, bytes]:
    """All files below a folder by name, temporary ones too, but not the manifest."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    files.pop(MANIFEST, None)
    return {name: path.read_bytes() for name, path in files.items() if path.is_file()}


def temporaries(folder: Path) -> list[str]:
    return [name for name in outputs(folder) if ".autogaze-" in name]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(DOG, tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build("full_disk.c")``: the library made from it, to be preloaded into a process."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and a system that preloads libraries")
    folder = tmp_path_factory.mktemp("preloaded")

    def built(source: str) -> Path:
        library = folder / f"{source}.so"
        options = ("-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / source), "-ldl")
        subprocess.run([compiler, *options], check=True, capture_output=True)
        return library

    return built


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Let child processes heed SIGINT, which a shell's background jobs are started to ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
