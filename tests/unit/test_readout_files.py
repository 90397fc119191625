"""Readouts as files: nothing is lost, equal readouts are equal bytes, the unknown is refused."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from safetensors.numpy import load_file, save_file

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError, FormatError, InputError, OutputError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.readout.document import EMITS
from autogaze_cli.trace import FrameTrace, Trace, read_trace

ROOT = Path(__file__).parents[2]
# Version 1 as it was first written: of the recorded gaze tiny-b1-t2-short, with every array.
GOLDEN = {form: ROOT / "tests" / "golden" / f"v1.readout.{form}" for form in ro.FORMATS}
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "readout.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
HEADER = read_trace(ROOT / "fixtures" / "traces" / "v1.trace.json").header
LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
Document = dict[str, Any]


def assert_equal(a: ro.Readout, b: ro.Readout) -> None:
    assert a.header == b.header
    assert list(a.arrays) == list(b.arrays)
    for name, array in a.arrays.items():
        assert (array.dtype, array.shape) == (b.arrays[name].dtype, b.arrays[name].shape), name
        assert array.tobytes() == b.arrays[name].tobytes(), name


@st.composite
def readouts(draw: st.DrawFn) -> ro.Readout:
    tubelet, tiles = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    count = tubelet * draw(st.integers(1, 3))
    frames = []
    for t in range(count):
        ids = draw(st.lists(st.integers(0, 264), max_size=4))
        fixations = LAYOUT.fixations(ids, 0.5, tile=draw(st.integers(0, tiles - 1)))
        frames.append(
            FrameTrace(
                index=2 * t,
                time=Fraction(t, draw(st.integers(1, 30))),
                fixations=fixations,
                stop_probability=0.0,
                num_gazing=np.full(tiles, len(ids) + draw(st.integers(0, 2)), np.int32),
            )
        )
    emit = tuple(draw(st.lists(st.sampled_from(EMITS), min_size=1, unique=True)))
    return ro.readout_trace(
        Trace.from_frames(replace(HEADER, tile_count=tiles), frames),
        ro.ReadoutSettings(
            patch_h=draw(st.sampled_from([16, 32])),
            image_grid=ro.SparseReadoutGrid(3, draw(st.integers(1, 5))),
            clip_height=64,
            clip_width=64,
            readout_options=ro.SparseReadoutOptions(
                confidence_threshold=draw(st.sampled_from([0.0, 0.1, 0.5])),
                max_tokens_per_frame=draw(st.none() | st.integers(0, 5)),
            ),
            video_options=ro.SparseVideoReadoutOptions(
                tubelet_size=tubelet, min_tokens=draw(st.integers(0, 9))
            ),
            emit=emit,
            merge=draw(st.sampled_from([1, 2])) if "keep-indices" in emit else 1,
        ),
    )


@settings(max_examples=60, deadline=None)
@given(readouts())
def test_every_format_gives_back_what_was_written(readout: ro.Readout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for form in ro.FORMATS:
            first, second = Path(folder, f"a.{form}"), Path(folder, f"b.{form}")
            ro.write_readout(readout, first, form)
            again = ro.read_readout(first)
            assert_equal(readout, again)
            ro.write_readout(again, second, form)
            assert first.read_bytes() == second.read_bytes()
        document = json.loads(Path(folder, "a.json").read_text())
        VALIDATOR.validate(document)


@pytest.mark.parametrize("form", ro.FORMATS)
def test_version_1_is_read_and_written_as_ever(form: str, tmp_path: Path) -> None:
    readout = ro.read_readout(GOLDEN[form])
    assert_equal(readout, ro.read_readout(GOLDEN["json"]))
    ro.write_readout(readout, tmp_path / "again", form)
    assert (tmp_path / "again").read_bytes() == GOLDEN[form].read_bytes()


def test_what_a_readout_offers() -> None:
    readout = ro.read_readout(GOLDEN["npz"])
    header = readout.header
    assert (header.geometry.patch_h, header.geometry.patch_w) == (56, 32)
    assert (header.image_grid, header.video_grid) == (
        ro.SparseReadoutGrid(4, 4),
        ro.SparseVideoReadoutGrid(1, 4, 7),
    )
    assert header.source.num_vision_tokens_each_frame == 265
    assert [len(part) for part in readout.rects] == [3, 3]
    assert [len(part) for part in readout.image_tokens] == [4, 2]
    assert (header.projected_tokens, len(readout.video_tokens)) == (11, 24)
    projected = ro.frame_readout_tokens_to_video_coords(
        readout.image_tokens,
        header.image_grid,
        header.video_grid,
        header.video_options.with_min_tokens(0),
    )
    assert readout.coords[:11].tolist() == projected.tolist()
    config = ro.ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)
    rects = ro.generated_to_frame_readout_rects(readout.gazing_info, config, 0)
    kept = [part[:3].tolist() for part in rects]  # the golden's confidences are all 1
    assert kept == [part.tolist() for part in readout.rects]
    only = ro.Readout(
        header=replace(header, emit=("rects",), projected_tokens=None),
        arrays={
            name: array
            for name, array in readout.arrays.items()
            if name.startswith(("frame_", "rect"))
        },
    )
    with pytest.raises(ConfigError, match=r"no coords, only rects"):
        _ = only.coords


def test_the_schema_is_one_and_fits_what_is_written() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(GOLDEN["json"].read_text())
    VALIDATOR.validate(document)
    kept = {"merge", "route", "keep_indices", "grid_thw", "mrope"}
    assert list(document) == [name for name in SCHEMA["properties"] if name not in kept]
    trace = json.loads((ROOT / "docs" / "schemas" / "trace.schema.json").read_text())
    of_source = SCHEMA["$defs"]["TraceHeader"]["properties"].keys()
    assert of_source == trace["properties"].keys() - {"frames"}


# What a reader and a schema both refuse.
BROKEN: list[Callable[[Document], Any]] = [
    lambda d: d.update(format="autogaze-trace"),
    lambda d: d.update(version=2),
    lambda d: d.update(version=True),
    lambda d: d.update(colour="red"),
    lambda d: d.pop("geometry"),
    lambda d: d.pop("source"),
    lambda d: d.pop("rect_offsets"),
    lambda d: d.pop("num_gazing_each_frame"),
    lambda d: d["source"].update(colour="red"),
    lambda d: d["source"].update(tile_count=0),
    lambda d: d["geometry"].update(depth=3),
    lambda d: d["geometry"].update(patch_h=16.5),
    lambda d: d["video_grid"].pop("width"),
    lambda d: d["readout_options"].update(dilation=-1),
    lambda d: d["readout_options"].update(confidence_threshold="high"),
    lambda d: d["video_options"].update(max_tokens=2.5),
    lambda d: d.update(emit=[]),
    lambda d: d.update(emit="rects"),
    lambda d: d.update(emit=["rects", "tokens", "coords", "colours"]),
    lambda d: d.update(projected_tokens=-1),
    lambda d: d.update(tool_version=1),
    lambda d: d.update(tool_version="1" * 65_537),
    lambda d: d.update(frame_index=[0, 0.5]),
    lambda d: d.update(frame_time_s=["0", "1"]),
    lambda d: d["rects"][0].append(1),
    lambda d: d["rects"].append([0, 0, 1, 1.5]),
    lambda d: d.update(image_tokens=7),
    lambda d: d["video_tokens"].append(-1),
    lambda d: d["coords"][3].pop(),
    lambda d: d["coords"][0].__setitem__(1, -1),
    lambda d: d["gazing_pos"][0].__setitem__(0, True),
    lambda d: d["if_padded_gazing"][0].__setitem__(0, 1),
]
# What only a reader can refuse, and the words it says it with.
CONTRADICTIONS: list[tuple[Callable[[Document], Any], str]] = [
    (
        lambda d: d.update(num_gazing_each_frame=[52.0, 0]),
        r"each_frame\[0\] is 52.0, not an integer",
    ),
    (lambda d: d["geometry"].update(frames=0), "frame count must be nonzero"),
    (lambda d: d["image_grid"].update(height=0), "image_grid"),
    (lambda d: d["geometry"].update(frames=3), "frames .3. must be divisible"),
    (lambda d: d["geometry"].update(frames=4), "video_grid"),
    (lambda d: d["video_grid"].update(width=8), "video_grid"),
    (lambda d: d["video_options"].update(tubelet_size=1), "tubelet_size"),
    (lambda d: d.update(emit=["rects", "tokens", "coords"]), "unknown 'gazing_pos'"),
    (lambda d: d.update(emit=["coords", "rects", "tokens", "gazing-info"]), "emit"),
    (lambda d: d.update(projected_tokens=None), "projected_tokens"),
    (lambda d: d.update(merge=65_537), "merge is 65537, not an integer of at most 65536"),
    (lambda d: d.update(projected_tokens=25), "projected_tokens is 25, not at most 24"),
    (lambda d: d.update(frame_index=[1, 1]), "frame_index"),
    (lambda d: d.update(frame_index=[0]), "shape of frame_index"),
    (lambda d: d.update(rect_offsets=[0, 9, 6]), "rect_offsets"),
    (lambda d: d.update(rect_offsets=[0, 3, 5]), "first and last of rect_offsets"),
    (lambda d: d["image_tokens"].__setitem__(0, 16), "image_tokens holds 16, not within 0 to 15"),
    (lambda d: d["video_tokens"].__setitem__(0, 28), "video_tokens holds 28"),
    (lambda d: d["coords"][0].__setitem__(3, 7), "coords"),
    (lambda d: d["coords"].reverse(), "those of video_tokens"),
    (lambda d: d["gazing_pos"].append(d["gazing_pos"][0]), "shape of gazing_pos"),
    (lambda d: d["gazing_pos"].append([1]), "rows of one length"),
    (lambda d: d.update(num_gazing_each_frame=[1, 2]), "shape of gazing_pos"),
    (lambda d: d["video_tokens"].__setitem__(0, 2**70), "video_tokens"),
]


def broken(change: Callable[[Document], Any], tmp_path: Path) -> tuple[Document, Path]:
    document = copy.deepcopy(json.loads(GOLDEN["json"].read_text()))
    change(document)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document))
    return document, path


@pytest.mark.parametrize("change", BROKEN)
def test_reader_and_schema_refuse(change: Callable[[Document], Any], tmp_path: Path) -> None:
    document, path = broken(change, tmp_path)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(FormatError, match=r"broken\.json: "):
        ro.read_readout(path)


def test_the_largest_number_is_that_of_64_bits(tmp_path: Path) -> None:
    document, path = broken(lambda d: d.update(frame_index=[0, 2**63 - 1]), tmp_path)
    VALIDATOR.validate(document)
    assert ro.read_readout(path).arrays["frame_index"].tolist() == [0, 2**63 - 1]
    document, path = broken(lambda d: d.update(frame_index=[0, 2**63]), tmp_path)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(FormatError, match="frame_index"):
        ro.read_readout(path)


@pytest.mark.parametrize(("change", "says"), CONTRADICTIONS)
def test_the_reader_refuses_contradictions(
    change: Callable[[Document], Any], says: str, tmp_path: Path
) -> None:
    _, path = broken(change, tmp_path)
    with pytest.raises(FormatError, match=says):
        ro.read_readout(path)


@pytest.mark.parametrize("form", ro.FORMATS)
def test_a_file_that_was_cut_short_is_refused(form: str, tmp_path: Path) -> None:
    data = GOLDEN[form].read_bytes()
    path = tmp_path / "cut"
    for part in (0, 1, 9, len(data) // 3, len(data) // 2, len(data) - 9, len(data) - 3):
        path.write_bytes(data[:part])
        with pytest.raises(FormatError):
            ro.read_readout(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind,frame", "sort,frame", "the second line"),
        ("rect,0,", "oval,0,", "line 5"),
        ("rect,1,,,", "rect,1,5,,", "line 8: index is '5', not empty, as in every rect"),
        ("frame,1,1,", "frame,7,1,", "frame of each frame"),
        (",0,,,,false", ",1,,,,false", "batch of each gaze"),
        ("rect,1,,,", "rect,2,,,", "frame of each rect"),
        ("image_token,0,,", "image_token,0,,,", "line "),
        (
            "image_token,0,,,,,,,10",
            "image_token,0,,,,,,,ten",
            "row 1 of image_token: token is 'ten', not an integer",
        ),
        (
            "frame,1,1,0.125",
            "frame,1,1,",
            "row 2 of frame: time_s is '', not a number such as 0.25",
        ),
        ("frame,1,1,0.125,,,,,,,,,,\n", "", "rows of frame|frame of each"),
        (",false\n", ",no\n", "row 1 of gaze: padded is 'no', not true or false"),
        ('"rects": [6, 4]', '"rects": [7, 4]', "shapes of the arrays"),
    ],
)
def test_a_damaged_csv_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    text = GOLDEN["csv"].read_text()
    assert old in text
    path = tmp_path / "broken.csv"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FormatError, match=says):
        ro.read_readout(path)


def test_a_csv_holds_only_what_its_header_emits(tmp_path: Path) -> None:
    first, rest = GOLDEN["csv"].read_text().split("\n", 1)
    path = tmp_path / "x.csv"
    path.write_text(first.replace(', "gazing-info"]', "]") + "\n" + rest)
    with pytest.raises(FormatError, match="rows of gaze is 52"):
        ro.read_readout(path)


def test_arrays_of_another_dtype_are_refused(tmp_path: Path) -> None:
    arrays = load_file(GOLDEN["safetensors"])
    header = {"header": ro.read_readout(GOLDEN["json"]).header.dump()}
    arrays["rects"] = arrays["rects"].astype(np.float64)
    save_file(arrays, tmp_path / "x.safetensors", header)
    with pytest.raises(FormatError, match="dtype of rects is 'float64', not float32"):
        ro.read_readout(tmp_path / "x.safetensors")
    save_file(arrays, tmp_path / "y.safetensors")
    with pytest.raises(FormatError, match="header"):
        ro.read_readout(tmp_path / "y.safetensors")
    np.savez(tmp_path / "z.npz", header=np.array(["x"], object))
    with pytest.raises(FormatError, match="header is not an array"):
        ro.read_readout(tmp_path / "z.npz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for suffix in ("json", "npz", "csv", "safetensors"):
        with pytest.raises(FormatError, match=r"autogaze-trace|the header"):
            ro.read_readout(ROOT / "fixtures" / "traces" / f"v1.trace.{suffix}")
    (tmp_path / "x").write_text("hello")
    with pytest.raises(FormatError, match="not a readout"):
        ro.read_readout(tmp_path / "x")
    with pytest.raises(InputError, match="cannot be read"):
        ro.read_readout(tmp_path / "missing")
    readout = ro.read_readout(GOLDEN["json"])
    with pytest.raises(ConfigError, match="format must be"):
        ro.write_readout(readout, tmp_path / "x", "parquet")
    with pytest.raises(OutputError, match="cannot be written"):
        ro.write_readout(readout, tmp_path / "no" / "x", "json")


@pytest.mark.parametrize("emit", [(), ("colours",), ("rects", "colours")])
def test_only_what_is_known_is_emitted(emit: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="emit must be some of"):
        ro.ReadoutSettings(emit=emit)


def test_a_trace_that_does_not_fit_is_refused_with_the_numbers() -> None:
    trace = read_trace(ROOT / "fixtures" / "traces" / "v1.trace.json")
    two = ro.ReadoutSettings(video_options=ro.SparseVideoReadoutOptions(tubelet_size=2))
    with pytest.raises(ConfigError, match=r"frames \(3\) .* tubelet size \(2\), and 1 would"):
        ro.readout_trace(trace, two)
    assert ro.readout_trace(ro.first_frames(trace, 2), two).header.geometry.frames == 2
    assert len(ro.first_frames(trace, 3)) == 3
    with pytest.raises(ConfigError, match="4 frames were requested, and the trace has 3"):
        ro.first_frames(trace, 4)
    with pytest.raises(ConfigError, match="the trace has no frames"):
        ro.readout_trace(ro.first_frames(trace, 0), ro.ReadoutSettings())
    unknown = replace(trace, header=replace(trace.header, width=0, height=0))
    with pytest.raises(ConfigError, match="how large its frames are") as caught:
        ro.readout_trace(unknown, ro.ReadoutSettings())
    assert "--clip-height" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="image readout grid dimensions must be nonzero"):
        ro.readout_trace(trace, ro.ReadoutSettings(image_grid=ro.SparseReadoutGrid(0, 3)))


def test_a_grid_beyond_what_ids_count_is_refused() -> None:
    trace = read_trace(ROOT / "fixtures" / "traces" / "v1.trace.json")
    huge = ro.ReadoutSettings(patch_h=1, patch_w=1, clip_height=65535, clip_width=65535)
    with pytest.raises(ConfigError, match="65535 x 65535 tokens is too large"):
        ro.readout_trace(trace, huge)
