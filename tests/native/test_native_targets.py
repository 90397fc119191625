"""The C of the layers, built for each kind of processor and run: here, emulated, or as wasm."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import autogaze_cli.model

SOURCES = Path(autogaze_cli.model.__file__).parent
PLAIN = ("-ffp-contract=off",)
ZIG = (sys.executable, "-m", "ziglang", "cc", "-target")
HERE, ARM, WASM = ("cc", "-Wno-psabi"), (*ZIG, "aarch64-linux-musl"), (*ZIG, "wasm32-wasi")
FENCED = ("-fsanitize=undefined", "-include", str(Path(__file__).with_name("fenced.h")))
TARGETS = {
    "plain": (HERE, PLAIN),
    "avx2": (HERE, ("-mavx2", "-mfma")),
    "avx512": (HERE, ("-mfma", "-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw")),
    "neon": (ARM, ("-DNATIVE_NEON",)),
    "neon, fenced": (ARM, ("-DNATIVE_NEON", *FENCED)),
    "plain on Arm": (ARM, PLAIN),
    "wasm": (WASM, ("-msimd128", *PLAIN)),
}

# For these the compiler first builds a C library, which takes a minute in a new environment.
NEON, FENCED_NEON, PLAIN_ON_ARM, IN_WASM = (
    pytest.param(name, marks=pytest.mark.long)
    for name in ("neon", "neon, fenced", "plain on Arm", "wasm")
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("native"),  # each program is built once
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="the other processors are emulated on Linux for x86-64",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


@cache
def built(folder: Path, name: str) -> Path:
    """The program of ``check.c`` for one target."""
    compiler, flags = TARGETS[name]
    if not (shutil.which("cc") if compiler == HERE else importlib.util.find_spec("ziglang")):
        pytest.skip("the compiler is not installed: cc, or ziglang for other processors")
    program = folder / name.replace(" ", "_")
    sources = [SOURCES / "native.c", Path(__file__).with_name("check.c")]
    warnings = ("-Wall", "-Wextra", "-Werror", f"-I{SOURCES}")
    threads = () if compiler == WASM else ("-pthread",)
    command = [*compiler, "-O3", *flags, *warnings, *threads, *sources, "-lm", "-o", program]
    subprocess.run(command, check=True)
    return program


@cache
def outputs(folder: Path, name: str, threads: int = 1) -> NDArray[np.uint32]:
    """The bits of all numbers that the program prints."""
    compiler = TARGETS[name][0]
    if compiler == ARM and not shutil.which("qemu-aarch64"):
        pytest.skip("qemu-aarch64 is not installed")
    if name == "wasm":
        printed = wasm(built(folder, name))
    else:
        emulator = ["qemu-aarch64"] if compiler == ARM else []
        run = subprocess.run(
            [*emulator, built(folder, name), str(threads)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if run.returncode == 3:
            pytest.skip(f"this processor has no {name}")
        assert run.returncode == 0, run.stderr
        printed = run.stdout
    bits = np.array([int(word, 16) for word in printed.split()], np.uint32)
    assert len(bits) == 27 * 77 + 6 * 2 * 40
    return bits


def wasm(program: Path) -> str:
    """What a WASI program prints."""
    wasmtime = pytest.importorskip("wasmtime", reason="wasmtime is not installed")
    engine = wasmtime.Engine()
    linker, store, system = wasmtime.Linker(engine), wasmtime.Store(engine), wasmtime.WasiConfig()
    linker.define_wasi()
    printed = program.with_suffix(".txt")
    system.stdout_file = str(printed)
    store.set_wasi(system)
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, str(program)))
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        if end.code:
            raise
    return printed.read_text()


@pytest.mark.parametrize("name", [IN_WASM, PLAIN_ON_ARM])
def test_plain_is_the_same_bits_everywhere(folder: Path, name: str) -> None:
    np.testing.assert_array_equal(outputs(folder, name), outputs(folder, "plain"))


@pytest.mark.parametrize("name", ["avx512", "avx2", NEON, FENCED_NEON])
def test_the_others_differ_by_rounding(folder: Path, name: str) -> None:
    ours, plain = (outputs(folder, n).view(np.float32) for n in (name, "plain"))
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=2e-5)
    assert (ours != plain).any()


@pytest.mark.parametrize("name", ["avx512", "avx2", NEON, "plain"])
def test_threads_change_no_bit(folder: Path, name: str) -> None:
    np.testing.assert_array_equal(outputs(folder, name, 3), outputs(folder, name))


def test_every_item_of_a_loop_is_done_once_also_in_forked_children(folder: Path) -> None:
    program = folder / "threads"
    source = Path(__file__).with_name("check_threads.c")
    if not shutil.which("cc"):
        pytest.skip("the compiler is not installed: cc")
    warnings = ("-Wall", "-Wextra", "-Werror", f"-I{SOURCES}")
    subprocess.run(["cc", "-O3", *warnings, source, "-pthread", "-o", program], check=True)
    assert subprocess.run([program], timeout=120).returncode == 0
