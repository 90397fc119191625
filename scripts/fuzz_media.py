"""Mutate videos, animations and pictures, and read them; count what goes wrong.

    python -m scripts.fuzz_media --seconds 3600

Every execution starts from a small file of ``scripts/fuzz_seeds.py``: its parts are changed and put
elsewhere, with sizes and checksums that fit (``scripts/fuzz_structures.py``), or bytes are flipped,
cut, repeated, inserted or set to extremes. Counted per reader: executions, refusals, errors that
are not the program's own or no line, crashes, executions over 10 s, and over 2 GB.
"""

from __future__ import annotations

import os
import random
import sys
from fractions import Fraction
from pathlib import Path

from autogaze_cli.batch.inputs import open_inputs
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from scripts.fuzz_seeds import seeds
from scripts.fuzz_structures import EXTREMES, FORMATS, change_structure
from scripts.fuzzing import change_bytes, fuzz, options_of, outcome

MOST_BYTES = 2 << 30
HEADERS = 700
"""Bytes at the beginning of a file that are changed more often."""

SAMPLINGS = (
    Sampling(allow_truncated=True),
    Sampling(start=Fraction(1, 5), fps=Fraction(30)),
    Sampling(width=64, frames=4, tone_map="none"),
)


def mutate(name: str, seed: bytes, chance: random.Random) -> bytes:
    """A changed file."""
    form = FORMATS.get("png" if name == "pattern" else name.split(".")[-1])
    if form is None or chance.randrange(3) == 0:
        return change_bytes(seed, chance, EXTREMES, HEADERS)
    data = change_structure(form, seed, chance)
    return change_bytes(data, chance, EXTREMES, HEADERS) if chance.randrange(10) == 0 else data


def read(name: str, data: bytes, seed: bytes, folder: Path) -> None:
    """Read a file as the reader does of which it is a mutant."""
    if name == "list":
        (folder / "list.txt").write_bytes(data)
        with open_inputs([f"@{folder / 'list.txt'}"]):
            return
    path = folder / f"a.{'png' if name == 'apng' else name}"
    if name == "pattern":
        path = folder / "a_%d.png"
        for number in range(3):
            (folder / f"a_{number}.png").write_bytes(data if number == 1 else seed)
    else:
        path.write_bytes(data)
    for _ in read_frames(path, SAMPLINGS[len(data) % len(SAMPLINGS)], threads=2):
        pass


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    options = options_of(str(__doc__).splitlines()[0]).parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    table = seeds()
    names = list(table)

    def execute(number: int, folder: Path) -> str | None:
        name, chance = names[number % len(names)], random.Random(number)
        seed = chance.choice(table[name])
        data = mutate(name, seed, chance)
        return outcome(lambda: read(name, data, seed, folder), MOST_BYTES)

    return fuzz(names, execute, options, MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
