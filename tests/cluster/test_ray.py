"""A batch on a real Ray cluster of two nodes: three workers, one of them killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePath

import pytest
from click.testing import CliRunner, Result

from autogaze_cli.batch import ray_engine
from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.result import MANIFEST as NAME
from autogaze_cli.batch.work import Task
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.jobs.request import Request
from autogaze_cli.jobs.settings import BatchSettings, Drawing
from autogaze_cli.jobs.videos import VideoWork
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.progress import Advance
from autogaze_cli.visualize.settings import Visualization

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "fixtures/parity-tiny")
PATCH_DIFF = ("--mask-source", "patch-diff")
SMALL = ("--inference-width", "128", "--inference-height", "96", "--frames", "6")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(
        find_spec("ray") is None, reason="needs Ray: pip install 'autogaze-cli[ray]'"
    ),
]

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes, of two cores each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    node = partial(cluster.add_node, num_cpus=2, object_store_memory=100 << 20)
    node(include_dashboard=False)  # the first is the head
    node()
    yield str(cluster.address)
    end: Callable[[], None] = cluster.shutdown
    end()


@pytest.fixture
def run(address: str) -> Run:
    """``run("mask", ...)``: three workers of the cluster, driven by this process."""

    def invoke(command: str, *arguments: object) -> Result:
        ray = ("--engine", "ray", "--address", address, "--workers", 3)
        return CliRunner().invoke(cli, [command, *map(str, (*arguments, *ray))])

    return invoke


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which holds ``in`` with four copies of a clip."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        shutil.copy(ROOT / "fixtures/dog.mp4", tmp_path / "in" / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a run, as a run by one process has it; not the manifest, which tells times."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    return {name: path.read_bytes() for name, path in files.items() if path.name != NAME}


def local(folder: Path, *arguments: str) -> dict[str, bytes]:
    """What one process makes of the same, in ``out`` too, for its files tell their names."""
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == 0, result.stderr
    made = tree(folder / "out")
    shutil.rmtree(folder / "out")
    return made


def test_the_same_bytes_and_failures_named(folder: Path, run: Run) -> None:
    command = ("mask", "in", "-o", "out", "--model", TINY, *SMALL)
    whole = local(folder, *command)
    (folder / "in/broken.mp4").write_text("no video")  # refused before it is begun
    shutil.copy(ROOT / "fixtures/dog.mp4", folder / "in/damaged.mp4")
    with (folder / "in/damaged.mp4").open("r+b") as file:  # opens, and cannot be decoded
        file.seek(2000)
        file.write(bytes(20000))
    result = run(*command)
    assert result.exit_code == 3, result.stderr
    assert tree(folder / "out") == whole
    assert "in/broken.mp4" in result.stderr
    assert "in/damaged.mp4" in result.stderr.splitlines()[-1]
    assert result.stderr.count("mask source: ") == 1  # and not by each worker


def writer_below(folder: Path) -> int | None:
    """A process that has a file below ``folder`` open for a video that it draws."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has just ended
            if link.readlink().is_relative_to(folder) and link.readlink().suffix == ".gif":
                return int(link.parts[2])
    return None


def test_a_killed_worker_is_replaced(folder: Path, address: str) -> None:
    command = ("mask", "in", "-o", "out", *PATCH_DIFF, "--inference-width", "960")
    whole = local(folder, *command)
    started = [*command, "--engine", "ray", "--address", address, "--workers", "3", "--jsonl"]
    process = subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", *started],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    while (worker := writer_below(folder / "out")) is None:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors.count("worker died; retrying") == 1
    events = [json.loads(line) for line in output.splitlines()]  # and nothing of Ray's
    assert [event["event"] for event in events].count("finished") == 4
    leftovers = {name for name in tree(folder / "out") if name.startswith(".autogaze-")}
    assert {k: v for k, v in tree(folder / "out").items() if k not in leftovers} == whole


def test_closed_early_it_leaves_nothing_half_written(folder: Path, address: str) -> None:
    request = Request(
        command="mask",
        inputs=(),
        gaze=GazeSettings(mask_source="patch-diff"),
        sampling=Sampling(),
        drawing=Drawing(visualization=Visualization()),
        format="gif",
        batch=BatchSettings(out_dir=Path("out")),
    )
    work = VideoWork(request=request, sampling=Sampling())
    tasks = [Task(Input(name=f"{n}", path="in/a.mp4", stem=PurePath(f"{n}"))) for n in range(20)]
    in_flight: set[str] = set()
    told: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def begin(task: Task) -> Iterator[Advance]:
        in_flight.add(task.item.name)
        yield lambda done, total: told[task.item.name].append(done)
        in_flight.remove(task.item.name)

    engine = ray_engine.ray_engine(workers=2, address=address, cpus_per_worker=1, gpus_per_worker=0)
    with closing(engine(work, tasks, begin)) as outcomes:
        finished = {next(outcomes).task.item.name}
        while not in_flight:  # the other worker may still be opening the work
            finished.add(next(outcomes).task.item.name)
        stopped = set(in_flight)
    assert in_flight == set()
    made = set(tree(folder / "out"))
    assert {f"{name}.mask.{kind}" for name in finished for kind in ("gif", "json")} <= made
    assert not {name for name in made if name.startswith(".")}
    assert {name.partition(".")[0] for name in made} <= finished | stopped
    assert len(finished) < len(tasks)
    done = [frames for name in finished for frames in told[name]]
    assert min(done) < max(done)  # progress comes while a task is done, not only at its end


def one_error(result: Result) -> str:
    """The one line that a command says which could do nothing."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_what_stops_all_is_one_line(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(TINY, "model")
    Path("model/config.json").write_text("{}")
    assert "model/config.json: " in one_error(run("trace", "in/a.mp4", "--model", "model"))
    line = one_error(run("trace", "in/a.mp4", *PATCH_DIFF, "--device", "cuda"))
    assert "no machine of the Ray cluster has 1 CPU and 1 GPU for a worker" in line
    line = one_error(run("trace", "in/a.mp4", *PATCH_DIFF, "--device", "cuda:1"))
    assert "Ray assigns GPUs; with --engine ray give --device cuda" in line
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "__version__", "0.0.1")  # as of a driver that is older
        line = one_error(run("trace", "in/a.mp4", *PATCH_DIFF))
    assert "but this machine has 0.0.1; install the same version on every machine" in line


@pytest.mark.parametrize("where", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"])
def test_no_cluster_at_the_address(folder: Path, where: str) -> None:
    arguments = ["trace", "in", *PATCH_DIFF, "--engine", "ray", "--address", where]
    assert where in one_error(CliRunner().invoke(cli, arguments))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError) as raised:
        ray_engine.ray_engine(workers=1, address=None, cpus_per_worker=1, gpus_per_worker=0)
    assert raised.value.hint == "pip install 'autogaze-cli[ray]'"


_HEAD = """
import json, sys, time
from ray.cluster_utils import Cluster
cluster = Cluster()
node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False)
processes = [one.process.pid for kind in node.all_processes.values() for one in kind]
print(json.dumps([cluster.address, processes]), flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_a_head_that_is_lost(folder: Path) -> None:
    """The run ends in half of the time after which Ray would end it; the next goes on."""
    for n in range(12):
        shutil.copy(ROOT / "fixtures/dog.mp4", folder / "in" / f"{n}.mp4")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    head = subprocess.Popen(
        [sys.executable, "-c", _HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert head.stdout is not None
    address, processes = json.loads(head.stdout.readline())
    command = ("mask", "in", "-o", "out", *PATCH_DIFF, "--inference-width", "640")
    ray = ("--engine", "ray", "--address", address, "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", *command, *ray],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"RAY_gcs_rpc_server_reconnect_timeout_s": "8"},
    )
    while not list((folder / "out").glob("*.mask.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < 30
    head.kill()
    head.communicate()
    assert process.returncode == 3, errors
    assert f"Error: the head of the Ray cluster at {address} does not answer any more" in errors
    assert "Traceback" not in errors
    made = tree(folder / "out")
    assert not [name for name in made if ".autogaze-" in name]
    assert 2 <= len(made) < 32
    again = subprocess.run(
        [sys.executable, "-m", "autogaze_cli", *command, "--resume"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    whole = tree(folder / "out")
    assert len(whole) == 32
    assert made.items() <= whole.items()
