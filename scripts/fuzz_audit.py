"""Mutate source files, patches, notebooks and settings, and audit them; count what goes wrong.

    python -m scripts.fuzz_audit --seconds 600

Every execution starts from a seed in ``fixtures/audit*``, with bytes flipped, cut, repeated or
inserted. Of most source files the beginning is analysed, in this process; one in eight goes through
a whole audit, which has a process of its own for all but small files. Counted per reader:
executions, refusals, errors that are not the program's own or no line, crashes, executions over
10 s, and over 1 GB.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.baseline import compare, read_baseline
from autogaze_cli.audit.linking import Seeds
from autogaze_cli.audit.patches import patch_problems
from autogaze_cli.audit.reading import decoded
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.audit.workers import SMALL_BYTES
from scripts.fuzzing import change_bytes, fuzz, options_of, outcome

SEEDS = Path(__file__).parent.parent / "fixtures"
SUFFIXES = ("rs", "py", "ipynb", "js", "ts", "vue", "c", "cpp", "go")
PATCH = b"--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n gazing_pos = out.gazing_pos\n-x = 1\n+x = 2\n"
SETTINGS = {
    ".autogaze-audit.toml": b'exclude = ["a/**", "!b"]\ntests = "skip"\n'
    b'[severity]\nAGR104 = "note"\n',
    ".gitignore": b"# built\n/out/\n*.o\n!keep.o\na/**/b\n[a-c]?.py\n\\#x\n",
    ".gitmodules": b'[submodule "vendor"]\n\tpath = vendor/lib\n\turl = ../lib.git\n',
    "Cargo.toml": b'[package]\nname = "x"\n[dependencies]\nautogaze = { version = "1" }\n',
    "pyproject.toml": b'[project]\nname = "x"\ndependencies = ["autogaze-cli>=1", "numpy"]\n'
    b'[tool.autogaze.audit]\nexclude = ["b"]\n',
}  # fmt: skip
BASELINE = b"""\
{"version": 1, "tool": "autogaze-audit", "findings": [
 {"rule": "AGR104", "path": "a.py", "fingerprint": "0123abcd", "line": 1, "message": "an id"}]}
"""
SOURCE = b"gazing_pos = out.gazing_pos\nx = gazing_pos % 265\n"

PIECES = (b"(", b")", b"{", b"[", b'"', b"'", b"`", b"/*", b"=>", b"()=>\n", b"\\", b"\0", b"\xff",
          b"gazing_pos", b"% 265", b"#if 0\n", b"@@ -1 +1 @@\n", b"%%", b"if x:\n ", b"**/", b"!",
          b"<script>", b'"source": [', b"\xef\xbb\xbf", b"\xff\xfe", b"[[", b"= ", b"a.a.a.",
          b"autogaze: ignore")  # fmt: skip

SOON_S = 0.5
"""What the audit gives a small file in its own process, see ``audit/workers.py``."""

WHOLE = 8
"""One in so many source files goes through a whole audit."""

Read = Callable[[bytes, Path, bool], None]
"""Reads a changed seed, in a folder of its own; as a whole audit does, or in part."""


def audit_source(suffix: str) -> Read:
    """A reader of source files with this suffix."""

    def read(data: bytes, folder: Path, whole: bool) -> None:
        name = f"a.{suffix}"
        if whole:
            (folder / name).write_bytes(data)
            run_audit([folder], AuditSettings())
            return
        text = decoded(data[:SMALL_BYTES])
        if b"\0" not in text:
            analyse(name, text, AuditSettings().names(), SOON_S, Seeds())

    return read


def read_patch(data: bytes, folder: Path, _whole: bool) -> None:
    """Check a patch."""
    (folder / "a.py").write_bytes(SOURCE)
    (folder / "a.patch").write_bytes(data)
    patch_problems(folder / "a.patch", folder)


def read_settings(name: str) -> Read:
    """A reader of a file that says how a folder is audited."""

    def read(data: bytes, folder: Path, _whole: bool) -> None:
        (folder / name).write_bytes(data)
        (folder / "a.py").write_bytes(SOURCE)
        run_audit([folder], AuditSettings().with_config(folder, {}))

    return read


def read_known(data: bytes, folder: Path, _whole: bool) -> None:
    """Read a baseline, and hold findings against it."""
    (folder / "known.json").write_bytes(data)
    compare([], read_baseline(folder / "known.json"))


def readers() -> dict[str, tuple[list[bytes], Read]]:
    """Of each reader its seeds, and itself."""
    found: dict[str, tuple[list[bytes], Read]] = {}
    for suffix in SUFFIXES:
        seeds = [path.read_bytes() for path in sorted(SEEDS.glob(f"audit*/**/*.{suffix}"))]
        found[suffix] = (seeds, audit_source(suffix))
    for name, seed in SETTINGS.items():
        found[name] = ([seed], read_settings(name))
    return found | {"patch": ([PATCH], read_patch), "baseline": ([BASELINE], read_known)}


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    options = options_of(str(__doc__).splitlines()[0]).parse_args(arguments)
    table = readers()
    names = list(table)

    def execute(number: int, folder: Path) -> str | None:
        seeds, read = table[names[number % len(names)]]
        chance = random.Random(number)
        data = change_bytes(chance.choice(seeds), chance, PIECES)
        return outcome(lambda: read(data, folder, chance.randrange(WHOLE) == 0))

    return fuzz(names, execute, options)


if __name__ == "__main__":
    sys.exit(main())
