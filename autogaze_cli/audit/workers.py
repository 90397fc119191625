"""Analysing files, in processes of their own where that is safer or faster.

A grammar's parser may take long and much memory over a file made for it, or even crash, and nothing
but the end of its process stops it. So all but small files, and many files, are given to workers. A
worker answers file by file; one that dies, or does not answer in time, takes a single file with it,
which is reported as not analysed, and a new worker goes on after it.
"""

from __future__ import annotations

import os
import pickle
import resource
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from threading import Thread
from typing import IO

from autogaze_cli.audit.analysis import FileResult, analyse, timed_out
from autogaze_cli.audit.linking import Seeds
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.cpus import available_cpus

SMALL_BYTES = 3000
"""Of a file that a parser is trusted with in this process: its memory grows with the square of some
texts that it cannot parse, to 0.8 GB for as many bytes of them."""

_SOON_S = 0.5
"""How long a small file may take in this process; then a worker, whose memory is bounded, tries."""

_WORTHWHILE_BYTES = 400_000
"""Of source from which on processes are faster; starting one takes about 0.15 s."""

_START_S = 20.0
"""How long a worker may take to start, on a busy machine, besides what a file may take."""

_MOST_MEMORY = 1 << 30
"""Of a worker, in bytes; a file of 2 MB takes a fifth of it."""

_NO_START = "crashed", "not analysed: no process could be started for it in time"

_MAIN = "import sys; sys.path[:] = {!r}; from autogaze_cli.audit.workers import work; work()"
"""Run in isolation: the folder that is audited, which may be the current one, holds no modules."""

_HEAD = struct.Struct("<Q")

Task = tuple[str, bytes, Seeds]
"""The name of a file, its text, and what is known of it from others."""


@dataclass(frozen=True, slots=True)
class _Job:
    tasks: list[Task]
    names: Names
    limit_s: float


def analyse_all(tasks: list[Task], settings: AuditSettings) -> list[FileResult]:
    """The result of each file, in their order; the same with any number of processes."""
    names, limit_s = settings.names(), settings.file_time_limit_s
    sizes = [len(text) for _, text, _ in tasks]
    small = max(sizes, default=0) <= SMALL_BYTES and sum(sizes) <= _WORTHWHILE_BYTES
    if small or not sys.executable:
        soon_s = min(limit_s, _SOON_S) if sys.executable else limit_s
        return [_analyse_soon(task, _Job([task], names, limit_s), soon_s) for task in tasks]
    count = min(available_cpus(), len(tasks))
    order = sorted(range(len(tasks)), key=lambda index: -sizes[index])
    shares = [order[k::count] for k in range(count)]  # the large ones first, dealt in turn
    results: list[FileResult | None] = [None] * len(tasks)
    with ThreadPoolExecutor(count) as pool:
        jobs = [_Job([tasks[index] for index in share], names, limit_s) for share in shares]
        for share, found in zip(shares, pool.map(_run, jobs), strict=True):
            for index, result in zip(share, found, strict=True):
                results[index] = result
    return [result for result in results if result is not None]


def _analyse_soon(task: Task, job: _Job, soon_s: float) -> FileResult:
    name, text, seeds = task
    result = analyse(name, text, job.names, soon_s, seeds)
    if result.failure == timed_out(soon_s) and soon_s < job.limit_s:
        (result,) = _run(job)
    return result


def _run(job: _Job) -> list[FileResult]:
    """Have workers do a job, one after another where one dies."""
    done: list[FileResult] = []
    while len(done) < len(job.tasks):
        answers, failure = _ask_worker(_Job(job.tasks[len(done) :], job.names, job.limit_s))
        done += answers
        if failure is not None:
            done.append(FileResult(failure=failure))
    return done


def _ask_worker(job: _Job) -> tuple[list[FileResult], tuple[str, str] | None]:
    """The answers of one worker, and what became of the file after them, if it did not answer."""
    program = _MAIN.format([path for path in sys.path if path])
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    Thread(target=_feed, args=(process.stdin, job), daemon=True).start()
    try:
        return _answers(process.stdout, job)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _feed(pipe: IO[bytes], job: _Job) -> None:
    with suppress(OSError), pipe:  # a worker that died reads no more
        pickle.dump(job, pipe)


def _answers(pipe: IO[bytes], job: _Job) -> tuple[list[FileResult], tuple[str, str] | None]:
    answers: list[FileResult] = []
    held = bytearray()
    end = time.monotonic() + _START_S
    started = False
    with DefaultSelector() as selector:
        selector.register(pipe, EVENT_READ)
        while len(answers) < len(job.tasks):
            if not selector.select(max(0.0, end - time.monotonic())):
                return answers, timed_out(job.limit_s) if started else _NO_START
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                return answers, ("crashed", "not analysed: its parser crashed")
            held += data
            while len(held) >= _HEAD.size + (size := _size(held)):
                if size:
                    answers.append(pickle.loads(held[_HEAD.size : _HEAD.size + size]))  # noqa: S301
                started = True  # which the worker tells by an answer of no bytes
                del held[: _HEAD.size + size]
                end = time.monotonic() + 2 * job.limit_s
    return answers, None


def _size(held: bytearray) -> int:
    """The bytes of the answer at the beginning, more than there are where that is not known."""
    return _HEAD.unpack_from(held)[0] if len(held) >= _HEAD.size else sys.maxsize


def work() -> None:
    """What a worker does: read its job from stdin, and write each result to stdout."""
    with suppress(OSError, ValueError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own process
    sys.stdout.buffer.write(_HEAD.pack(0))
    sys.stdout.buffer.flush()
    for name, text, seeds in job.tasks:
        answer = pickle.dumps(analyse(name, text, job.names, job.limit_s, seeds))
        sys.stdout.buffer.write(_HEAD.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()
