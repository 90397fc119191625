"""Tasks and workers: who is retried, what is told, how a batch ends, and what stops it."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Self

import pytest

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.local import (
    Channel,
    Worker,
    _ProcessPool,
    attempt,
    one_process,
    portable,
    processes,
    run_on_pool,
)
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.batch.report import Report
from autogaze_cli.batch.result import MANIFEST, Result, output_files
from autogaze_cli.batch.run import Batch
from autogaze_cli.batch.stopping import stopped_by_signals
from autogaze_cli.batch.work import Do, Outcome, Task, WorkerLostError
from autogaze_cli.errors import AutogazeError, InputError, OutputError
from autogaze_cli.progress import TRACEBACK, Advance

ROOT = Path(__file__).parents[2]


def item(name: str, path: str | None = None) -> Input:
    return Input(name=name, path=path or name, stem=PurePath(Path(name).stem))


def tasks(*names: str) -> list[Task]:
    return [Task(item(name)) for name in names]


RESULT = Result(files={}, document={})


@contextmanager
def quiet(task: Task) -> Iterator[Advance]:
    yield lambda done, total: None


@dataclass
class Pool:
    """Workers that die as often as a task's name has an x; each runs what it is given at once."""

    room: int = 2
    given: list[Task] = field(default_factory=list)
    tried: list[tuple[str, bool]] = field(default_factory=list)
    closed: bool = False

    def busy(self) -> bool:
        return bool(self.given)

    def idle(self) -> bool:
        return len(self.given) < self.room

    def submit(self, task: Task) -> None:
        if task.item.name == "refused":
            raise OutputError("refused: no room")
        self.given.append(task)

    def wait(self) -> list[Outcome | Task]:
        assert self.given, "it would wait forever"
        found: list[Outcome | Task] = []
        for task in self.given:
            name = task.item.name
            self.tried.append((name, task.overwrite))
            dies = sum(one == name for one, _ in self.tried) <= name.count("x")
            found.append(task if dies else Outcome(task, result=RESULT))
        self.given.clear()
        return found

    def close(self) -> None:
        self.closed = True


def test_a_task_whose_worker_dies_is_tried_twice_and_may_then_replace_files() -> None:
    pool = Pool(room=1)
    outcomes = list(run_on_pool(pool, tasks("a", "bx", "cxx", "refused", "d")))
    assert pool.tried == [
        ("a", False), ("bx", False), ("bx", True), ("cxx", False), ("cxx", True), ("d", False),
    ]  # fmt: skip
    assert [one.task.item.name for one in outcomes] == ["a", "bx", "cxx", "refused", "d"]
    errors = [str(one.error) if one.error else None for one in outcomes]
    assert errors == [None, None, "cxx: worker died twice", "refused: no room", None]
    assert isinstance(outcomes[2].error, WorkerLostError)
    assert outcomes[2].error.exit_code == 3
    assert outcomes[2].seconds == outcomes[3].seconds == 0
    assert pool.closed


def test_a_pool_is_filled_and_closed_when_it_is_left() -> None:
    pool = Pool(room=2)
    outcomes = run_on_pool(pool, tasks("a", "b", "c"))
    next(outcomes)
    assert [name for name, _ in pool.tried] == ["a", "b"]
    outcomes.close()
    assert pool.closed
    assert list(run_on_pool(Pool(), [])) == []


def test_a_pool_in_which_no_task_can_start_is_not_waited_for() -> None:
    """As when the output folder is gone: its manifest takes no line."""
    outcomes = list(run_on_pool(Pool(), tasks("refused", "refused")))
    assert [str(one.error) for one in outcomes] == ["refused: no room"] * 2


@dataclass(frozen=True)
class Echo:
    """Work whose result says who did it; a task named ``die`` ends its process the first time."""

    folder: Path
    broken: bool = False

    def of_run(self, run: str) -> Self:
        return self

    def open(self, worker: int, workers: int) -> Do:
        if self.broken:
            raise InputError("the model is broken")

        def do(task: Task, advance: Advance) -> Result:
            logging.getLogger("autogaze_cli.work").warning("working on %s", task.item.name)
            if task.item.name == "bad":
                raise ValueError("not a video")
            if task.item.name == "die" and not task.overwrite:
                os._exit(1)
            advance(1.0, 4)
            if task.item.name == "long":
                try:
                    (self.folder / "begun").touch()
                    time.sleep(60)
                finally:
                    time.sleep(0.3)
                    (self.folder / "removed").touch()
            about = {"worker": worker, "workers": workers, "pid": os.getpid()}
            about["overwrite"] = task.overwrite
            return Result(files={}, document=about)

        return do


def test_tasks_of_this_process_run_in_turn_and_fail_alone(tmp_path: Path) -> None:
    begun: list[str] = []

    @contextmanager
    def on_start(task: Task) -> Iterator[Advance]:
        begun.append(task.item.name)
        if task.item.name == "refused":
            raise OutputError("refused: no room")
        yield lambda done, total: begun.append(f"{done} of {total}")

    found = list(one_process(Echo(tmp_path), tasks("a", "bad", "refused", "b"), on_start))
    assert begun == ["a", "1.0 of 4", "bad", "refused", "b", "1.0 of 4"]
    errors = [str(one.error) if one.error else None for one in found]
    assert errors == [None, "not a video", "refused: no room", None]
    assert found[0].result is not None
    assert found[0].result.document == {
        "worker": 0,
        "workers": 1,
        "pid": os.getpid(),
        "overwrite": False,
    }
    assert found[1].result is None


def test_seconds_of_a_task_are_those_it_took() -> None:
    def slow(task: Task, advance: Advance) -> Result:
        time.sleep(0.05)
        if task.item.name == "bad":
            raise ValueError
        return RESULT

    for task in tasks("good", "bad"):
        assert 0.05 <= attempt(slow, task, lambda done, total: None).seconds < 5


def test_worker_processes_do_all_tasks_and_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    advanced: list[tuple[str, float, int | None]] = []
    ended: list[str] = []

    @contextmanager
    def on_start(task: Task) -> Iterator[Advance]:
        name = task.item.name
        yield lambda done, total: advanced.append((name, done, total))
        ended.append(name)

    names = ("a", "bad", "die", "b")
    with caplog.at_level(logging.WARNING, "autogaze_cli"):
        found = {
            one.task.item.name: one for one in processes(2, Echo(tmp_path), tasks(*names), on_start)
        }
    assert sorted(found) == sorted(names)
    assert "not a video" in str(found["bad"].error)
    assert "ValueError: not a video" in (found["bad"].traceback or "")
    documents = {name: one.result.document for name, one in found.items() if one.result}
    assert {one["workers"] for one in documents.values()} == {2}
    assert os.getpid() not in {one["pid"] for one in documents.values()}
    assert {name: one["overwrite"] for name, one in documents.items()} == {
        "a": False,
        "b": False,
        "die": True,
    }
    # A worker tells its progress a few times a second, and these tasks are quicker than that.
    assert advanced
    assert set(advanced) <= {(name, 1.0, 4) for name in ("a", "b", "die")}
    assert sorted(ended) == sorted([*names, "die"])
    assert "working on a" in caplog.messages
    assert "die: worker died; retrying" in caplog.messages


def test_workers_are_given_time_to_remove_what_they_began(tmp_path: Path) -> None:
    pool = _ProcessPool(Echo(tmp_path), 2, quiet)
    began = [worker.process for worker in pool._workers]
    for task in tasks("a", "long"):
        pool.submit(task)
    assert not pool.idle()
    while not any(isinstance(found, Outcome) for found in pool.wait()):
        pass
    until = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    pool.close()
    assert (tmp_path / "removed").exists()
    assert not pool.busy()
    # One that has nothing to do ends by itself; the other is told to.
    assert [process.exitcode for process in began] == [0, 128 + signal.SIGTERM]


def test_a_worker_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = _ProcessPool(Echo(tmp_path), 1, quiet)
    [process] = [worker.process for worker in pool._workers]
    pool.submit(*tasks("a"))
    while not any(isinstance(found, Outcome) for found in pool.wait()):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("autogaze_cli.batch.local.GRACE_S", 0.2)
    pool.close()
    assert process.exitcode == -signal.SIGKILL


def test_work_that_cannot_be_opened_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model is broken"):
        list(processes(5, Echo(tmp_path, broken=True), tasks("a"), quiet))


def test_a_worker_is_idle_once_its_display_is_closed() -> None:
    worker, shown = Worker(), list[str]()

    @contextmanager
    def on_start(task: Task) -> Iterator[Advance]:
        shown.append("open")
        yield lambda done, total: shown.append(f"{done}/{total}")
        shown.append("closed")

    worker.advance(1, 2)  # nothing is shown yet
    (task,) = tasks("a")
    worker.start_task(task, on_start)
    assert worker.task is task
    worker.advance(1, 2)
    worker.finish_task()
    worker.finish_task()
    assert shown == ["open", "1/2", "closed"]
    worker.start_task(task, on_start)
    assert shown[3:] == ["open"]


def test_a_channel_sends_text_and_progress_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []
    channel = Channel(sent.append)
    for seconds in (0.1, 0.2, 0.3, 0.4, 9):
        monkeypatch.setattr(time, "monotonic", lambda now=seconds: now)
        channel.advance(10 * seconds, None)
    assert sent == [(2, None), (4, None), (90, None)]
    unpicklable = (lambda: 0,)
    record = logging.LogRecord("n", 20, "p", 1, "saw %s", unpicklable, (None, None, None))
    channel.emit(record)
    assert sent[3].getMessage().startswith("saw <function")
    assert pickle.loads(pickle.dumps(sent[3])).exc_info is None  # noqa: S301


def test_outcomes_can_be_sent_whatever_failed() -> None:
    (task,) = tasks("clip.mp4")
    good = Outcome(task, result=RESULT, seconds=2)
    assert portable(good) is good
    try:
        raise ValueError("odd", lambda: 0)
    except ValueError as error:
        sent = pickle.loads(pickle.dumps(portable(Outcome(task, error=error, seconds=2))))  # noqa: S301
    assert isinstance(sent.error, AutogazeError)
    assert "ValueError" in sent.traceback
    assert sent.seconds == 2


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_the_first_signal_ends_and_later_ones_do_not_disturb(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for number, error, code in (
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
    ):
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_DFL)
        removed = False
        with pytest.raises(error) as caught, stopped_by_signals():  # noqa: PT012
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
                assert capfd.readouterr().err == ""
                signal.raise_signal(signal.SIGINT)
                assert "press Ctrl-C again to leave them" in capfd.readouterr().err
                removed = True
        assert removed
        assert getattr(caught.value, "code", None) == code
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


@pytest.mark.usefixtures("handlers")
def test_handlers_are_as_before_where_nothing_came() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopped_by_signals():
        signal.raise_signal(signal.SIGHUP)  # stays ignored, as under nohup
    signal.raise_signal(signal.SIGTERM)
    assert seen == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def outcome(one: Input, error: Exception | None = None, **changes: Any) -> Outcome:
    result = None if error else Result(**({"files": {}, "document": {"n": 1}} | changes))
    return Outcome(Task(one), result=result, error=error, seconds=1.23456)


def test_exit_codes_and_counts_of_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    a, b, c, d = (item(name) for name in "abcd")
    caplog.set_level(logging.INFO, "autogaze_cli")
    events: list[dict[str, Any]] = []
    report = Report([a, b, c, d], events.append)
    assert report.exit_code() == 3
    report.begun(a)
    report.add(outcome(a, files={"mask": Path("out/a.gif")}))
    report.skip(b, ["b.gif"])
    report.add(outcome(c, InputError("c: not a video", hint="try another")))
    assert report.exit_code() == 3
    report.close()
    assert events == [
        {"event": "started", "input": "a"},
        {"event": "finished", "input": "a", "seconds": 1.235, "result": {"n": 1}},
        {"event": "skipped", "input": "b", "output_files": ["b.gif"]},
        {"event": "failed", "input": "c", "error": "c: not a video", "hint": "try another"},
        {
            "event": "ended",
            "finished": 1,
            "skipped": 1,
            "failed": 1,
            "not_done": 1,
            "exit_code": 3,
        },
    ]
    assert "wrote out/a.gif" in caplog.messages
    assert "4 inputs: 1 finished, 1 skipped, 1 failed, 1 not done" in caplog.messages
    assert "1 of 4 inputs failed: c" in caplog.messages
    document = report.document()
    assert document["not_done"] == ["d"]
    assert [one["input"] for one in document["failures"]] == ["c"]


def test_documents_share_what_is_the_same_and_nothing_else() -> None:
    inputs = [item("a"), item("b"), item("c")]
    about = {"fps": "30/1", "settings": {"seed": 1, "start": 0.5}, "frames": [1]}
    other = {"fps": "30/1", "settings": {"seed": 1.0, "start": -0.0}, "frames": [True]}
    report = Report(inputs)
    for one, document in zip(inputs, (about, about, other), strict=True):
        report.add(outcome(one, document=pickle.loads(pickle.dumps(document))))  # noqa: S301
    a, b, c = (result.document for result in report.results.values())
    assert a["settings"] is b["settings"]
    assert [json.dumps(one) for one in (a, b, c)] == [
        json.dumps(one) for one in (about, about, other)
    ]
    assert all(x is y for x, y in zip(a, c, strict=True))


def test_a_batch_is_done_when_every_input_is(caplog: pytest.LogCaptureFixture) -> None:
    a, b = item("a"), item("b")
    caplog.set_level(logging.INFO, "autogaze_cli")
    report = Report([a, b], writes=False)
    report.add(outcome(a, files={"mask": Path("a.gif")}))
    assert report.exit_code() == 3
    report.add(outcome(b))
    assert report.exit_code() == 0
    assert caplog.messages == []  # nothing was written
    report.add(outcome(b, differences=("b.gif: missing",)))
    assert report.exit_code() == 1
    report.lose(OutputError("index.html: full"))
    report.lose(OutputError("index.html: full"))
    assert (len(report.lost), report.exit_code()) == (1, 3)
    planned = Report([a, b])
    planned.plan = []
    assert planned.exit_code() == 0
    planned.fail(a, InputError("a: bad"))
    assert planned.exit_code() == 3


def test_the_only_input_raises_and_stdin_keeps_its_name() -> None:
    report = Report([item("-", "/tmp/spooled/1")])
    with pytest.raises(ValueError, match=r"^-: not a video$"):
        report.fail(item("-", "/tmp/spooled/1"), ValueError("/tmp/spooled/1: not a video"))
    several = Report([item("-", "/tmp/spooled/1"), item("b")])
    odd = ValueError("/tmp/spooled/1", "/tmp/spooled/1", 3)
    several.fail(several.inputs[0], odd)
    assert odd.args == ("-", "/tmp/spooled/1", 3)
    several.fail(several.inputs[0], InputError("/tmp/spooled/1: not a video"))
    assert str(several.failures[several.inputs[0]]) == "-: not a video"
    several.fail(several.inputs[0], MemoryError())
    assert str(several.failures[several.inputs[0]]).startswith("-: ")


def test_the_traceback_of_a_failure_is_logged_wherever_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(TRACEBACK, "autogaze_cli")
    a, b = item("a"), item("b")
    report = Report([a, b])
    report.add(Outcome(Task(a), error=InputError("a: bad"), traceback="that of a worker"))
    report.add(Outcome(Task(b), error=InputError("b: bad")))
    worker, here = [one for one in caplog.records if one.levelno == TRACEBACK]
    assert worker.getMessage() == "traceback of the error: that of a worker"
    assert worker.exc_info is None
    assert here.exc_info is not None
    assert str(here.exc_info[1]) == "b: bad"


def test_events_that_cannot_be_printed_are_told_once() -> None:
    tried: list[str] = []

    def closed(event: dict[str, Any]) -> None:
        tried.append(event["event"])
        raise OutputError("stdout: full")

    report = Report([item("a"), item("b")], closed)
    report.begun(item("a"))
    report.begun(item("b"))
    assert tried == ["started"]
    assert [str(error) for error in report.lost] == ["stdout: full"]


def batch(folder: Path, **rules: Any) -> Batch:
    return Batch(
        outputs=lambda one: [folder / f"{Path(one.name).name}.gif"],
        check=lambda one: None,
        out_dir=folder,
        **rules,
    )


def run_batch(rules: Batch, *names: str) -> Report:
    report = Report([item(name) for name in names])
    rules.run(Echo(rules.out_dir), rules.tasks(report), one_process, report)
    return report


@pytest.mark.parametrize(
    ("names", "fail_fast", "done"),
    [
        ("a b c", False, "a b c"),
        ("a b c", True, "a b c"),
        ("a bad c", False, "a c"),
        ("a bad c", True, "a"),
    ],
)
def test_a_failure_ends_a_batch_only_if_it_should(
    names: str, fail_fast: bool, done: str, tmp_path: Path
) -> None:
    report = run_batch(batch(tmp_path, fail_fast=fail_fast), *names.split())
    assert [one.name for one in report.results] == done.split()
    assert [one.name for one in report.failures] == ["bad"] * ("bad" in names)


def test_files_that_are_there_are_kept_unless_they_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.gif").touch()
    kept = run_batch(batch(tmp_path), "a", "b")
    assert [one.name for one in kept.results] == ["b"]
    assert "a.gif: already exists" in str(kept.failures[item("a")])
    both = run_batch(batch(tmp_path, overwrite=True), "a", "b")
    assert [one.name for one in both.results] == ["a", "b"]
    assert [one.document["overwrite"] for one in both.results.values()] == [True, True]
    rules = Batch(
        outputs=lambda one: [tmp_path / "a.gif", tmp_path / "b.gif"],
        check=lambda one: None,
        out_dir=tmp_path,
    )
    report = Report([item("a"), item("b")])
    (tmp_path / "b.gif").touch()
    assert rules.tasks(report) == []
    assert str(report.failures[item("a")]) == f"{tmp_path}/a.gif: already exists"
    stopped = Report([item("a"), item("b")])
    assert batch(tmp_path, fail_fast=True, writes=False).tasks(stopped) == []
    assert stopped.exit_code() == 3


def test_what_a_killed_run_left_is_removed_before_a_run_and_not_by_a_plan(tmp_path: Path) -> None:
    code = "from autogaze_cli.batch.outputs import Outputs; Outputs().add_folder('a')"
    killed = [sys.executable, "-c", code]
    subprocess.run(killed, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    [left] = tmp_path.iterdir()
    foreign = tmp_path / f".autogaze-12345678-{'0' * 8}-1-{'f' * 16}"  # another machine's
    foreign.touch()
    batch(tmp_path, writes=False).tasks(Report([item("a")]))
    assert left.exists()
    batch(tmp_path).tasks(Report([item("a")]))
    assert not left.exists()
    assert foreign.exists()


def test_only_resume_skips_what_is_finished(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a video")
    video, gif = item(str(tmp_path / "a")), tmp_path / "a.gif"
    with Manifest(tmp_path, "mask", {}, None) as manifest:
        manifest.start(video, [gif])
        gif.touch()
        manifest.finish(video, [gif], 1)
    with Manifest(tmp_path, "mask", {}, None) as manifest:
        for resume, skipped in ((False, 0), (True, 1)):
            rules: dict[str, Any] = {"resume": True} if resume else {}
            again = batch(tmp_path, manifest=manifest, **rules)
            report = Report([video, item("none")])
            again.tasks(report)
            assert len(report.skipped) == skipped


def test_an_input_that_is_replaced_at_the_last_moment_has_no_output(tmp_path: Path) -> None:
    """After its output is in place, and before that is recorded."""

    class Replaced:
        def of_run(self, run: str) -> Self:
            return self

        def open(self, worker: int, workers: int) -> Do:
            def do(task: Task, advance: Advance) -> Result:
                frames, gif = tmp_path / "out/frames", tmp_path / f"out/{task.item.stem}.gif"
                gif.touch()
                if task.item.stem.name == "b":
                    frames.mkdir()
                    (frames / "0.png").touch()
                    Path(task.item.path).write_bytes(b"another video")
                files = {"mask": gif, "frames": frames} if frames.exists() else {"mask": gif}
                return Result(files=files, document={})

            return do

    inputs = [item(str(tmp_path / name)) for name in "ab"]
    for one in inputs:
        Path(one.path).write_bytes(b"a video")
    report = Report(inputs)
    with Manifest(tmp_path / "out", "mask", {}, None) as manifest:
        rules = batch(tmp_path / "out", manifest=manifest)
        rules.run(Replaced(), rules.tasks(report), one_process, report)
    assert "was changed or moved while it was read" in str(report.failures[inputs[1]])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.gif", MANIFEST}


def test_names_are_numbered_where_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def board(name: str) -> AbstractContextManager[Advance]:
        shown.append(name)
        return nullcontext(lambda done, total: None)

    monkeypatch.setattr("autogaze_cli.batch.run.progress_board", lambda: nullcontext(board))
    run_batch(batch(tmp_path), "a")
    run_batch(batch(tmp_path / "two"), "a", "b")
    assert shown == ["a", "[1/2] a", "[2/2] b"]


def test_two_inputs_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "autogaze_cli")
    Report([item("a")]).close()
    assert caplog.messages == []
    Report([item("a"), item("b")]).close()
    assert caplog.messages == ["2 inputs: 2 not done"]


def test_a_plan_says_what_would_be_done(tmp_path: Path) -> None:
    (tmp_path / "a.gif").touch()
    report = Report([item("a"), item("b")])
    batch(tmp_path, writes=False).plan(report, lambda found: {"frames": 5})
    about = {"output_files": [str(tmp_path / "b.gif")], "frames": 5}
    assert report.plan is not None
    assert report.plan[1] == {"input": "b", "state": "run", **about}
    assert report.plan[0]["state"] == "fail"
    assert "frames" not in report.plan[0]


def test_names_of_outputs() -> None:
    base = Path("out/clip")
    assert output_files("mask", base, "gif") == {
        "mask": Path("out/clip.mask.gif"),
        "metrics": Path("out/clip.mask.json"),
    }
    assert output_files("mask", base, "png", report=True) == {
        "mask": Path("out/clip.mask"),
        "metrics": Path("out/clip.mask.json"),
        "report": Path("out/clip.report.html"),
    }
    assets = output_files("render-assets", base, "gif", report=True)
    assert assets["report"] == Path("out/autogaze_clip_report.html")
    assert assets["output"] == Path("out/autogaze_clip_output.gif")
