"""What the fuzzers share: their options, the memory they watch, and the table they print."""

from __future__ import annotations

import argparse
import resource
from collections import Counter
from collections.abc import Collection, Sequence

Counts = Counter[tuple[str, str]]
"""How often something happened, by reader and what it was."""


def options_of(description: str) -> argparse.ArgumentParser:
    """The options of every fuzzer: how long, how many, and from which execution on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--count", type=int, help="end after so many executions")
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    return parser


def memory_bytes() -> int:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def print_table(readers: Collection[str], counts: Counts, wrong: Sequence[str]) -> int:
    """Print a row per reader; return 1 if anything of ``wrong`` was counted, otherwise 0."""
    columns = ("executions", "refused", *wrong)
    print("| reader | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name in readers:
        print(f"| {name} | " + " | ".join(str(counts[name, column]) for column in columns) + " |")
    return int(any(counts[name, what] for name in readers for what in wrong))
