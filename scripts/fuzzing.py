"""What the fuzzers share: processes, what counts as wrong, changes of bytes, and the table.

An execution has a number, which alone decides what is tried, so ``--first N --count 1`` repeats it.
Executions run in processes of their own, 500 in each, so that a crash or a hang is counted and the
next one follows.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from autogaze_cli.errors import AutogazeError

Execute = Callable[[int, Path], str | None]
"""One execution, by number and with an empty folder; returns what came of it, see ``outcome``."""

REFUSED = "refused"
UNEXPECTED = "unexpected"
CRASHED = "crashed"

HANG_S = 10.0
OVER_TIME = "over 10 s"
GIVEN_UP_S = 60.0
"""After which an execution is ended, on the clock; other times are those of the processor."""

MOST_BYTES = 1 << 30
MOST_MESSAGE = 2100
ODD = "-vv shows the traceback"
"""The hint of an error that the program did not expect."""

CHUNK = 500


def options_of(description: str) -> argparse.ArgumentParser:
    """The options of every fuzzer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--count", type=int, help="end after so many executions")
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    parser.add_argument("--keep", default="", help="a folder for the files that did harm")
    return parser


def outcome(read: Callable[[], object], most_bytes: int = MOST_BYTES) -> str | None:
    """What came of reading something.

    Args:
        read: Reads it.
        most_bytes: How much memory this process may have.

    Returns:
        None if it was read, ``REFUSED`` if the program refused it by a line of its own, and
        otherwise what is wrong.
    """
    before, begin = memory_bytes(), sum(os.times()[:4])
    found = None
    try:
        read()
    except AutogazeError as error:
        found = REFUSED if is_own(error.line()) else UNEXPECTED
    except Exception:  # noqa: BLE001 - this is what is counted
        found = UNEXPECTED
        print(traceback.format_exc(), file=sys.stderr)
    if sum(os.times()[:4]) - begin > HANG_S:  # not on the clock: the machine may be busy
        return OVER_TIME
    return over(most_bytes) if memory_bytes() > max(before, most_bytes) else found


def is_own(message: str) -> bool:
    """Whether a message is one line that the program meant to print."""
    if len(message) > MOST_MESSAGE or "\n" in message or ODD in message:
        print(f"a message of {len(message)} characters: {message[:300]!r}", file=sys.stderr)
        return False
    return True


def over(most_bytes: int) -> str:
    """How a table names too much memory."""
    return f"over {most_bytes >> 30} GB"


def memory_bytes() -> int:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(
    readers: Sequence[str],
    execute: Execute,
    options: argparse.Namespace,
    most_bytes: int = MOST_BYTES,
) -> int:
    """Run executions, and print a table.

    Args:
        readers: Their names; execution ``number`` is of ``readers[number % len(readers)]``.
        execute: Runs one.
        options: Those of ``options_of``.
        most_bytes: See ``outcome``.

    Returns:
        1 if anything went wrong, otherwise 0.
    """
    counts: Counter[tuple[str, str]] = Counter()
    end, number = time.monotonic() + options.seconds, options.first
    last = sys.maxsize if options.count is None else options.first + options.count
    with tempfile.TemporaryDirectory() as scratch:
        while number < last and time.monotonic() < end:
            numbers = range(number, min(number + CHUNK, last))
            for number, found in _results(numbers, execute, Path(scratch), end):
                name = readers[number % len(readers)]
                counts[name, "executions"] += 1
                folder = Path(scratch, str(number))
                if found is not None:
                    counts[name, found] += 1
                if found not in (None, REFUSED):
                    print(f"execution {number} ({name}): {found}", file=sys.stderr, flush=True)
                    if options.keep:
                        shutil.copytree(folder, Path(options.keep, str(number)), symlinks=True)
                shutil.rmtree(folder, ignore_errors=True)
            number += 1
    return print_table(readers, counts, (UNEXPECTED, CRASHED, OVER_TIME, over(most_bytes)))


def _results(
    numbers: range, execute: Execute, scratch: Path, end: float
) -> Iterator[tuple[int, str | None]]:
    """The results of executions in one process, until one harms it or the time is over."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(numbers, execute, scratch, far)
    )
    process.start()
    far.close()
    try:
        for number in numbers:
            if time.monotonic() > end:
                return
            try:
                found: str | None = near.recv() if near.poll(GIVEN_UP_S) else OVER_TIME
            except EOFError:
                found = CRASHED
            yield number, found
            if found is not None and found.startswith((CRASHED, "over")):
                return
    finally:
        process.kill()
        process.join()
        near.close()


def _serve(numbers: range, execute: Execute, scratch: Path, pipe: Connection) -> None:
    logging.disable()
    for number in numbers:
        folder = scratch / str(number)
        folder.mkdir()
        pipe.send(execute(number, folder))


def print_table(
    readers: Sequence[str], counts: Counter[tuple[str, str]], wrong: Sequence[str]
) -> int:
    """Print a row per reader; return 1 if anything of ``wrong`` was counted, otherwise 0."""
    columns = ("executions", REFUSED, *wrong)
    print("| reader | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name in readers:
        print(f"| {name} | " + " | ".join(str(counts[name, column]) for column in columns) + " |")
    return int(any(counts[name, what] for name in readers for what in wrong))


def change_bytes(
    seed: bytes, chance: random.Random, pieces: Sequence[bytes], near: int | None = None
) -> bytes:
    """A few random changes of bytes.

    Args:
        seed: What is changed.
        chance: Decides.
        pieces: What means something in such a file; put into it, or over what is there.
        near: Half of the changes are within so many bytes of the beginning.
    """
    data = bytearray(seed)
    for _ in range(chance.randint(1, 5)):
        begins = near is not None and chance.randrange(2)
        at = chance.randrange(min(len(data), near or 0) + 1 if begins else len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del data[at : at + chance.choice((1, 4, 30, 200, 1000))]
        elif kind == 3:
            piece = chance.choice(pieces)
            data[at : at + len(piece)] = piece
        elif kind == 4:
            data[at:at] = chance.choice(pieces) * chance.choice(
                (1, 1, 1, 1, 10, 10, 10, 100, 100, 5000)
            )
        elif kind == 5:
            data[at:at] = data[at : at + chance.randint(1, 400)] * chance.randint(1, 50)
        else:
            data[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 60)))
    return bytes(data)
