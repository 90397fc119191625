"""What a gaze source yields depends on the frames and the settings, not on how work is divided."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.sources.model import AutoGazeSource
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.settings import Visualization

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODES: list[dict[str, Any]] = [
    {"mode": "resize"},
    {"mode": "tiled"},
    {"mode": "tiled-full"},
    {"mode": "tiled-full", "stride": 150},
    {"mode": "tiled", "tile_size": 120},
]


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Three frames of 500 x 300 pixels: tiles of every mode reach over the edge."""
    return list(read_frames(FIXTURES / "dog.mp4", Sampling(frames=3, width=500, height=300)))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """PyTorch's number of threads is one for the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def gaze(frames: list[Frame], **settings: Any) -> list[FrameTrace]:
    tiny = str(FIXTURES / "parity-tiny")
    source = open_source(GazeSettings(mask_source="autogaze", model=tiny, **settings))
    return [gaze for _, gaze in source.trace(frames)]


def panels(frames: list[Frame], gazes: list[FrameTrace]) -> Iterator[bytes]:
    """The mask and the output of each frame."""
    compositor = Compositor(Visualization(mask_visualization="overlay"))
    for frame, gaze in zip(frames, gazes, strict=True):
        view = compositor.step(frame.rgb, gaze.fixations)
        yield view.mask_panel.tobytes() + view.output.tobytes()


@pytest.mark.parametrize("settings", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
def test_tiles_run_together_change_nothing(frames: list[Frame], settings: dict[str, Any]) -> None:
    frames = frames[:2]
    expected = gaze(frames, **settings, tile_batch_size=45, threads=1)
    drawn = list(panels(frames, expected))
    tiles = {"resize": 1, "tiled": 6, "tiled-full": 6, "tiled-full-150": 8, "tiled-120": 15}
    assert len(expected[0].num_gazing) == tiles["-".join(map(str, settings.values()))]
    assert sum(len(frame.fixations) for frame in expected) > 80
    for batch in (1, 3, 8):
        found = gaze(frames, **settings, tile_batch_size=batch, threads=1)
        for ours, theirs in zip(found, expected, strict=True):
            columns, others = ours.fixations.columns(), theirs.fixations.columns()
            noisy, sure = columns.pop("confidence"), others.pop("confidence")
            for name, column in columns.items():
                np.testing.assert_array_equal(column, others[name], name)
            # Sums on a GPU may be rounded otherwise in another batch; on a CPU nothing changes.
            atol = 1e-4 if torch.cuda.is_available() else 0
            np.testing.assert_allclose(noisy, sure, rtol=0, atol=atol)
            np.testing.assert_array_equal(ours.num_gazing, theirs.num_gazing)
            assert ours.stop_probability == theirs.stop_probability
        assert list(panels(frames, found)) == drawn


def test_progress_is_told_within_a_clip(frames: list[Frame]) -> None:
    tiny = str(FIXTURES / "parity-tiny")
    source = open_source(
        GazeSettings(
            mask_source="autogaze",
            model=tiny,
            mode="tiled",
            tile_batch_size=4,
            clip_len=2,
            max_gaze_tokens_each_frame=1,
        )
    )
    told: list[float] = []
    at_frame = [(frame.index, told[-1]) for frame, _ in source.trace(frames, told.append)]
    assert told == pytest.approx([2 * 4 / 6, 2, 2 + 4 / 6, 3])  # of 6 tiles
    assert at_frame == [(0, 2), (1, 2), (2, 3)]


def tiny(**settings: Any) -> AutoGazeSource:
    model = str(FIXTURES / "parity-tiny")
    source = open_source(GazeSettings(mask_source="autogaze", model=model, **settings))
    assert isinstance(source, AutoGazeSource)
    return source


def test_budgets_of_a_model() -> None:
    """Of 265 ids; the model's own is 0.75 of them."""
    assert tiny().max_gaze_tokens_each_frame == 198
    assert tiny(task_loss_requirement=0.5).max_gaze_tokens_each_frame == 198
    assert tiny(gazing_ratio=0.1).max_gaze_tokens_each_frame == 26
    assert tiny(gazing_ratio=1).max_gaze_tokens_each_frame == 265
    assert tiny(max_gaze_tokens_each_frame=5, top_k=7).max_gaze_tokens_each_frame == 5
    assert tiny().task_loss_requirement == pytest.approx(0.7)
    assert tiny(task_loss_requirement=0.5).task_loss_requirement == 0.5
    assert tiny(task_loss_requirement=None).task_loss_requirement is None
    exact = tiny(exact=True, max_gaze_tokens_each_frame=5, task_loss_requirement=0.5)
    assert exact.task_loss_requirement is None


def test_a_source_knows_its_models_ids() -> None:
    own = tiny()
    assert (own.scales, own.num_vision_tokens_each_frame) == ("32+64+112+224", 265)
    target = tiny(target_scales="56+112+196+392", target_patch_size=14)
    assert (target.scales, target.num_vision_tokens_each_frame) == ("56+112+196+392", 1060)
    # Four tiles of 196 pixels, each a stream with a memory of its own.
    assert len(target.new_state(3, clips=2).caches) == 8
    assert len(own.new_state(3, clips=2).caches) == 2
    assert own.new_state(3).horizon_frames == 3


def test_a_part_of_a_source_stays_where_it_is() -> None:
    source = tiny(device="cpu")
    other = source.with_settings(replace(source.settings, device="cuda:all"))
    assert (other.settings.device, other.autogaze) == ("cpu", source.autogaze)


@pytest.mark.parametrize("room", [1, 2, 3, 6])
def test_tiles_are_taken_as_memory_allows(
    frames: list[Frame], room: int, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    settings: dict[str, Any] = {"mode": "tiled", "tile_batch_size": 6, "device": "cpu"}
    settings |= {"max_gaze_tokens_each_frame": 3}
    (expected,) = gaze(frames[:1], **settings)
    source = tiny(**settings)
    generate, tried = source.autogaze.generate, list[int]()

    def cramped(tiles: torch.Tensor, **options: Any) -> Any:
        tried.append(len(tiles))
        if len(tiles) > room:
            raise MemoryError
        return generate(tiles, **options)

    monkeypatch.setattr(source.autogaze, "generate", cramped)
    ((_, found),) = source.trace(frames[:1])
    assert tried == {1: [6, 3, *[1] * 6], 2: [6, 3, *[1] * 6], 3: [6, 3, 3], 6: [6]}[room]
    assert found.fixations.token.tolist() == expected.fixations.token.tolist()
    assert found.fixations.tile.tolist() == expected.fixations.tile.tolist()
    assert ("no memory for 6 tiles at a time: taking 3;" in caplog.text) == (room < 6)


@pytest.mark.parametrize(
    ("error", "tried"), [(MemoryError(), [6, 3, 1]), (RuntimeError("broken"), [6])]
)
def test_no_room_for_one_tile_or_another_error_ends_it(
    frames: list[Frame], error: Exception, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, seen = tiny(mode="tiled", tile_batch_size=6, device="cpu"), list[int]()

    def fails(tiles: torch.Tensor, **options: Any) -> Any:
        seen.append(len(tiles))
        raise error

    monkeypatch.setattr(source.autogaze, "generate", fails)
    with pytest.raises(type(error)):
        list(source.trace(frames[:1]))
    assert seen == tried


def test_threads_change_nothing(frames: list[Frame]) -> None:
    one, two = (gaze(frames[:1], mode="tiled", threads=threads)[0].fixations for threads in (1, 2))
    for name, column in one.columns().items():
        np.testing.assert_array_equal(column, two.columns()[name], name)


def test_processes_with_other_threads_write_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for threads in ("1", "2"):
        out = tmp_path / threads
        command = [sys.executable, "-m", "autogaze_cli", "trace", str(FIXTURES / "dog.mp4")]
        command += ["--frames", "2", "--device", "cpu", "--out-dir", str(out)]
        env = os.environ | {"OMP_NUM_THREADS": threads, "OMP_DYNAMIC": "false"}
        subprocess.run(command, env=env, check=True, capture_output=True)
        written.append((out / "dog.trace.json").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("settings", MODES[:2], ids=["resize", "tiled"])
def test_a_clip_sees_only_its_own_frames(frames: list[Frame], settings: dict[str, Any]) -> None:
    chunked = gaze(frames, **settings, clip_len=2)
    alone = [*gaze(frames[:2], **settings), *gaze(frames[2:], **settings)]
    whole = gaze(frames, **settings, clip_len=16)
    for ours, theirs in zip(chunked, alone, strict=True):
        assert ours.fixations.token.tolist() == theirs.fixations.token.tolist()
    assert chunked[1].fixations.token.tolist() == whole[1].fixations.token.tolist()
    assert chunked[2].fixations.token.tolist() != whole[2].fixations.token.tolist()


def test_clips_side_by_side_are_the_same(frames: list[Frame]) -> None:
    tiny = str(FIXTURES / "parity-tiny")
    settings = GazeSettings(mask_source="autogaze", model=tiny, clip_len=1, threads=1)
    source, alone = open_source(settings), open_source(settings)
    assert isinstance(source, AutoGazeSource)
    source.replicas = [AutoGazeSource(settings), AutoGazeSource(settings)]
    found, wanted = list(source.trace(frames)), list(alone.trace(frames))
    assert [frame.index for frame, _ in found] == [frame.index for frame, _ in wanted]
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        assert one.fixations.columns().keys() == other.fixations.columns().keys()
        for name, column in one.fixations.columns().items():
            np.testing.assert_array_equal(column, other.fixations.columns()[name])


def test_side_by_side_may_be_left_early(frames: list[Frame]) -> None:
    tiny = str(FIXTURES / "parity-tiny")
    source = open_source(GazeSettings(mask_source="autogaze", model=tiny, clip_len=1))
    assert isinstance(source, AutoGazeSource)
    source.replicas = [AutoGazeSource(source.settings)]
    first = next(iter(source.trace(frames)))
    assert first[0].index == frames[0].index


def test_only_all_gpus_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    tiny = str(FIXTURES / "parity-tiny")
    source = open_source(GazeSettings(mask_source="autogaze", model=tiny, device="cpu"))
    assert isinstance(source, AutoGazeSource)
    assert source.replicas == []
