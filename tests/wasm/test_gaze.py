"""The page's C code against itself as WebAssembly, bit by bit, and against the engine."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.media.videos import read_frames
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.preprocess import cut_tiles, square
from tests.wasm.portable import Native, Portable, Wasm

pytestmark = pytest.mark.xdist_group("wasm")

Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def engine() -> AutoGaze:
    return load_model("kestrel")


@pytest.fixture(scope="module")
def dog() -> Frames:
    return np.stack([frame.rgb for frame in read_frames(Path("fixtures/dog.mp4"))])[::4]


def noise(seed: int, height: int, width: int, count: int) -> Frames:
    """Frames of blocks, some of which change: much to look at."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, height // 20 + 1, width // 20 + 1, 3), np.uint8)
    small[1:, ::2] = small[0, ::2]
    return small.repeat(20, axis=1).repeat(20, axis=2)[:, :height, :width]


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (224, 224), (100, 77), (225, 401)])
def test_inputs_are_the_processors(
    native: Portable, wasm: Portable, engine: AutoGaze, size: tuple[int, int]
) -> None:
    (frame,) = noise(1, *size, 1)
    wanted = square(engine.preprocess(frame[None]), 224)[0, 0].numpy()
    np.testing.assert_allclose(native.input(frame), wanted, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(wasm.input(frame), native.input(frame))


_REFUSED = """
import numpy as np, pytest, wasmtime
from scripts.build_wasm import WASM
from tests.wasm.conftest import KESTREL
from tests.wasm.portable import Portable, Wasm

page = Portable(Wasm(WASM), KESTREL)
with pytest.raises(wasmtime.Trap, match="unreachable"):
    page.input(np.zeros((1, 21_400, 3), np.uint8))
print("refused")
"""


def test_a_picture_beyond_the_memory_of_a_page_is_refused() -> None:
    """Resized it takes 2 ** 32 bytes and some more, which 32 bits count as a few.

    In a process of its own: the trap is a signal, whose handler a library of another test may have
    taken.
    """
    pytest.importorskip("wasmtime")
    done = subprocess.run(
        [sys.executable, "-c", _REFUSED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize(("mode", "tile"), [("tiled", 224), ("tiled-full", 224), ("tiled", 160)])
def test_tiles_are_the_engines(native: Portable, wasm: Portable, mode: str, tile: int) -> None:
    (frame,) = noise(2, 250, 430, 1)
    layout = TileLayout(mode=mode, height=250, width=430, tile_size=tile)  # type: ignore[arg-type]
    wanted = square(cut_tiles(torch.from_numpy(frame[None]), layout), 224)[:, 0].numpy()
    height, width = layout.canvas if mode == "tiled" else (0, 0)
    for (top, left), tensor in zip(layout.origins.tolist(), wanted, strict=True):
        place = ((width, height), left, top, tile)
        found = native.tile(frame, *place)
        # A place between pixels is a float32 product, whose rounding shows at the sharpest edges.
        np.testing.assert_allclose(found, tensor, atol=1e-4, rtol=0)
        np.testing.assert_array_equal(wasm.tile(frame, *place), found)


@pytest.mark.parametrize(
    ("most", "horizon", "requirement"), [(198, 4, 0.1), (61, 2, math.nan), (265, 0, 0.05)]
)
def test_webassembly_gives_the_bits_of_the_library(
    native: Portable, wasm: Portable, dog: Frames, most: int, horizon: int, requirement: float
) -> None:
    for clip in (dog[:3], noise(3, 200, 300, 3)):
        streams = native.stream(), wasm.stream()
        for frame in clip:
            native.put(frame)
            wasm.put(frame)
            a = native.gaze(streams[0], most, horizon, requirement)
            b = wasm.gaze(streams[1], most, horizon, requirement)
            for one, other in zip(a, b, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("horizon", "requirement"), [(4, 0.1), (16, None)])
def test_the_library_looks_where_the_engine_looks(
    native: Portable, engine: AutoGaze, dog: Frames, horizon: int, requirement: float | None
) -> None:
    stream, state = native.stream(), engine.new_state(horizon_frames=horizon)
    same = total = 0
    for frame in [*dog[:8], *noise(4, 360, 640, 4)]:
        native.put(frame)
        ids, confidences, _ = native.gaze(stream, 60, horizon, requirement or math.nan)
        gaze = engine.generate(
            engine.preprocess(frame[None]),
            max_gaze_tokens_each_frame=60,
            task_loss_requirement=requirement,
            state=state,
        )
        wanted = gaze.gazing_pos[0].numpy()
        total += max(len(ids), len(wanted))
        if len(ids) == len(wanted):
            equal = ids == wanted
            same += int(equal.sum())
            difference = np.abs(confidences - gaze.confidences[0].numpy())[equal]
            assert difference.max(initial=0) < 1e-3
    assert same / total > 0.99


def test_scores_are_the_engines(native: Portable, engine: AutoGaze, dog: Frames) -> None:
    native.put(dog[0])
    _, _, scores = native.gaze(native.stream(), 10)
    embedded, _ = engine.network.gazing_model.embed_video(
        square(engine.preprocess(dog[:1]), 224), None
    )
    (cache,) = engine._decoder.new_caches(1, 256)
    logits, losses = engine._decoder.heads(engine._decoder.prefill([cache], embedded[:, 0]))
    wanted = np.concatenate([logits.ravel(), losses.ravel()])
    np.testing.assert_allclose(scores, wanted, atol=2e-4, rtol=2e-5)


def test_a_model_of_other_sizes(library: Path, odd_model: Path) -> None:
    engine = load_model(odd_model)
    odd = Portable(Native(library), odd_model)
    stream, state = odd.stream(), engine.new_state(horizon_frames=3)
    for frame in noise(5, 224, 224, 6):
        odd.put(frame)
        ids, _, _ = odd.gaze(stream, 30, 3)
        gaze = engine.generate(
            engine.preprocess(frame[None]),
            max_gaze_tokens_each_frame=30,
            task_loss_requirement=None,
            state=state,
        )
        np.testing.assert_array_equal(ids, gaze.gazing_pos[0].numpy())


def test_a_long_stream_stays_exact_and_small(odd_model: Path, library: Path) -> None:
    """Within 350 frames positions are renumbered, and memory does not grow."""
    pytest.importorskip("wasmtime")
    machine = Wasm(Path("autogaze_cli/player/gaze.wasm"))
    page, odd = Portable(machine, odd_model), Portable(Native(library), odd_model)
    first, second = page.stream(), odd.stream()
    frames = noise(6, 224, 224, 7)
    sizes = []
    for number in range(350):
        page.put(frames[number % 7])
        odd.put(frames[number % 7])
        ids, confidences, _ = page.gaze(first, 20, 2)
        wanted, others, _ = odd.gaze(second, 20, 2)
        np.testing.assert_array_equal(ids, wanted)
        np.testing.assert_array_equal(confidences, others)
        sizes.append(machine.pages)
    assert len(set(sizes[20:])) == 1
