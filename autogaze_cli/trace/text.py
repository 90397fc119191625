"""The text formats of a trace: JSON, one line per frame, and CSV, one row per fixation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from io import StringIO
from itertools import count, groupby, islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
from msgspec import Meta, defstruct
from numpy.typing import NDArray

from autogaze_cli.errors import FormatError
from autogaze_cli.gaze.fixations import COLUMNS, Fixations
from autogaze_cli.reading import (
    DOCUMENT_VARIABLE,
    checked,
    most_document_bytes,
    parse_json,
    read_document,
)
from autogaze_cli.trace.data import RANGES, TRACE_COLUMNS, FrameTrace, Trace
from autogaze_cli.trace.header import TraceHeader, dump_header, expect, parse_header
from autogaze_cli.trace.writer import TraceWriter


def _number(name: str) -> Any:
    """The type of an element of a column."""
    low, high = RANGES[name]
    if TRACE_COLUMNS[name] is np.float32:
        return Annotated[float, Meta(ge=low, le=high)]
    return Annotated[int, Meta(ge=int(low), le=int(high))]


def _list(name: str) -> Any:
    return list.__class_getitem__(_number(name))


_LARGEST = float(np.finfo(np.float64).max)

FIXATIONS: Any = defstruct(
    "Fixations", [(name, _list(name)) for name in COLUMNS], forbid_unknown_fields=True
)
"""The fixations of a frame in a file."""

FRAME: Any = defstruct(
    "Frame",
    [
        ("index", _number("index")),
        ("time", Fraction),
        ("time_s", Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]),
        ("stop_probability", _number("stop_probability")),
        ("num_gazing", Annotated[_list("num_gazing"), Meta(min_length=1)]),
        ("fixations", FIXATIONS),
    ],
    forbid_unknown_fields=True,
)
"""A frame in a file."""

_FRAME_KEYS = dict.fromkeys(FRAME.__struct_fields__).keys()
_CSV_FRAME_COLUMNS = FRAME.__struct_fields__[:-1]
_CSV_COLUMNS = [*_CSV_FRAME_COLUMNS, *COLUMNS]
_WHOLE = re.compile("-?[0-9]{1,19}")
_REAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
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
    number = count()

    def compact(pairs: list[tuple[str, Any]]) -> Any:
        # A frame becomes arrays as it is parsed: the lists of all take ten times the memory.
        mapping = dict(pairs)
        return _json_frame(mapping, next(number)) if mapping.keys() == _FRAME_KEYS else mapping

    document = parse_json(read_document(path), "the file", compact)
    if not isinstance(document, dict):
        raise FormatError("the file contains no object")
    frames = document.pop("frames", None)
    header = TraceHeader.from_mapping(document)
    expect(isinstance(frames, list), "frames", frames, "a list")
    return Trace.from_frames(
        header,
        [f if isinstance(f, FrameTrace) else _json_frame(f, i) for i, f in enumerate(frames)],
    )


def _json_frame(frame: object, number: int) -> FrameTrace:
    return frame_of(frame, f"frames[{number}]", f"frames[{number}].")


def frame_of(values: object, what: str, prefix: str) -> FrameTrace:
    """A frame from the values of a ``FRAME``.

    Args:
        values: As JSON has them.
        what: How a message names the frame.
        prefix: What it puts before the name of a field.

    Raises:
        FormatError: They are no frame.
    """
    found = checked(values, FRAME, what, prefix)
    time = float(found.time)
    expect(found.time_s == time, f"{prefix}time_s", found.time_s, f"{time}, as time is")
    return FrameTrace(
        index=found.index,
        time=found.time,
        fixations=_fixations(found.fixations, f"{prefix}fixations."),
        stop_probability=found.stop_probability,
        num_gazing=np.array(found.num_gazing, np.int32),
    )


def _fixations(columns: Any, prefix: str) -> Fixations:
    """The columns of a ``FIXATIONS``, which must have one length."""
    arrays: dict[str, Any] = {
        name: np.array(getattr(columns, name), dtype) for name, dtype in COLUMNS.items()
    }
    for name, array in arrays.items():
        expect(len(array) == len(arrays["x"]), f"length of {prefix}{name}", len(array), "that of x")
    return Fixations(**arrays)


# As much of a document's limit for each frame of a CSV file, whose line may have 24 bytes: a frame
# takes 2300 bytes of memory, of six times the limit, as in JSON.
_FRAME_BYTES = 384
_MOST_ROWS = 500_000
"""Of a frame in a CSV file, which are held as text at once; 8K in tiles has 175,000."""


def read_csv(path: Path) -> Trace:
    """A trace from its CSV form.

    Raises:
        FormatError: The file is damaged, or not such a trace.
    """
    file = StringIO(read_document(path), newline=None)
    header = parse_header(file.readline().removeprefix("#"))
    names = file.readline().rstrip("\n")
    expect(names == ",".join(_CSV_COLUMNS), "the second line", names, ",".join(_CSV_COLUMNS))
    end: list[str] = []
    most = most_document_bytes() // _FRAME_BYTES
    frames = list(islice(_csv_frames(_csv_rows(file, end)), most + 1))
    if len(frames) > most:
        hint = f"write it as npz or safetensors, or raise {DOCUMENT_VARIABLE}"
        raise FormatError(f"has over {most} frames", hint=hint)
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
    for cells_of_frame, group in groupby(rows, key=lambda row: row[1][:first]):
        taken = list(islice(group, _MOST_ROWS + 1))
        lines, cells = zip(*taken, strict=True)
        if len(taken) > _MOST_ROWS:
            raise FormatError(f"line {lines[0]} begins a frame of over {_MOST_ROWS} rows")
        yield _csv_frame(cells_of_frame, [row[first:] for row in cells], lines[0])


def _csv_frame(cells: list[str], rows: list[list[str]], line: int) -> FrameTrace:
    """A frame from the cells that its rows share, and the cells of each fixation."""

    def at(row: int) -> str:
        return f"line {line + row}"

    index, time, time_s, probability, num_gazing = cells
    if len(rows) == 1 and not any(rows[0]):
        rows = []  # a frame without fixations has a row too
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    fixations = {
        name: numbers(column, COLUMNS[name] is np.int32, name, at)
        for name, column in zip(COLUMNS, columns, strict=True)
    }
    values = {
        "index": numbers([index], True, "index", at)[0],
        "time": time,
        "time_s": numbers([time_s], False, "time_s", at)[0],
        "stop_probability": numbers([probability], False, "stop_probability", at)[0],
        "num_gazing": numbers(num_gazing.split(" "), True, "num_gazing", lambda _: at(0)),
        "fixations": fixations,
    }
    return frame_of(values, at(0), f"{at(0)}: ")


def numbers(
    cells: Sequence[str], whole: bool, name: str, place: Callable[[int], str]
) -> list[int] | list[float]:
    """The numbers of a column.

    Args:
        cells: Its cells, in the ASCII digits that the writers use.
        whole: Whether they are integers.
        name: Of the column.
        place: Where in the file a cell is, by its index.

    Raises:
        FormatError: One is no such number.
    """
    right = (_WHOLE if whole else _REAL).fullmatch
    if not all(map(right, cells)):
        at = next(i for i, cell in enumerate(cells) if not right(cell))
        rule = "an integer of at most 19 digits" if whole else "a number such as 0.25"
        expect(False, f"{place(at)}: {name}", cells[at], rule)
    return list(map(int if whole else float, cells))
