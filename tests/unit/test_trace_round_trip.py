"""Traces survive every format, byte for byte and number for number."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from autogaze_cli.errors import ConfigError, FormatError, InputError, OutputError
from autogaze_cli.gaze.fixations import COLUMNS, Fixations
from autogaze_cli.trace import (
    FORMATS,
    FrameTrace,
    Trace,
    TraceHeader,
    is_trace,
    open_trace_writer,
    read_trace,
    write_trace,
)
from autogaze_cli.trace.header import MOST_FPS, MOST_PIXELS, MOST_TOKENS
from autogaze_cli.trace.text import decimals

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "fixtures" / "traces"
INT31 = st.integers(0, 2**31 - 1)
INT63 = st.integers(0, 2**63 - 1)
PIXELS = st.integers(0, MOST_PIXELS)
TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too: file names may hold any byte
SHARE = st.floats(0, 1, width=32)
FRACTIONS = st.builds(Fraction, st.integers(-(2**63) + 1, 2**63 - 1), st.integers(1, 2**63 - 1))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.builds(
    TraceHeader,
    source=TEXT,
    source_width=PIXELS,
    source_height=PIXELS,
    width=PIXELS,
    height=PIXELS,
    fps=st.builds(Fraction, st.integers(1, MOST_FPS), st.integers(1, MOST_FPS)),
    mask_source=TEXT,
    model=st.none() | TEXT,
    model_sha256=st.none() | TEXT,
    scales=st.none() | TEXT,
    num_vision_tokens_each_frame=st.none() | st.integers(1, MOST_TOKENS),
    mode=TEXT,
    tile_size=PIXELS,
    stride=PIXELS,
    tile_count=st.integers(1, 3),
    settings=st.dictionaries(TEXT, JSON, max_size=3),
    tool_version=TEXT,
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    header = draw(HEADERS)
    tiles = header.tile_count
    elements: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(COLUMNS, INT31)
    extent = st.floats(float(np.float32(1e-6)), 1, width=32)
    elements |= {"x": SHARE, "y": SHARE, "confidence": SHARE, "width": extent, "height": extent}
    elements |= {"token": st.integers(-1, 2**31 - 1), "tile": st.integers(0, tiles - 1)}
    frames = []
    for index in sorted(draw(st.sets(INT63, max_size=4))):
        n = draw(st.integers(0, 3))
        columns = {
            name: draw(st.lists(element, min_size=n, max_size=n))
            for name, element in elements.items()
        }
        slots = draw(st.lists(INT31, min_size=tiles, max_size=tiles))
        frames.append(
            FrameTrace(
                index=index,
                time=draw(FRACTIONS),
                fixations=Fixations.from_columns(columns),
                stop_probability=draw(SHARE),
                num_gazing=np.array(slots, np.int32),
            )
        )
    return Trace.from_frames(header, frames)


def assert_same(left: Trace, right: Trace) -> None:
    assert left.header == right.header
    assert left.times == right.times
    other = right.columns()
    for name, column in left.columns().items():
        assert column.dtype == other[name].dtype, name
        assert column.shape == other[name].shape, name
        assert column.tobytes() == other[name].tobytes(), name  # -0.0 is not 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(trace=traces())
def test_round_trip(format: str, folder: Path, trace: Trace) -> None:
    path = folder / "trace"  # without a suffix: the content tells
    write_trace(trace, path, format)
    assert_same(read_trace(path), trace)
    written = path.read_bytes()
    with open_trace_writer(path, trace.header, format) as writer:
        for frame in trace:
            writer.write(frame)
    assert path.read_bytes() == written


@given(bits=st.lists(st.integers(0, 0x3F800000), min_size=1, max_size=50))
def test_decimals_come_back_exactly_even_through_a_double(bits: list[int]) -> None:
    column = np.array(bits, np.uint32).view(np.float32)
    back = [np.float32(float(text)) for text in decimals(column)]
    assert np.array(back, np.float32).tobytes() == column.tobytes()


def test_decimals_are_short_except_where_a_double_would_be_rounded_wrongly() -> None:
    column = np.array([0x3DCCCCCD, 0x15AE43FD], np.uint32).view(np.float32)
    assert np.float32(float("7.038531e-26")) != column[1]
    assert decimals(column) == ["0.1", "7.038530691851209e-26"]


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_version_1_stay_readable(format: str) -> None:
    trace = read_trace(GOLDEN / f"v1.trace.{format}")
    assert trace.header.source == "clips/Vögel.mp4"
    assert trace.header.fps == Fraction(30000, 1001)
    assert trace.header.settings == {"clip_len": 16, "gazing_ratio": 0.25, "stride": None}
    assert trace.times == (Fraction(0), Fraction(1001, 30000), Fraction(1001, 10000))
    assert trace.index.tolist() == [0, 1, 3]
    assert trace.offsets.tolist() == [0, 3, 3, 4]
    assert trace.num_gazing.tolist() == [[3, 1], [0, 0], [8, 10]]
    assert trace.stop_probability.tolist() == [1.0, 0.0, np.float32(0.3)]
    assert trace.fixations.x.tolist() == [np.float32(1 / 28), np.float32(5 / 6), 0.25, 0.5]
    assert trace.fixations.token.tolist() == [69, 26, 3, -1]
    assert trace.fixations.confidence.view(np.uint32).tolist() == [
        0x3F400000,
        0x3DCCCCCD,
        0x15AE43FD,
        0,
    ]
    assert_same(trace, read_trace(GOLDEN / "v1.trace.json"))


@pytest.mark.parametrize("format", ["json", "csv", "safetensors"])
def test_what_is_written_does_not_change(format: str, tmp_path: Path) -> None:
    golden = GOLDEN / f"v1.trace.{format}"
    write_trace(read_trace(golden), tmp_path / "trace", format)
    assert (tmp_path / "trace").read_bytes() == golden.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_trace_without_frames_is_a_trace(format: str, tmp_path: Path) -> None:
    header = read_trace(GOLDEN / "v1.trace.json").header
    path = tmp_path / "empty"
    write_trace(Trace.from_frames(header, []), path, format)
    assert is_trace(path)
    trace = read_trace(path)
    assert (trace.header, len(trace), list(trace), len(trace.fixations)) == (header, 0, [], 0)


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_do_not_depend_on_time_or_place(format: str, tmp_path: Path) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    digests = set()
    for name in ("one", "another"):
        path = tmp_path / name / f"{name}.{format}"
        path.parent.mkdir()
        write_trace(trace, path, format)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    if format == "npz":
        with zipfile.ZipFile(path) as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_reader_of_the_format_page_works() -> None:
    page = (ROOT / "docs" / "trace_format.md").read_text()
    code = re.search(r"```python\n(import json.*?)```", page, re.DOTALL)
    assert code
    script = code[1].replace("birds.trace.json", str(GOLDEN / "v1.trace.json"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "0.000 s: a cell with its corner at 11.4, -0.0 pixels",
        "0.000 s: a cell with its corner at 510.5, 0.0 pixels",
        "0.000 s: a cell with its corner at 160.0, 0.0 pixels",
        "0.100 s: a cell with its corner at 240.0, 315.0 pixels",
    ]


def test_other_libraries_read_the_binary_forms() -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    tensors = load_file(GOLDEN / "v1.trace.safetensors")
    with np.load(GOLDEN / "v1.trace.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["header"])) == trace.header.to_mapping()
        for name, column in trace.columns().items():
            assert np.array_equal(arrays[name], column)
            assert np.array_equal(tensors[name], column)


_PEAK = """
import resource, sys
from pathlib import Path
from fractions import Fraction
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.trace import FrameTrace, open_trace_writer, read_trace

golden, path, format, count = sys.argv[1:]
trace = read_trace(golden)
one = trace.frame(0)
fixations = Fixations.concatenate([one.fixations] * 100)
with open_trace_writer(path, trace.header, format) as writer:
    for index in range(int(count)):
        writer.write(FrameTrace(index, Fraction(index, 30), fixations, 0.5, one.num_gazing))
    writer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak // 1024, Path(path).stat().st_size >> 20)
    print(*sorted({"torch", "av"} & set(sys.modules)))
"""


@pytest.mark.parametrize("format", FORMATS)
def test_memory_does_not_grow_with_the_video(format: str, tmp_path: Path) -> None:
    peaks, sizes = [], []
    for count in (10, 1500):
        run = subprocess.run(
            [
                sys.executable,
                "-c",
                _PEAK,
                GOLDEN / "v1.trace.json",
                tmp_path / "x",
                format,
                str(count),
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        peak, size, *heavy = run.stdout.split()
        peaks.append(int(peak))
        sizes.append(int(size))
        assert not heavy, "torch or av has been imported"
    assert sizes[1] >= 15
    assert peaks[1] - peaks[0] < 8


@pytest.mark.parametrize("format", FORMATS)
def test_an_exception_leaves_no_file(format: str, tmp_path: Path) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")

    def interrupted() -> None:
        with open_trace_writer(tmp_path / "x", trace.header, format) as writer:
            writer.write(trace.frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_writer_refuses_what_a_reader_would(format: str, tmp_path: Path) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    path = tmp_path / "x"
    with open_trace_writer(path, trace.header, format) as writer:
        writer.write(trace.frame(1))
        with pytest.raises(FormatError, match=re.escape(f"{path}: index 0 follows 1")):
            writer.write(trace.frame(0))
        bad = Fixations.from_columns({"x": [0.5], "y": [np.nan], "width": [1], "height": [1]})
        message = re.escape(f"{path}: y[0] of frame 5 is nan, not within 0 to 1")
        with pytest.raises(FormatError, match=message):
            writer.write(FrameTrace(5, Fraction(1), bad, 0.0, np.zeros(2, np.int32)))
        with pytest.raises(FormatError, match=r"shape of num_gazing of frame 5 is \(1,\)"):
            writer.write(FrameTrace(5, Fraction(1), Fixations.empty(), 0.0, np.zeros(1, np.int32)))
    assert read_trace(path).index.tolist() == [1]


def test_errors_of_the_file_system_and_of_the_caller(tmp_path: Path) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    for format in FORMATS:
        with pytest.raises(OutputError, match="missing/x: cannot be written: No such file"):
            open_trace_writer(tmp_path / "missing" / "x", trace.header, format)
    with pytest.raises(OutputError, match="/dev/full: cannot be written: No space left"):
        write_trace(trace, "/dev/full", "json")
    assert Path("/dev/full").exists()
    with pytest.raises(
        ConfigError, match="format must be one of json, npz, safetensors, csv, not 'xml'"
    ):
        write_trace(trace, tmp_path / "x", "xml")
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        read_trace(tmp_path / "nothing")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_trace(tmp_path)
    with pytest.raises(ConfigError, match="has no clip 1"):
        read_trace(GOLDEN / "v1.trace.json", clip=1)
