"""Memory that runs out: fewer tiles are gazed at together, and results are the same."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autogaze_cli.errors import as_autogaze_error, is_out_of_memory
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.trace import FrameTrace
from tests.faults.conftest import DOG, QUICK, ROOT, environment, run

TINY = str(ROOT / "fixtures/parity-tiny")

_LIMITED = """
import json, logging, resource, sys
from pathlib import Path
from autogaze_cli.errors import as_autogaze_error
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames

model, video, batch, room = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
logging.getLogger("autogaze_cli").addHandler(logging.StreamHandler())
tiled = dict(mask_source="autogaze", model=model, device="cpu", mode="tiled-full", threads=1)
tiled |= dict(clip_len=4, max_gaze_tokens_each_frame=8)
source = open_source(GazeSettings(tile_batch_size=batch, **tiled))
frames = list(read_frames(video, Sampling(width=1792, height=1120, frames=4)))
small = [f for f in read_frames(video, Sampling(width=224, height=224, frames=4))]
list(source.trace(small))  # what is allocated once
if room:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (room << 20),) * 2)
try:
    traces = [trace for _, trace in source.trace(frames)]
except (MemoryError, RuntimeError) as error:
    raise SystemExit(as_autogaze_error(error, "big.mp4").line())
print(json.dumps([[t.fixations.token.tolist(), t.fixations.tile.tolist()] for t in traces]))
"""


def limited(batch: int, room: int) -> subprocess.CompletedProcess[str]:
    """The gaze at 40 tiles with so many MiB to spare; 0 = any."""
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, TINY, str(DOG), str(batch), str(room)],
        env=environment(MALLOC_ARENA_MAX="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_little_memory_makes_smaller_batches_and_the_same_gaze() -> None:
    whole, little = limited(40, 0), limited(40, 120)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert little.returncode == 0, little.stderr
    assert "no memory for 40 tiles at a time: taking 20; results are the same\n" in little.stderr
    assert json.loads(little.stdout) == json.loads(whole.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_no_memory_for_one_tile_is_one_line() -> None:
    done = limited(40, 1)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("big.mp4: out of memory")


def gaze(batch: int) -> tuple[AutoGazeSource, list[FrameTrace]]:
    source = open_source(
        GazeSettings(
            mask_source="autogaze",
            model=TINY,
            device="cuda",
            mode="tiled-full",
            tile_batch_size=batch,
        )
    )
    assert isinstance(source, AutoGazeSource)
    frames = list(read_frames(DOG, Sampling(width=1792, height=1120, frames=16)))
    return source, [trace for _, trace in source.trace(frames)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_little_memory_on_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # sources that earlier tests have left keep the memory of their graphs
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    gaze(40)
    peak = torch.cuda.max_memory_reserved()
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(peak * 0.7 / total)
    try:
        source, little = gaze(40)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert source._tile_batch_size < 40
    assert "no memory for 40 tiles at a time" in caplog.text
    _, whole = gaze(source._tile_batch_size)  # others may order equal scores otherwise
    for one, other in zip(whole, little, strict=True):
        np.testing.assert_array_equal(one.fixations.token, other.fixations.token)
        np.testing.assert_array_equal(one.num_gazing, other.num_gazing)


def test_errors_of_pytorch_that_mean_no_memory() -> None:
    with pytest.raises(RuntimeError, match="allocate") as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert as_autogaze_error(caught.value, "a.mp4").line() == (
        "a.mp4: out of memory; lower --tile-batch-size, --clip-len or --workers"
    )
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shape '[2]' is invalid for input of size 3"))


def test_a_filter_that_does_not_fit_is_no_memory() -> None:
    error = as_autogaze_error(RuntimeError("Could not allocate AVFilterContext"), "a.mp4")
    assert error.line().startswith("a.mp4: out of memory; lower ")


def test_a_library_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))

    done = run("mask", "none.mp4", *QUICK, "-o", tmp_path, preexec_fn=limited)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == "Error: no memory to load a library; raise the limit of memory (ulimit -v)"
