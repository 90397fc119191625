"""Which merged tokens a vision tower keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.trace import Trace, read_trace

TRACE = Path(__file__).parents[2] / "fixtures" / "traces" / "v1.trace.json"


@pytest.fixture(scope="module")
def trace() -> Trace:
    whole = read_trace(TRACE)
    return ro.first_frames(whole, len(whole) // 2 * 2)


def settings(trace: Trace, merge: int = 2, **bounds: int) -> ro.ReadoutSettings:
    return ro.ReadoutSettings(
        clip_height=224,
        clip_width=448,
        emit=("coords", "keep-indices"),
        merge=merge,
        video_options=ro.SparseVideoReadoutOptions(tubelet_size=2, **bounds),
    )


@pytest.mark.parametrize("merge", [1, 2, 7])
def test_a_group_is_kept_when_any_member_is(trace: Trace, merge: int) -> None:
    readout = ro.readout_trace(trace, settings(trace, merge))
    kept, coords = readout.keep_indices, readout.coords
    rows, cols = 14 // merge, 28 // merge
    wanted = {(t * rows + row // merge) * cols + col // merge for _, t, row, col in coords.tolist()}
    assert kept.indices.tolist() == sorted(wanted)
    assert kept.indices.dtype == np.int64
    assert kept.grid_thw.tolist() == [len(trace) // 2, 14, 28]
    t, row, col = kept.mrope.T
    assert ((t * rows + row) * cols + col == kept.indices).all()
    assert 0 < len(wanted) <= len(coords)


@pytest.mark.parametrize("count", [0, 3, 60])
def test_equal_bounds_give_exactly_that_many(trace: Trace, count: int) -> None:
    exact = settings(trace, min_tokens=count, max_tokens=count)
    kept = ro.readout_trace(trace, exact).keep_indices
    assert len(kept.indices) == len(kept.mrope) == count
    assert (np.diff(kept.indices) > 0).all()


def test_the_function_is_the_readout(trace: Trace) -> None:
    readout = ro.readout_trace(trace, settings(trace))
    header = readout.header
    kept = ro.keep_indices(
        trace, header.image_grid, header.video_grid, video_options=header.video_options, merge=2
    )
    for name in ("indices", "grid_thw", "mrope"):
        assert np.array_equal(getattr(kept, name), getattr(readout.keep_indices, name))


@pytest.mark.parametrize("form", ro.FORMATS)
def test_every_format_keeps_the_groups(trace: Trace, form: str, tmp_path: Path) -> None:
    readout = ro.readout_trace(trace, settings(trace))
    ro.write_readout(readout, tmp_path / "a", form)
    again = ro.read_readout(tmp_path / "a")
    assert again.header.merge == 2
    assert np.array_equal(again.keep_indices.indices, readout.keep_indices.indices)
    assert np.array_equal(again.keep_indices.mrope, readout.keep_indices.mrope)


def test_what_cannot_be_is_refused(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="groups of 4 x 4 patches do not divide"):
        ro.readout_trace(trace, settings(trace, merge=4))
    with pytest.raises(ConfigError, match="merge is for keep-indices alone"):
        ro.ReadoutSettings(merge=2)
    readout = ro.readout_trace(trace, settings(trace))
    swapped = dict(readout.arrays) | {"keep_indices": readout.arrays["keep_indices"][::-1]}
    with pytest.raises(FormatError, match=r"keep_indices is .* not ascending"):
        ro.Readout(header=readout.header, arrays=swapped)
    beyond = readout.arrays["keep_indices"].copy()
    beyond[-1] = len(trace) // 2 * 7 * 14
    with pytest.raises(FormatError, match=f"keep_indices holds {beyond[-1]}, not within 0"):
        ro.Readout(header=readout.header, arrays=dict(readout.arrays) | {"keep_indices": beyond})
    moved = dict(readout.arrays) | {"mrope": readout.arrays["mrope"] + 1}
    with pytest.raises(FormatError, match=r"mrope is .* not that of keep_indices"):
        ro.Readout(header=readout.header, arrays=moved)
