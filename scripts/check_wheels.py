"""Check wheels that scripts/build_wheels.py built, without running them.

    python -m scripts.check_wheels dist/*.whl

Checked: tags and record; that all wheels hold the same files, except the compiled libraries; that
each library is for the wheel's processor, exports what Python calls, needs nothing but what the tag
promises, and has no path of the machine that built it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import lief

EXPORTS = {
    "_native": {"linear", "panel", "run", "supported"},
    "_draw": {"blend_cells", "draw_cells", "paint"},
    "_cells": {"cell_differences", "cell_products"},
}
"""The functions that Python calls, by the start of a library's name."""
X86_64 = {"_native_avx512", "_native_avx2", "_native_plain", "_draw", "_cells"}
ARM64 = {"_native_neon", "_native_plain", "_draw", "_cells"}
NEEDED = re.compile(
    r"lib(c|m|pthread)\.so\.6|libpthread\.so\.0|@rpath/_\w+\.so|/usr/lib/libSystem\.B\.dylib"
    r"|KERNEL32\.dll|api-ms-win-crt-[a-z]+-l1-1-0\.dll"
)
"""Libraries that each system has; a Mach-O library lists itself too."""
MACHINES = {
    "manylinux_2_17_x86_64": (lief.ELF.ARCH.X86_64, X86_64),
    "manylinux_2_17_aarch64": (lief.ELF.ARCH.AARCH64, ARM64),
    "macosx_11_0_x86_64": (lief.MachO.Header.CPU_TYPE.X86_64, X86_64),
    "macosx_11_0_arm64": (lief.MachO.Header.CPU_TYPE.ARM64, ARM64),
    "win_amd64": (lief.PE.Header.MACHINE_TYPES.AMD64, X86_64),
}
"""By tag: the processor, and the libraries that a wheel has."""


def main(paths: list[str]) -> int:
    """Print what is wrong with each wheel; return 1 if anything is."""
    problems = [f"{Path(path).name}: {problem}" for path in paths for problem in check(Path(path))]
    shared = {path: _shared(Path(path)) for path in paths}
    problems += [
        f"{p}: files differ from {paths[0]}" for p in paths if shared[p] != shared[paths[0]]
    ]
    print(*problems or [f"{len(paths)} wheels: no problem found"], sep="\n")
    return 1 if problems or not paths else 0


def check(path: Path) -> Iterator[str]:
    """What is wrong with a wheel."""
    files = _files(path)
    (info,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    tags = re.findall(r"^Tag: py3-none-(.+)$", files[f"{info}/WHEEL"].decode(), re.MULTILINE)
    if not path.stem.endswith("-py3-none-" + ".".join(tags)):
        yield f"the file's name is not of its tags {tags}"
    yield from _record(files, f"{info}/RECORD")
    machine, expected = MACHINES[tags[0]]
    libraries = {name: content for name, content in files.items() if is_library(name)}
    if {Path(name).stem for name in libraries} != expected:
        yield f"has the libraries {sorted(libraries)}, not {sorted(expected)}"
    for name, content in libraries.items():
        for problem in _library(content, Path(name).stem, tags[0], machine):
            yield f"{name}: {problem}"


def _library(content: bytes, stem: str, tag: str, machine: object) -> Iterator[str]:
    """What is wrong with a library of a wheel."""
    lief.logging.disable()  # it reports what it skips; what matters here is checked below
    binary = lief.parse(content)
    if binary is None or isinstance(binary, lief.COFF.Binary):
        yield "is no library"
        return
    exported = {str(function.name) for function in binary.exported_functions}
    if isinstance(binary, lief.MachO.Binary):
        exported = {name.removeprefix("_") for name in exported}
        found: object = binary.header.cpu_type
        needed = [library.name for library in binary.libraries]
        built = binary.build_version
        if built is None or built.minos != [11, 0, 0]:
            yield f"is for macOS {built and built.minos}"
        if "arm64" in tag and not binary.has_code_signature:
            yield "is not signed, so that macOS would not load it"
    elif isinstance(binary, lief.ELF.Binary):
        found, needed = binary.header.machine_type, [str(name) for name in binary.libraries]
        if (newest := glibc(binary)) > (2, 17):
            yield f"needs glibc {newest}"
    else:
        found, needed = binary.header.machine, [str(name) for name in binary.libraries]
    if found != machine:
        yield f"is for {found}"
    (wanted,) = (names for start, names in EXPORTS.items() if stem.startswith(start))
    if missing := wanted - exported:
        yield f"does not export {sorted(missing)}"
    if foreign := [name for name in needed if not NEEDED.fullmatch(str(name))]:
        yield f"needs {foreign}"
    if paths := re.findall(
        rb"(?:/(?:home|root|tmp|work|Users|runner)/|[CD]:\\)[\w./\\-]{3,}", content
    ):
        yield f"names {paths[:3]}"


def glibc(binary: lief.ELF.Binary) -> tuple[int, ...]:
    """The newest version of glibc whose symbols a library uses; empty if none."""
    names = {
        str(symbol.name)
        for version in binary.symbols_version_requirement
        for symbol in version.get_auxiliary_symbols()
    }
    versions = (re.fullmatch(r"GLIBC_([\d.]+)", name) for name in names)
    return max((tuple(map(int, v[1].split("."))) for v in versions if v), default=())


def is_library(name: str) -> bool:
    """Whether a wheel's file is compiled for one platform."""
    return name.endswith((".so", ".dll"))


def _record(files: dict[str, bytes], record: str) -> Iterator[str]:
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[record].decode()))}
    if rows.keys() != files.keys():
        yield f"RECORD and the files differ: {sorted(rows.keys() ^ files.keys())}"
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if name != record and rows.get(name) != [f"sha256={digest}", str(len(content))]:
            yield f"RECORD is wrong about {name}"


def _files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _shared(path: Path) -> dict[str, bytes]:
    """The files that do not depend on the platform."""
    varying = (".dist-info/WHEEL", ".dist-info/RECORD", ".cdx.json")
    files = _files(path).items()
    return {name: data for name, data in files if not (is_library(name) or name.endswith(varying))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
