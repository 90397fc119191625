"""The text formats of a trace: JSON, one line per frame, and CSV, one row per fixation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import FormatError
from autogaze_cli.gaze.fixations import COLUMNS, Fixations
from autogaze_cli.trace.data import FrameTrace, Trace
from autogaze_cli.trace.header import (
    TraceHeader,
    dump_header,
    expect,
    expect_keys,
    parse_fraction,
    parse_header,
    parse_json,
)
from autogaze_cli.trace.writer import TraceWriter

_FRAME_KEYS = ["index", "time", "time_s", "stop_probability", "num_gazing", "fixations"]
_CSV_FRAME_COLUMNS = _FRAME_KEYS[:-1]
_CSV_COLUMNS = [*_CSV_FRAME_COLUMNS, *COLUMNS]
_CSV_END = r'# \{"frames": ([0-9]{1,18}), "fixations": ([0-9]{1,18})\}\n'


def decimals(column: NDArray[Any]) -> list[str]:
    """Each number of ``column`` as the shortest decimal that comes back exactly.

    The shortest decimal of a float32 is not always enough: a reader that parses a double and rounds
    it may land on the neighbour (7.038531e-26 does). Such a number is written as the double it is.
    """
    if column.dtype.kind != "f":
        return list(map(str, column.tolist()))
    text: list[str] = column.astype(str).tolist()
    back = np.array(text, np.float64).astype(np.float32)
    for i in np.flatnonzero(back != column):
        text[i] = repr(float(column[i]))
    return text


def frame_json(frame: FrameTrace) -> str:
    """A frame as one line of JSON, as in the JSON format."""
    columns = frame.fixations.columns().items()
    fixations = ", ".join(f'"{name}": [{", ".join(decimals(c))}]' for name, c in columns)
    time, time_s, stop_probability = _frame_text(frame)
    return (
        f'{{"index": {frame.index}, "time": "{time}", "time_s": {time_s}, '
        f'"stop_probability": {stop_probability}, '
        f'"num_gazing": {frame.num_gazing.tolist()}, "fixations": {{{fixations}}}}}'
    )


class _TextWriter(TraceWriter):
    _file: TextIO

    def _open(self) -> None:
        self._file = self.path.open("w", encoding="ascii", newline="\n")
        self._frames = 0
        self._fixations = 0

    def _append(self, part: Trace) -> None:
        for frame in part:
            self._append_frame(frame)
            self._frames += 1
            self._fixations += len(frame.fixations)

    def _append_frame(self, frame: FrameTrace) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        self._file.close()


class JsonWriter(_TextWriter):
    """Writes the JSON form."""

    def _open(self) -> None:
        super()._open()
        header = json.dumps(self.header.to_mapping(), indent=1, allow_nan=False)
        self._file.write(header.removesuffix("\n}") + ',\n "frames": [')

    def _append_frame(self, frame: FrameTrace) -> None:
        self._file.write(f"{',' if self._frames else ''}\n  {frame_json(frame)}")

    def _finish(self) -> None:
        self._file.write("\n ]\n}\n")


class CsvWriter(_TextWriter):
    """Writes the CSV form."""

    def _open(self) -> None:
        super()._open()
        self._file.write(f"# {dump_header(self.header)}\n{','.join(_CSV_COLUMNS)}\n")

    def _append_frame(self, frame: FrameTrace) -> None:
        slots = " ".join(map(str, frame.num_gazing.tolist()))
        start = ",".join([str(frame.index), *_frame_text(frame), slots])
        rows = zip(*map(decimals, frame.fixations.columns().values()), strict=True)
        lines = [f"{start},{','.join(row)}\n" for row in rows]
        self._file.writelines(lines or [start + "," * len(COLUMNS) + "\n"])

    def _finish(self) -> None:
        end = {"frames": self._frames, "fixations": self._fixations}
        self._file.write(f"# {json.dumps(end)}\n")


def _frame_text(frame: FrameTrace) -> tuple[str, str, str]:
    stop_probability = decimals(np.array([frame.stop_probability], np.float32))[0]
    return str(frame.time), repr(float(frame.time)), stop_probability


def read_json(path: Path) -> Trace:
    """A trace from its JSON form.

    Raises:
        FormatError: The file is damaged, or not such a trace.
    """
    document = parse_json(path.read_text("utf-8"), "the file", _compact)
    if not isinstance(document, dict):
        raise FormatError("the file contains no object")
    frames = document.pop("frames", None)
    header = TraceHeader.from_mapping(document)
    expect(isinstance(frames, list), "frames", frames, "a list")
    return Trace.from_frames(header, [_json_frame(f, f"frames[{i}]") for i, f in enumerate(frames)])


def _compact(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Fixations become arrays as they are parsed: all their lists would take ten times the memory.
    mapping = dict(pairs)
    if mapping.keys() == COLUMNS.keys():
        mapping = {name: _as_array(value) for name, value in pairs}
    return mapping


def _as_array(value: Any) -> Any:
    # True and False are integers to numpy, and not to JSON; so are other lists left for _typed.
    numbers = isinstance(value, list) and set(map(type, value)) <= {int, float}
    return np.array(value) if numbers else value


def _json_frame(frame: Any, what: str) -> FrameTrace:
    expect_keys(frame, _FRAME_KEYS, what)
    index, fixations = frame["index"], frame["fixations"]
    expect(type(index) is int and 0 <= index < 2**63, f"{what}.index", index, "an integer")
    time = parse_fraction(frame["time"], f"{what}.time")
    time_s = frame["time_s"]
    expect(time_s == float(time), f"{what}.time_s", time_s, f"{float(time)}, as time is")
    expect_keys(fixations, list(COLUMNS), f"{what}.fixations")
    probability = _as_array([frame["stop_probability"]])
    return FrameTrace(
        index=index,
        time=time,
        fixations=_fixations(fixations, f"{what}.fixations."),
        stop_probability=float(_typed(probability, np.float32, f"{what}.stop_probability")[0]),
        num_gazing=_typed(_as_array(frame["num_gazing"]), np.int32, f"{what}.num_gazing"),
    )


def _fixations(columns: dict[str, Any], prefix: str) -> Fixations:
    arrays = {name: _typed(columns[name], dtype, prefix + name) for name, dtype in COLUMNS.items()}
    for name, array in arrays.items():
        expect(len(array) == len(arrays["x"]), f"length of {prefix}{name}", len(array), "that of x")
    return Fixations(**arrays)


def _typed(values: Any, dtype: type[np.float32 | np.int32], name: str) -> NDArray[Any]:
    """``values``, an array of any numbers, as ``dtype``; refuses integers that do not fit."""
    whole = dtype is np.int32
    rule = "a list of 32-bit integers" if whole else "a list of numbers"
    expect(isinstance(values, np.ndarray), name, values, rule)
    if len(values):
        expect(values.dtype.kind in ("i" if whole else "if"), name, values.tolist(), rule)
    if len(values) and whole:
        fits = values.min() >= -(2**31) and values.max() < 2**31
        expect(bool(fits), name, values.tolist(), rule)
    with np.errstate(over="ignore"):  # becomes infinite, which is out of every range
        return np.asarray(values.astype(dtype))


def read_csv(path: Path) -> Trace:
    """A trace from its CSV form.

    Raises:
        FormatError: The file is damaged, or not such a trace.
    """
    with path.open(encoding="utf-8") as file:
        header = parse_header(file.readline().removeprefix("#"))
        names = file.readline().rstrip("\n")
        expect(names == ",".join(_CSV_COLUMNS), "the second line", names, ",".join(_CSV_COLUMNS))
        end: list[str] = []
        frames = list(_csv_frames(_csv_rows(file, end)))
    match = re.fullmatch(_CSV_END, "".join(end))
    if not match:
        raise FormatError(
            "the last line does not state the counts", hint="the file may be cut short"
        )
    counts = (len(frames), sum(len(frame.fixations) for frame in frames))
    stated = (int(match[1]), int(match[2]))
    expect(counts == stated, "count of frames and fixations", counts, f"{stated} as the end states")
    return Trace.from_frames(header, frames)


def _csv_rows(file: TextIO, end: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows and their line numbers; what follows the table goes to ``end``."""
    for number, line in enumerate(file, start=3):
        if end or line.startswith("#"):
            end.append(line)
        else:
            row = line.rstrip("\n").split(",")
            expect(
                len(row) == len(_CSV_COLUMNS), f"line {number}", line, f"{len(_CSV_COLUMNS)} cells"
            )
            yield number, row


def _csv_frames(rows: Iterator[tuple[int, list[str]]]) -> Iterator[FrameTrace]:
    first = len(_CSV_FRAME_COLUMNS)
    for (index, time_text, time_s, probability, slots), group in groupby(
        rows, key=lambda row: row[1][:first]
    ):
        lines, cells = zip(*group, strict=True)
        prefix = f"line {lines[0]}: "
        time = parse_fraction(time_text, prefix + "time")
        same = _parsed([time_s], float, prefix + "time_s")[0] == float(time)
        expect(bool(same), prefix + "time_s", time_s, f"{float(time)}, as time is")
        stop_probability = _parsed([probability], float, prefix + "stop_probability")
        tiles = _parsed(slots.split(), int, prefix + "num_gazing")
        yield FrameTrace(
            index=int(_parsed([index], int, prefix + "index")[0]),
            time=time,
            fixations=_csv_fixations([row[first:] for row in cells], prefix),
            stop_probability=float(_typed(stop_probability, np.float32, prefix)[0]),
            num_gazing=_typed(tiles, np.int32, prefix + "num_gazing"),
        )


def _csv_fixations(rows: list[list[str]], prefix: str) -> Fixations:
    if len(rows) == 1 and not any(rows[0]):
        return Fixations.empty()  # a frame without fixations has a row too
    columns = {}
    for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        columns[name] = _parsed(cells, int if COLUMNS[name] is np.int32 else float, prefix + name)
    return _fixations(columns, prefix)


def _parsed(cells: Sequence[str], kind: type[int | float], name: str) -> NDArray[Any]:
    """The numbers of ``cells``, as int64 or float64."""
    try:
        return np.array([kind(cell) for cell in cells], np.int64 if kind is int else np.float64)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{name} holds what is not a number ({error})") from error
