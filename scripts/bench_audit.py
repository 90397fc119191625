"""Time the audit of a synthetic repository.

python scripts/bench_audit.py                     # 5,000 files, one in twenty uses AutoGaze
python scripts/bench_audit.py --files 1000 --share 1 --keep /some/folder
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.settings import AuditSettings

LINES = {
    "rs": "fn {name}(a: u64, b: u64) -> u64 {{\n    let c = a * {n} + b % 7;\n    c / {n}\n}}\n",
    "py": "def {name}(a, b):\n    c = [a * {n} + x for x in range(b)]\n    return sum(c) // {n}\n",
    "ts": "function {name}(a: number, b: number) {{\n  return Math.floor(a * {n} / (b + 1));\n}}\n",
    "cpp": "int {name}(int a, int b) {{\n  int c = a * {n} + b % 7;\n  return c / {n};\n}}\n",
    "go": "func {name}(a, b int) int {{\n\tc := a*{n} + b%7\n\treturn c / {n}\n}}\n",
}
USES = {
    "rs": "fn gaze_{n}(out: &AutoGazeGenerateOutput) -> i64 {{\n out.gazing_pos[0][1] - 69\n}}\n",
    "py": "def gaze_{n}(out, frame):\n    return out['gazing_pos'] - frame * 265\n",
    "ts": "export const gaze{n} = (out: Out) => out.gazingPos.map((id) => id % 265);\n",
    "cpp": "int gaze_{n}(const Out& out, int i) {{ return out.gazing_pos[i] % 265; }}\n",
    "go": "func Gaze{n}(out Out) int {{ return out.GazingPos[0] - 69 }}\n",
}


def make_tree(root: Path, files: int, share: float, seed: int) -> int:
    """Write the files.

    Returns:
        The number of files that use AutoGaze.
    """
    chance = random.Random(seed)
    used = 0
    for index in range(files):
        suffix = chance.choice(list(LINES))
        functions = [
            LINES[suffix].format(name=f"f{index}_{k}", n=chance.randint(2, 400))
            for k in range(chance.randint(20, 100))
        ]
        if chance.random() < share:
            functions.insert(len(functions) // 2, USES[suffix].format(n=index))
            used += 1
        head = "package a\n\n" if suffix == "go" else ""
        path = root / f"part{index % 97}" / f"mod{index % 13}" / f"file{index}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + "\n".join(functions))
    return used


def main() -> int:
    """Generate the tree, audit it, and print the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument(
        "--share", type=float, default=0.05, help="fraction of files that use AutoGaze"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the tree in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        used = make_tree(root, options.files, options.share, options.seed)
        size = sum(path.stat().st_size for path in root.rglob("*.*"))
        start = time.perf_counter()
        audit = run_audit([root], AuditSettings())
        seconds = time.perf_counter() - start
    reported = len({finding.path for finding in audit.counted()})
    print(
        f"{audit.files_scanned} files, {size / 1e6:.0f} MB, {used} use AutoGaze, "
        f"{reported} reported: {seconds:.2f} s"
    )
    return 0 if reported == used else 1


if __name__ == "__main__":
    sys.exit(main())
