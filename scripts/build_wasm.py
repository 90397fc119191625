"""Build ``autogaze_cli/player/gaze.wasm``: the model of ``autogaze viewer``, in WebAssembly.

    python scripts/build_wasm.py            # needs ziglang, as the extra "dev" has it
    python scripts/build_wasm.py --check    # exits 1 if the committed file is not what is built

The same compiler and sources give the same bytes. The hashes of the sources are kept beside it,
as ``sha256sum --check`` reads them, so that a stale file is noticed without the compiler too.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "autogaze_cli/model"
WASM = ROOT / "autogaze_cli/player/gaze.wasm"
SUMS = WASM.with_suffix(".sources.sha256")
SOURCES = sorted(
    [
        *(MODEL / name for name in ("native.c", "native.h", "threads.h")),
        *(MODEL / "browser").iterdir(),
    ]
)

COMPILED = [MODEL / "browser/browser.c", MODEL / "native.c"]
"""The sources given to a compiler; the others are included by them."""

EXPORTS = [
    *("malloc", "free", "expand", "new_model", "new_stream", "free_stream"),
    *("gaze_frame", "input_whole", "input_tile"),
]

FLAGS = ["-O3", "-ffp-contract=off"]
"""Without fused operations, so that every build of the plain vectors gives the same numbers."""


def build(target: Path) -> None:
    """Compile the sources.

    Raises:
        subprocess.CalledProcessError: The compiler is missing, or fails.
    """
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-msimd128"]
    command += [*FLAGS, "-mexec-model=reactor", "-s", *(f"-Wl,--export={name}" for name in EXPORTS)]
    sources = [str(path.relative_to(ROOT)) for path in COMPILED]
    subprocess.run([*command, "-o", str(target), *sources], cwd=ROOT, check=True)


def sums() -> str:
    """A line per source: its SHA-256 and its path."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}\n"
        for path in SOURCES
    ]
    return "".join(lines)


def main() -> int:
    """Build, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / WASM.name
        build(built)
        content = built.read_bytes()
    if check:
        same = WASM.read_bytes() == content and SUMS.read_text() == sums()
        print("the same" if same else f"{WASM} differs: run scripts/build_wasm.py")
        return 0 if same else 1
    WASM.write_bytes(content)
    SUMS.write_text(sums())
    print(f"wrote {WASM}, {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
