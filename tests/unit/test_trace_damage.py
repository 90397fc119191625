"""A damaged, foreign or newer file is refused with the file and the field named."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from autogaze_cli.errors import FormatError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.reading import DOCUMENT_VARIABLE
from autogaze_cli.trace import FORMATS, FrameTrace, Trace, TraceHeader, read_trace

GOLDEN = Path(__file__).parents[2] / "fixtures" / "traces"
FIXATIONS = "frames[0].fixations"


def refused(path: Path) -> str:
    """The message with which a file is refused, without its path, which must come first."""
    with pytest.raises(FormatError) as caught:
        read_trace(path)
    message = caught.value.line()
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("format", FORMATS)
def test_every_truncation_is_refused(format: str, tmp_path: Path) -> None:
    whole = (GOLDEN / f"v1.trace.{format}").read_bytes()
    path = tmp_path / "x"
    # Without its last newline a JSON document is still whole.
    for length in range(
        0, len(whole) - (2 if format == "json" else 1), 1 if len(whole) < 2000 else 37
    ):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("format", FORMATS)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_byte_is_refused_or_gives_a_valid_trace(
    format: str, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray((GOLDEN / f"v1.trace.{format}").read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "x"
    path.write_bytes(damaged)
    try:
        trace = read_trace(path)
    except FormatError:
        return
    assert np.isfinite(trace.fixations.confidence).all()
    assert trace.offsets[-1] == len(trace.fixations)


def edit_json(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads((GOLDEN / "v1.trace.json").read_text())
    change(document)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    return path


def setter(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return change


X = ("frames", 0, "fixations", "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setter("format", to="autogaze-mask"), "format is 'autogaze-mask', not 'autogaze-trace'"),
        (lambda d: d.pop("format"), "format is None, not 'autogaze-trace'"),
        (setter("version", to=2), "version is 2, and this program knows 1 only"),
        (setter("version", to=True), "version is True"),
        (lambda d: d.pop("stride"), "the header has no 'stride'"),
        (setter("colour", to=1), "the header has an unknown 'colour'"),
        (setter("tile_count", to=0), "tile_count is 0, not an integer of at least 1"),
        (setter("width", to=4.5), "width is 4.5, not an integer"),
        (setter("width", to=2**64), "width is 18446744073709551616, not"),
        (setter("fps", to=30), "fps is 30, not a fraction"),
        (setter("fps", to="30/0"), "fps is '30/0', not a fraction"),
        (setter("fps", to="0"), "fps is '0', not a fraction above 0"),
        (setter("fps", to="1e9"), "fps is '1e9', not a fraction"),
        (setter("source", to=None), "source is None, not text"),
        (setter("model", to=3), "model is 3, not text or null"),
        (setter("settings", to=[]), "settings is [], not an object"),
        (lambda d: d.pop("frames"), "frames is None, not a list"),
        (setter("frames", to={}), "frames is {}, not a list"),
        (setter("frames", 1, to=7), "frames[1] is 7, not an object"),
        (lambda d: d["frames"][0].pop("time"), "frames[0] has no 'time'"),
        (setter("frames", 0, "colour", to=1), "frames[0] has an unknown 'colour'"),
        (setter("frames", 0, "index", to="0"), "frames[0].index is '0', not an integer"),
        (setter("frames", 2, "index", to=1), "index[2] is 1, after 1: it must ascend"),
        (setter("frames", 1, "time", to=0.1), "frames[1].time is 0.1, not a fraction"),
        (setter("frames", 1, "time", to="9999999999999999999"), "frames[1].time is '9999999999"),
        (setter("frames", 1, "time_s", to=0.5), "frames[1].time_s is 0.5, not 0.0333"),
        (
            setter("frames", 1, "stop_probability", to="no"),
            "frames[1].stop_probability is 'no', not",
        ),
        (
            setter("frames", 1, "stop_probability", to=1.5),
            "frames[1].stop_probability is 1.5, not a number of at most 1",
        ),
        (
            setter("frames", 0, "num_gazing", to=[1]),
            "shape of num_gazing of frame 0 is (1,), not (2,)",
        ),
        (setter("frames", 0, "num_gazing", to=3), "frames[0].num_gazing is 3, not a list"),
        (
            setter("frames", 0, "num_gazing", to=[1, -1]),
            "frames[0].num_gazing[1] is -1, not an integer of at least 0",
        ),
        (setter("frames", 0, "fixations", to=[]), f"{FIXATIONS} is [], not an object"),
        (lambda d: d["frames"][0]["fixations"].pop("y"), f"{FIXATIONS} has no 'y'"),
        (setter("frames", 0, "fixations", "z", to=[]), f"{FIXATIONS} has an unknown 'z'"),
        (setter(*X, to=[0.5]), f"length of {FIXATIONS}.y is 3, not that of x"),
        (setter(*X, to=0.5), f"{FIXATIONS}.x is 0.5, not a list"),
        (setter(*X, to=[0.5, True, 0]), f"{FIXATIONS}.x[1] is True, not a number"),
        (setter(*X, to=[0.5, "1", 0]), f"{FIXATIONS}.x[1] is '1', not a number"),
        (setter(*X, to=[10**400, 1, 0]), f"{FIXATIONS}.x[0] is "),
        (setter(*X, to=[0.5, 1e300, 0]), f"{FIXATIONS}.x[1] is 1e+300, not a number of at most 1"),
        (setter(*X, to=[0.5, 0, -0.01]), f"{FIXATIONS}.x[2] is -0.0"),
        (
            setter("frames", 2, "fixations", "width", to=[0]),
            "frames[2].fixations.width[0] is 0, not a number of at least 1e-06",
        ),
        (
            setter("frames", 2, "fixations", "tile", to=[2]),
            "tile[0] of frame 3 is 2, not within 0 to 1",
        ),
        (
            setter("frames", 2, "fixations", "token", to=[-2]),
            "frames[2].fixations.token[0] is -2, not an integer of at least -1",
        ),
        (
            setter("frames", 2, "fixations", "slot", to=[1.5]),
            "frames[2].fixations.slot[0] is 1.5, not an integer",
        ),
        (
            setter("frames", 2, "fixations", "grid", to=[2**31]),
            "frames[2].fixations.grid[0] is 2147483648",
        ),
    ],
)
def test_json_fields(change: Callable[[Any], object], message: str, tmp_path: Path) -> None:
    assert refused(edit_json(tmp_path, change)).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"tile_size": 224',
            '"tile_size": 224, "tile_size": 224',
            "the file has 'tile_size' twice",
        ),
        ("0.8333333", "NaN", "the file holds NaN, which JSON has no number for"),
        ("0.8333333", "-Infinity", "the file holds -Infinity"),
        ('"settings": {', '"settings": {"a": {"b": 1, "b": 2}, ', "the file has 'b' twice"),
        ('"settings": {', '"settings": ' + "[" * 100_000, "the file is not JSON"),
        ('"width": 448', '"width": ' + "9" * 5000, "the file is not JSON"),
        ('"x": [', '"x": [[', "the file is not JSON at line 26"),
        ('"tiny"', '"\xff"', "is not text at byte 218"),
    ],
)
def test_json_text(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (GOLDEN / "v1.trace.json").read_text()
    assert old in text
    path = tmp_path / "x.json"
    path.write_bytes(text.replace(old, new, 1).encode("latin-1"))
    assert refused(path).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 9', "version is 9, and this program knows 1 only"),
        ("# {", "# [{", "is not a trace"),
        ("index,time", "time,index", "the second line is "),
        ("0,0,0.0,1.0,3 1,0.25", "0,0,0.0,1.0,3 1", "line 5 is "),
        ("0,0,0.0,1.0,3 1,0.25", "0,0,0.0,0.5,3 1,0.25", "count of frames and fixations is (4, 4)"),
        ("0,0,0.0,1.0,3 1,0.25", "0,0,0.0,1.0,3 1,", "line 5: x is '', not a number such"),
        ("0.0,0,-1,0,7", "0.0,0,1_0,0,7", "line 7: token is '1_0', not an integer of at most 19"),
        ("0.0,0,-1,0,7", "0.0,+0,-1,0,7", "line 7: grid is '+0', not an integer"),
        ("0.0,0,-1,0,7", "0.0,0,-1,0, 7", "line 7: slot is ' 7', not an integer"),
        ("0.0,0,-1,0,7", "0.0,0,-1,0,\uff17", "line 7: slot is '\uff17', not an integer"),
        ("0.0,0,-1,0,7", f"0.0,0,-1,0,{'7' * 5000}", "line 7: slot is '777777777777...77777"),
        ("3,1001/10000,0.1001", "3,1001/10000,nan", "line 7: time_s is 'nan', not a number such"),
        ("3,1001/10000,0.1001", "3,1001/10000,.1001", "line 7: time_s is '.1001', not a number"),
        ("8 10", "8\u200310", r"line 7: num_gazing is '8\u200310', not an integer"),
        ("8 10", "", "line 7: num_gazing is '', not an integer"),
        (
            "0,0,0.0,1.0,3 1,0.25",
            "0,0,0.0,1.0,3 1,nan",
            "line 5: x is 'nan', not a number such as 0.25",
        ),
        ("0.0,0,-1,0,7", "0.0,0,-1,0,7.5", "line 7: slot is '7.5', not an integer"),
        ("0.0,0,-1,0,7", "0.0,0,-1,0,2147483648", "line 7: fixations.slot[0] is 2147483648, not"),
        ("3,1001/10000", "3,1001:10000", "line 7: time is '1001:10000', not a fraction"),
        ("0.1001", "0.2", "line 7: time_s is 0.2, not 0.1001, as time is"),
        ("8 10", "8", "shape of num_gazing of frame 3 is (1,), not (2,)"),
        ("8 10", "8 4294967306", "line 7: num_gazing[1] is 4294967306, not"),
        ('{"frames": 3', '{"frames": 4', "count of frames and fixations is (3, 4), not (4, 4)"),
        ("3,1001/10000,", "# {}\n3,1001/10000,", "the last line does not state the counts"),
    ],
)
def test_csv(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (GOLDEN / "v1.trace.csv").read_text()
    assert old in text
    path = tmp_path / "x.csv"
    path.write_text(text.replace(old, new, 1))
    assert refused(path).startswith(message)


def test_csv_may_have_the_line_ends_of_another_system(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes((GOLDEN / "v1.trace.csv").read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_trace(path)) == 3


def test_how_many_frames_a_csv_file_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lines without fixations are short, and take a hundred times their bytes in memory.
    start = (GOLDEN / "v1.trace.csv").read_text().splitlines()[:2]
    rows = [f"{i},{i},{i}.0,1,1 1,,,,,,,,," for i in range(1025)]

    def written(count: int) -> Path:
        end = f'# {{"frames": {count}, "fixations": 0}}\n'
        (tmp_path / "x.csv").write_text("\n".join([*start, *rows[:count], end]))
        return tmp_path / "x.csv"

    monkeypatch.setenv(DOCUMENT_VARIABLE, str(1024 * 384))
    assert len(read_trace(written(1024))) == 1024
    assert refused(written(1025)).startswith("has over 1024 frames")


Columns = dict[str, NDArray[Any]]
CHANGES: list[tuple[Callable[[Columns], Any], str]] = [
    (lambda c: c.pop("x"), "the file has no 'x"),
    (lambda c: c.update(z=c["x"]), "the file has an unknown 'z"),
    (lambda c: c.update(x=c["x"][:-1].copy()), "shape of y is (4,), not (3,)"),
    (lambda c: c.update(index=c["index"][:-1].copy()), "shape of time_numerator is (3,), not (2,)"),
    (
        lambda c: c.update(stop_probability=np.zeros(2, np.float32)),
        "shape of stop_probability is (2,)",
    ),
    (
        lambda c: c.update(num_gazing=np.zeros((3, 1), np.int32)),
        "shape of num_gazing is (3, 1), not",
    ),
    (lambda c: c["offsets"].__setitem__(1, 5), "offsets[2] is 3, after 5: it must ascend"),
    (lambda c: c["offsets"].__setitem__(0, 1), "first and last of offsets is (1, 4), not (0, 4)"),
    (lambda c: c["offsets"].__setitem__(3, 3), "first and last of offsets is (0, 3), not (0, 4)"),
    (
        lambda c: c["offsets"].__setitem__(1, -(2**63)),
        "offsets[1] is -9223372036854775808, after 0",
    ),
    (lambda c: c["index"].__setitem__(0, 3), "index[1] is 1, after 3: it must ascend"),
    (lambda c: c["index"].__setitem__(0, -1), "index of frame -1 is -1, not within 0"),
    (
        lambda c: c["time_denominator"].__setitem__(1, 0),
        "lowest time_denominator is 0, not above 0",
    ),
    (lambda c: c["time_numerator"].__setitem__(0, -(2**63)), "time of frame 0 is "),
    (
        lambda c: c["confidence"].__setitem__(3, np.nan),
        "confidence[0] of frame 3 is nan, not within",
    ),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_columns_of_npz_and_safetensors(
    change: Callable[[Columns], Any], message: str, tmp_path: Path
) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    columns = {name: column.copy() for name, column in trace.columns().items()}
    change(columns)
    header = json.dumps(trace.header.to_mapping())
    np.savez(tmp_path / "x.npz", allow_pickle=True, header=np.array(header), **columns)
    save_file(columns, tmp_path / "x.safetensors", {"header": header})
    assert refused(tmp_path / "x.npz").startswith(message)
    assert refused(tmp_path / "x.safetensors").startswith(message)


def test_dtypes_of_npz_and_safetensors(tmp_path: Path) -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    columns = trace.columns() | {"x": trace.fixations.x.astype(np.float64)}
    header = json.dumps(trace.header.to_mapping())
    np.savez(tmp_path / "x.npz", allow_pickle=True, header=np.array(header), **columns)
    save_file(columns, tmp_path / "x.safetensors", {"header": header})
    assert refused(tmp_path / "x.npz") == "dtype of x is 'float64', not float32"
    assert refused(tmp_path / "x.safetensors") == "dtype of x is 'float64', not float32"


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("pickle-was-run"),))


@pytest.mark.parametrize("name", ["x", "header"])
def test_a_pickled_npz_is_refused_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN / "v1.trace.npz", allow_pickle=False) as golden:
        columns = dict(golden)
    np.savez("x.npz", allow_pickle=True, **columns | {name: np.array([_Bomb()], dtype=object)})
    message = refused(Path("x.npz"))
    assert "is not an array of numbers or text" in message
    assert not Path("pickle-was-run").exists()


def test_other_contents_of_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refused(path) == "list of members is ['readme.txt'], not one with header.npy"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"not an array")
    assert refused(path).startswith("header is not an array")
    huge = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(huge, fields)
    with zipfile.ZipFile(GOLDEN / "v1.trace.npz") as golden, zipfile.ZipFile(path, "w") as archive:
        for name in golden.namelist():
            archive.writestr(name, huge.getvalue() if name == "x.npy" else golden.read(name))
    message = "shape of x is (1125899906842624,), not that of 0 bytes of float32"
    assert refused(path).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is not a trace (json, npz, safetensors, csv)"),
        (pickle.dumps({"format": "autogaze-trace"}), "is not a trace"),
        (b"[1, 2]", "is not a trace"),
        (b'\xef\xbb\xbf{"frames": []}', "begins with a byte order mark, which no trace has"),
        ("# {".encode("utf-16"), "begins with a byte order mark, which no trace has"),
        (b'{"frames": []}', "format is None, not 'autogaze-trace'"),
        (b"\x02\0\0\0\0\0\0\0{}", "neither a trace (no header) nor a trace store (no tensor"),
        (b"\xff\xff\xff\x05\0\0\0\0{}", "not a whole safetensors file"),
        (b"PK\x03\x04 and no more", "not a whole npz file"),
    ],
)
def test_foreign_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert refused(path).startswith(message)


def test_a_model_is_not_a_trace(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    message = "neither a trace (no header) nor a trace store (no tensor 'fixations')"
    assert refused(tmp_path / "model.safetensors") == message


def test_headers_that_no_file_could_hold() -> None:
    header = read_trace(GOLDEN / "v1.trace.json").header.to_mapping()
    for bad in ({"a": float("nan")}, {"a": {1}}, {1: 2}, {"a": (1, 2)}):
        with pytest.raises(FormatError, match=r"settings is .*, not (what JSON can hold|text)"):
            TraceHeader.from_mapping(header | {"settings": bad})


def test_traces_that_contradict_themselves() -> None:
    trace = read_trace(GOLDEN / "v1.trace.json")
    with pytest.raises(IndexError, match="frame 3 of a trace of 3 frames"):
        trace.frame(3)
    wide = Fixations(**trace.fixations.columns() | {"grid": np.zeros(4, np.int64)})
    frame = FrameTrace(0, Fraction(0), wide, 0.0, np.zeros(2, np.int32))
    with pytest.raises(FormatError, match="dtype of grid is 'int64', not int32"):
        Trace.from_frames(trace.header, [frame])
    assert re.fullmatch(r"\d+\.\d+\.\d+", trace.header.tool_version)
    assert load_file(GOLDEN / "v1.trace.safetensors")["grid"].tolist() == [14, 7, 2, 0]
