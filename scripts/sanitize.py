"""Run the C code under sanitizers, with random inputs, against what Python computes.

    python -m scripts.sanitize --seconds 1200

Builds every C file with AddressSanitizer and UndefinedBehaviorSanitizer (GCC on Linux for x86-64),
each for every kind of processor that this machine can run, and calls it as the package does: with
random sizes, values, threads and layouts, and with arguments that Python must refuse. Counted per
file and build: executions, refusals, results that differ from the reference, and crashes, which are
the sanitizers' reports. The state of the generator is the number of the execution, so
``--first N --count 1`` repeats one. ``--tests`` runs the tests of this code under the sanitizers
instead, and the thread pool under ThreadSanitizer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.build_wasm import COMPILED, FLAGS, MODEL, ROOT
from scripts.fuzzing import options_of, print_table

SANITIZERS = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
OPTIONS = ("-g", "-O1", "-fno-omit-frame-pointer", "-Wno-psabi")
SETS = {
    "avx512": ("-mfma", "-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw"),
    "avx2": ("-mfma", "-mavx2"),
    "plain": ("-ffp-contract=off",),
}
CLONES = {
    "as built": (),
    "v3": ("-U__linux__", "-march=x86-64-v3"),
    "v1": ("-U__linux__",),
}
"""Of files that hold a copy for each kind of processor: all of them, or only one."""

TESTED = (
    "tests/unit/test_model_native.py",
    "tests/unit/test_visualize_compiled.py",
    "tests/unit/test_sources_cells.py",
    "tests/wasm/test_gaze.py",
)
LEFT_OUT = " and not ".join(
    ("not memory_that", "WebAssembly", "long_stream", "leave_it_out", "switched_off")
)
"""Tests of a limit on memory, which sanitizers exceed, of WebAssembly, and of how C is found."""


def builds(folder: Path) -> dict[str, tuple[Path, list[str | Path]]]:
    """Of each build its library and the command that makes it."""
    sources = {f"native.c, {name}": (MODEL / "native.c", flags) for name, flags in SETS.items()}
    for name, flags in CLONES.items():
        sources[f"cells.c, {name}"] = MODEL.parent / "sources/cells.c", flags
        flags = (*flags, "-ffp-contract=off")
        sources[f"draw.c, {name}"] = MODEL.parent / "visualize/draw.c", flags
    compiler = ("cc", *OPTIONS, "-fPIC", "-shared", "-pthread")
    found: dict[str, tuple[Path, list[str | Path]]] = {}
    for name, (source, flags) in sources.items():
        path = folder / f"{name.replace('.c, ', '_').replace(' ', '_')}.so"
        found[name] = path, [*compiler, *SANITIZERS, *flags, source, "-lm", "-o", path]
    browser = ("cc", *FLAGS, "-DNATIVE_NO_THREADS", "-fPIC", "-shared", "-w")
    path, plain = folder / "browser.so", folder / "browser_reference.so"
    found["browser.c"] = path, [*browser, *OPTIONS, *SANITIZERS, *COMPILED, "-lm", "-o", path]
    found["reference"] = plain, [*browser, *COMPILED, "-lm", "-o", plain]
    return found


def environment(folder: Path) -> dict[str, str]:
    """That of a process which loads the libraries."""
    command = ("cc", "-print-file-name=libasan.so")
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {
        **os.environ,
        "LD_PRELOAD": str(Path(library).resolve()),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
        "SANITIZED": str(folder),
    }


def run_tests(folder: Path) -> int:
    """The tests under the sanitizers; 1 if any fails."""
    python = (sys.executable, "-m", "pytest", "-q", "-p", "scripts.sanitized", "-k", LEFT_OUT)
    print("address and undefined behaviour:", *TESTED, flush=True)
    wrong = subprocess.run([*python, *TESTED], cwd=ROOT, env=environment(folder)).returncode
    programs: dict[str, tuple[str | Path, ...]] = {
        **{f"check.c, {name}": ("check.c", MODEL / "native.c", *SETS[name]) for name in SETS},
        "check_threads.c": ("check_threads.c",),
    }
    for name, (check, *more) in programs.items():
        for kind in (SANITIZERS, ("-fsanitize=thread",)):
            program = folder / "program"
            command = ["cc", *OPTIONS, *kind, f"-I{MODEL}", *more, ROOT / "tests/native" / check]
            subprocess.run([*command, "-pthread", "-lm", "-o", program], check=True)
            options = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0"}
            options["ASAN_OPTIONS"] = "detect_leaks=0"
            started = (program, "4")
            done = subprocess.run(started, env=options, stdout=subprocess.DEVNULL, timeout=600)
            failed = done.returncode not in (0, 3)  # 3: not had here
            wrong |= failed
            print(name, kind[0], "failed" if failed else "passed", flush=True)
    return int(bool(wrong))


def execute(
    folder: Path, first: int, last: int, end: float, counts: Counter[tuple[str, str]]
) -> int:
    """Executions in a process of their own, until one ends it; return the next number."""
    command = [sys.executable, "-m", "scripts.sanitized", str(first), str(last)]
    process = subprocess.Popen(
        [*command, str(end - time.monotonic())],
        cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    number, name, outcome = first, "", "begun"
    for line in process.stdout:
        said, name, outcome = line.rstrip("\n").split("\t")
        number = int(said)
        counts[name, "executions"] += outcome == "begun"
        if outcome in ("refused", "different"):
            counts[name, outcome] += 1
        if outcome == "different":
            print(f"execution {number} ({name}): different", file=sys.stderr, flush=True)
    if process.wait():
        counts[name, "crashed"] += 1
        print(f"execution {number} ({name}): crashed", file=sys.stderr, flush=True)
    return number + 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, run, print a table, and return 1 if anything went wrong."""
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--tests", action="store_true", help="run the tests instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        found = builds(folder)
        for _, command in found.values():
            subprocess.run(command, check=True)
        if options.tests:
            return run_tests(folder)
        counts: Counter[tuple[str, str]] = Counter()
        number = options.first
        end = time.monotonic() + options.seconds
        last = sys.maxsize if options.count is None else options.first + options.count
        while number < last and time.monotonic() < end:
            number = execute(folder, number, last, end, counts)
    return print_table(
        [name for name in found if name != "reference"], counts, ("different", "crashed")
    )


if __name__ == "__main__":
    sys.exit(main())
