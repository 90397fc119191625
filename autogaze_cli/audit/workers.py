"""Analysing many files, in processes of their own where that pays.

A worker gets its files through a pipe and answers file by file. One that dies takes a single file
with it, which is reported as not analysed; a new worker goes on after it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from autogaze_cli.audit.analysis import FileResult, analyse
from autogaze_cli.audit.files import Selected
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.settings import AuditSettings

_WORTHWHILE_BYTES = 400_000
"""Source from which on a second process is faster; starting one takes about 0.15 s."""

_MAIN = "import sys; sys.path[:] = {!r}; from autogaze_cli.audit.workers import work; work()"
"""Run in isolation: the folder that is audited, which may be the current one, holds no modules."""

Task = tuple[str, bytes]
"""The name of a file and its text."""


@dataclass(frozen=True, slots=True)
class _Job:
    tasks: list[Task]
    names: Names
    limit_s: float


def analyse_all(texts: Mapping[Selected, bytes], settings: AuditSettings) -> list[FileResult]:
    """The result of each file, in their order; the same with any number of processes."""
    tasks = [(selected.name, text) for selected, text in texts.items()]
    names, limit_s = settings.names(), settings.file_time_limit_s
    count = min(len(os.sched_getaffinity(0)), len(tasks))
    if count < 2 or sum(len(text) for _, text in tasks) < _WORTHWHILE_BYTES or not sys.executable:
        return [analyse(name, text, names, limit_s) for name, text in tasks]
    order = sorted(range(len(tasks)), key=lambda index: -len(tasks[index][1]))
    shares = [order[k::count] for k in range(count)]  # the large ones first, dealt in turn
    results: list[FileResult | None] = [None] * len(tasks)
    with ThreadPoolExecutor(count) as pool:
        jobs = [_Job([tasks[index] for index in share], names, limit_s) for share in shares]
        for share, found in zip(shares, pool.map(_run, jobs), strict=True):
            for index, result in zip(share, found, strict=True):
                results[index] = result
    return [result for result in results if result is not None]


def _run(job: _Job) -> list[FileResult]:
    """Have workers do a job, one after another where one dies."""
    done: list[FileResult] = []
    while len(done) < len(job.tasks):
        rest = _Job(job.tasks[len(done) :], job.names, job.limit_s)
        answers = _ask_worker(rest)
        done += answers
        if len(answers) < len(rest.tasks):
            done.append(FileResult(failure=("crashed", "not analysed: the analysis crashed")))
    return done


def _ask_worker(job: _Job) -> list[FileResult]:
    """The answers of one worker; fewer than tasks where it died."""
    program = _MAIN.format([path for path in sys.path if path])
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        output, _ = process.communicate(pickle.dumps(job))
    finally:
        process.kill()
        process.wait()
    return _answers(output)


def _answers(output: bytes) -> list[FileResult]:
    answers, stream = [], BytesIO(output)
    while True:
        try:
            answers.append(pickle.load(stream))  # noqa: S301 - from our own process
        except (EOFError, pickle.UnpicklingError):
            return answers


def work() -> None:
    """What a worker does: read its job from stdin, and write each result to stdout."""
    job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own process
    for name, text in job.tasks:
        pickle.dump(analyse(name, text, job.names, job.limit_s), sys.stdout.buffer)
        sys.stdout.buffer.flush()
