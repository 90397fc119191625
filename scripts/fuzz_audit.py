"""Mutate source files, patches, notebooks and settings, and audit them; count what goes wrong.

    python -m scripts.fuzz_audit --seconds 600

Every execution starts from a seed in ``fixtures/audit`` with bytes flipped, cut, repeated, inserted
or nested. Counted per reader: executions, errors that are not the program's own, executions over
10 s, and over 1 GB. The state of the generator is the number of the execution, so ``--first N
--count 1`` repeats one.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.patches import patch_problems
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.errors import AutogazeError
from scripts.fuzzing import Counts, memory_bytes, options_of, print_table

SEEDS = Path(__file__).parent.parent / "fixtures" / "audit"
SUFFIXES = ("rs", "py", "ipynb", "js", "ts", "vue", "c", "cpp", "go")
PATCH = b"--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n gazing_pos = out.gazing_pos\n-x = 1\n+x = 2\n"
CONFIG = b'exclude = ["a/**", "!b"]\ntests = "skip"\n[severity]\nAGR104 = "note"\n'
PIECES = (b"(", b")", b"{", b"[", b'"', b"'", b"`", b"/*", b"=>", b"()=>\n", b"\\", b"\0", b"\xff",
          b"gazing_pos", b"% 265", b"#if 0\n", b"@@ -1 +1 @@\n", b"%%", b"if x:\n ")  # fmt: skip

Table = dict[str, tuple[list[bytes], Callable[[bytes, Path], None]]]
"""Of each reader its seeds, and itself."""

HANG_S = 10.0
MOST_BYTES = 1 << 30


def mutate(seed: bytes, chance: random.Random) -> bytes:
    """A few random changes of a text."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randint(1, 200)]
        elif kind == 2:
            data[at:at] = chance.choice(PIECES)
        elif kind == 3:
            data[at:at] = chance.choice(PIECES) * chance.choice((10, 100, 1000, 5000))
        elif kind == 4:
            data[at:at] = data[at : at + chance.randint(1, 400)] * chance.randint(1, 50)
        else:
            data[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 100)))
    return bytes(data)


def audit_source(suffix: str) -> Callable[[bytes, Path], None]:
    """A reader of source files with this suffix."""

    def read(data: bytes, folder: Path) -> None:
        (folder / f"a.{suffix}").write_bytes(data)
        run_audit([folder], AuditSettings())

    return read


def read_patch(data: bytes, folder: Path) -> None:
    """Check a patch."""
    (folder / "a.py").write_bytes(b"gazing_pos = out.gazing_pos\nx = 1\n")
    (folder / "a.patch").write_bytes(data)
    patch_problems(folder / "a.patch", folder)


def read_settings(data: bytes, folder: Path) -> None:
    """Read a folder's settings and list of ignored files."""
    (folder / ".autogaze-audit.toml").write_bytes(data)
    (folder / ".gitignore").write_bytes(data)
    (folder / "a.py").write_bytes(b"y = out.gazing_pos % 265\n")
    run_audit([folder], AuditSettings().with_config(folder, {}))


def readers() -> Table:
    """Of each reader its seeds, and itself."""
    found: Table = {}
    for suffix in SUFFIXES:
        seeds = [path.read_bytes() for path in sorted(SEEDS.rglob(f"*.{suffix}"))]
        if seeds:
            found[suffix] = (seeds, audit_source(suffix))
    found["patch"] = ([PATCH], read_patch)
    found["settings"] = ([CONFIG], read_settings)
    return found


def execute(number: int, table: Table, scratch: Path, counts: Counts) -> None:
    """One execution, and what came of it."""
    name = list(table)[number % len(table)]
    seeds, read = table[name]
    chance = random.Random(number)
    folder = scratch / "tree"
    folder.mkdir()
    data = mutate(chance.choice(seeds), chance)
    before, begin = memory_bytes(), time.monotonic()
    wrong = None
    try:
        read(data, folder)
    except AutogazeError:
        counts[name, "refused"] += 1
    except Exception:  # noqa: BLE001 - this is what is counted
        wrong = "unexpected"
        print(traceback.format_exc(), file=sys.stderr)
    if time.monotonic() - begin > HANG_S:
        wrong = "over 10 s"
    elif memory_bytes() > max(before, MOST_BYTES):
        wrong = "over 1 GB"
    if wrong is not None:
        counts[name, wrong] += 1
        print(f"execution {number} ({name}): {wrong}", file=sys.stderr)
    counts[name, "executions"] += 1
    shutil.rmtree(folder)


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    parser = options_of(__doc__.splitlines()[0])
    options = parser.parse_args(arguments)
    table, counts = readers(), Counts()
    end, number = time.monotonic() + options.seconds, options.first
    with tempfile.TemporaryDirectory() as scratch:
        while time.monotonic() < end and number - options.first != options.count:
            execute(number, table, Path(scratch), counts)
            number += 1
    return print_table(table, counts, ("unexpected", "over 10 s", "over 1 GB"))


if __name__ == "__main__":
    sys.exit(main())
