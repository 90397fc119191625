"""``gazing_info`` against what the published implementation returned, recorded in ``fixtures``."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch.nn.functional import interpolate

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.inference import open_source
from autogaze_cli.media.video import Frame
from autogaze_cli.trace import FrameTrace, Trace, read_trace

FIXTURES = Path(__file__).parents[2] / "fixtures"
LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
CASES = sorted(path.name for path in (FIXTURES / "parity").iterdir() if path.is_dir())
TILED = [name for name in CASES if "tiles" in name]
Arrays = dict[str, NDArray[Any]]


@cache
def recorded(name: str) -> tuple[Arrays, NDArray[np.uint8]]:
    """What the published implementation returned (of tiles, a row a tile), and what it saw."""
    folder = FIXTURES / "parity" / name
    outputs: Arrays = load_file(folder / "outputs.safetensors")
    if name in TILED:
        outputs = {key.removeprefix("tile_"): outputs[key] for key in outputs if "tile_" in key}
    return outputs, np.load(folder / "frames.npz")["frames"]


def traced(outputs: Arrays, rows: slice) -> Trace:
    """Rows of a batch as the trace of so many tiles."""
    counts = outputs["num_gazing_each_frame"].astype(np.int64)
    ids, padded = outputs["gazing_pos"][rows], outputs["if_padded_gazing"][rows].astype(bool)
    frames = []
    for t, ends in enumerate(pairwise(np.concatenate([[0], counts.cumsum()]).tolist())):
        at = slice(*ends)
        tile, slot = np.nonzero(~padded[:, at])
        frames.append(
            FrameTrace(
                index=t,
                time=Fraction(t, 8),
                fixations=LAYOUT.fixations(
                    ids[:, at][tile, slot] - LAYOUT.global_ids(0, t), 1.0, slot=slot, tile=tile
                ),
                stop_probability=0.0,
                num_gazing=np.full(len(ids), counts[t], np.int32),
            )
        )
    header = read_trace(FIXTURES / "traces" / "v1.trace.json").header
    return Trace.from_frames(replace(header, tile_count=len(ids)), frames)


def all_patches(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Every patch of every frame in the order of the ids: ``[t * 265, 3, 16, 16]``."""
    video = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    patches = []
    for side in LAYOUT.scales:
        small = interpolate(video, size=(side, side), mode="area")
        cut = small.unfold(2, 16, 16).unfold(3, 16, 16)  # [t, 3, grid, grid, 16, 16]
        patches.append(cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2))
    return torch.cat(patches, dim=1).flatten(0, 1)


@pytest.mark.parametrize("name", CASES)
def test_the_arrays_are_upstream_s_own(name: str) -> None:
    outputs, _ = recorded(name)
    rows = len(outputs["gazing_pos"])
    for part in [slice(None), *(slice(row, row + 1) for row in range(rows))]:
        info = ro.gazing_info(traced(outputs, part))
        assert [array.dtype for array in info.values()] == [np.int64, np.bool_, np.int64]
        assert np.array_equal(info["num_gazing_each_frame"], outputs["num_gazing_each_frame"])
        assert np.array_equal(info["if_padded_gazing"], outputs["if_padded_gazing"][part] > 0)
        # What a padded slot holds has no meaning, and is the same nevertheless.
        assert np.array_equal(info["gazing_pos"], outputs["gazing_pos"][part])


def test_some_recorded_slots_are_padded() -> None:
    assert any(recorded(name)[0]["if_padded_gazing"].any() for name in CASES)


@pytest.mark.parametrize("name", [name for name in CASES if name not in TILED])
def test_gathered_patches_are_those_that_upstream_s_masks_pick(name: str) -> None:
    outputs, frames = recorded(name)
    for row in range(len(outputs["gazing_pos"])):
        patches = all_patches(frames[row])
        info = ro.gazing_info(traced(outputs, slice(row, row + 1)))
        # As the published integration does it: padded slots gather a dummy, and are dropped later.
        position = torch.from_numpy(info["gazing_pos"])
        padded = torch.from_numpy(info["if_padded_gazing"])
        gathered = patches[position.masked_fill(padded, 0)[0]][~padded[0]]
        # As its masks pick them: scale by scale, all cells of a frame in the order of their ids.
        masks = [outputs[f"gazing_mask_{scale}"][row] for scale in range(4)]
        picked = patches[torch.from_numpy(np.concatenate(masks, axis=1) > 0).flatten()]
        order = position[0][~padded[0]].argsort()
        assert len(picked) > 0
        assert torch.equal(gathered[order], picked)


def test_a_source_s_trace_gives_back_what_its_model_returned() -> None:
    source = open_source(
        GazeSettings(
            mask_source="autogaze",
            model=str(FIXTURES / "parity-tiny"),
            device="cpu",
            max_gaze_tokens_each_frame=24,
            task_loss_requirement=0.9,
        )
    )
    _, frames = recorded("tiny-b4-t4-stop")
    clip = frames[0]
    gaze = [
        pair[1]
        for pair in source.trace(
            Frame(index=t, time=Fraction(t), rgb=rgb) for t, rgb in enumerate(clip)
        )
    ]
    header = read_trace(FIXTURES / "traces" / "v1.trace.json").header
    info = ro.gazing_info(Trace.from_frames(replace(header, tile_count=1), gaze))
    output = source.generate(source.autogaze.preprocess(clip))  # type: ignore[attr-defined]
    for name, array in info.items():
        assert np.array_equal(array, getattr(output, name).numpy()), name
    points = ro.generated_to_readout_points(output, source.autogaze.config)[0]  # type: ignore[attr-defined]
    assert [frame.token.tolist() for frame in points] == [
        frame.fixations.token.tolist() for frame in gaze
    ]


def one_frame(num_gazing: int, **columns: Any) -> Trace:
    n = len(columns["token"])
    half = dict.fromkeys(("x", "y", "width", "height"), np.full(n, 0.5))
    frame = FrameTrace(
        index=3,
        time=Fraction(0),
        fixations=Fixations.from_columns(half | columns),
        stop_probability=0.0,
        num_gazing=np.array([num_gazing], np.int32),
    )
    header = read_trace(FIXTURES / "traces" / "v1.trace.json").header
    return Trace.from_frames(replace(header, tile_count=1), [frame])


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (one_frame(2, token=[-1]), "frame 3 has token -1 in slot 0, of 265 tokens and 2 slots"),
        (one_frame(2, token=[265]), "token 265"),
        (one_frame(1, token=[4, 5]), "slot 1, of 265 tokens and 1 slots"),
        (one_frame(2, token=[4, 5], slot=[1, 1]), "share a slot"),
    ],
)
def test_a_trace_that_contradicts_itself_is_refused(trace: Trace, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ro.gazing_info(trace)


def test_a_trace_without_a_model_is_refused() -> None:
    trace = one_frame(1, token=[0])
    without = replace(trace.header, scales=None, mask_source="patch-diff")
    with pytest.raises(ConfigError, match="needs the trace of a model, not of patch-diff"):
        ro.gazing_info(replace(trace, header=without))


def test_an_empty_trace_has_no_slots() -> None:
    header = read_trace(FIXTURES / "traces" / "v1.trace.json").header
    info = ro.gazing_info(Trace.from_frames(header, []))
    assert [array.shape for array in info.values()] == [(2, 0), (2, 0), (0,)]
