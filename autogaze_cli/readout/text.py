"""The text forms of a readout: JSON, an array a key, and CSV, a thing a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import FormatError
from autogaze_cli.reading import brief, checked, parse_json, read_document
from autogaze_cli.readout.document import ARRAYS, Readout, ReadoutHeader, start_of
from autogaze_cli.readout.ragged import offsets_of
from autogaze_cli.trace.header import expect, expect_keys
from autogaze_cli.trace.text import decimals, numbers

_HEADER_KEYS = ["format", "version", *(field.name for field in fields(ReadoutHeader))]
_NO_ROWS = {"rects": (0, 4), "coords": (0, 4), "mrope": (0, 3)}

# The cells that a row of each kind fills, in the order of the columns.
_KINDS = {
    "frame": ["frame", "index", "time_s"],
    "rect": ["frame", "x0", "y0", "x1", "y1"],
    "image_token": ["frame", "token"],
    "video_token": ["token", "batch", "temporal", "row", "col"],
    "gaze": ["frame", "token", "batch", "padded"],
    "kept": ["token", "temporal", "row", "col"],
}
_CSV_COLUMNS = ["kind", "frame", "index", "time_s", "x0", "y0", "x1", "y1", "token", "batch"]
_CSV_COLUMNS += ["temporal", "row", "col", "padded"]

# Rows of an array that are text at once: a number takes ten times its memory then.
_BLOCK = 1 << 16

Table = dict[str, list[str]]
"""The cells of the rows of one kind, by column."""


def json_text(readout: Readout) -> Iterator[str]:
    """The JSON form: the header's keys, then each array on a line, or on a line for each row."""
    yield json.dumps(readout.header.to_mapping(), indent=1, allow_nan=False).removesuffix("\n}")
    for name, array in readout.arrays.items():
        yield f',\n "{name}": ['
        yield from _listed(array) if array.ndim == 1 else _rows(array)
        yield "]"
    yield "\n}\n"


def _listed(flat: NDArray[Any], width: int = 0) -> Iterator[str]:
    """Numbers, a comma before each but the first; a new list begins after ``width`` of them."""
    for at in range(0, len(flat), _BLOCK):
        words = _words(flat[at : at + _BLOCK])
        commas = [", "] * len(words)
        if width:
            for i in range(-at % width, len(words), width):
                commas[i] = "],\n  ["
        if at == 0:
            commas[0] = ""
        yield "".join(chain.from_iterable(zip(commas, words, strict=True)))


def _rows(array: NDArray[Any]) -> Iterator[str]:
    """The rows of a table, a line for each."""
    if array.size:
        yield "\n  ["
        yield from _listed(array.reshape(-1), array.shape[1])
        yield "]"
    else:
        yield ",".join(["\n  []"] * len(array))


def read_json(path: Path) -> Readout:
    """A readout from its JSON form.

    Raises:
        FormatError: The file is damaged, or not such a readout.
    """
    document = parse_json(read_document(path), "the file")
    expect(isinstance(document, dict), "the file", document, "an object")
    names = [name for name in document if name not in _HEADER_KEYS]
    header = ReadoutHeader.from_mapping({k: v for k, v in document.items() if k in _HEADER_KEYS})
    expect_keys(dict.fromkeys(names), list(header.columns), "the file")
    arrays = {name: _array(document[name], t, name) for name, t in header.columns.items()}
    return Readout(header=header, arrays=arrays)


def csv_text(readout: Readout) -> Iterator[str]:
    """The CSV form: header, names, the rows kind by kind, and the shapes of the arrays."""
    yield f"# {readout.header.dump()}\n{','.join(_CSV_COLUMNS)}\n"
    for kind, table in _tables(readout.arrays).items():
        for at in range(0, len(next(iter(table.values()))), _BLOCK):
            words = {name: _words(column[at : at + _BLOCK]) for name, column in table.items()}
            rows = len(next(iter(words.values())))
            blank = [""] * rows
            columns = [[kind] * rows, *(words.get(name, blank) for name in _CSV_COLUMNS[1:])]
            yield from (",".join(row) + "\n" for row in zip(*columns, strict=True))
    yield f"# {json.dumps({name: array.shape for name, array in readout.arrays.items()})}\n"


def _tables(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """The rows of each kind, by column."""
    frames = np.arange(len(arrays["frame_index"]), dtype=np.int32)
    tables = {
        "frame": {
            "frame": frames,
            "index": arrays["frame_index"],
            "time_s": arrays["frame_time_s"],
        }
    }
    if "rects" in arrays:
        sides = dict(zip(("x0", "y0", "x1", "y1"), arrays["rects"].T, strict=True))
        frame = np.repeat(frames, np.diff(arrays["rect_offsets"]))
        tables["rect"] = {"frame": frame, **sides}
    if "image_tokens" in arrays:
        frame = np.repeat(frames, np.diff(arrays["image_token_offsets"]))
        tables["image_token"] = {"frame": frame, "token": arrays["image_tokens"]}
        tables["video_token"] = {"token": arrays["video_tokens"]}
    if "coords" in arrays:
        names = ("batch", "temporal", "row", "col")
        columns = dict(zip(names, arrays["coords"].T, strict=True))
        tables["video_token"] = tables.get("video_token", {}) | columns
    if "gazing_pos" in arrays:
        rows, slots = arrays["gazing_pos"].shape
        frame = np.repeat(frames, arrays["num_gazing_each_frame"])
        tables["gaze"] = {
            "frame": np.tile(frame, rows),
            "token": arrays["gazing_pos"].reshape(-1),
            "batch": np.repeat(np.arange(rows, dtype=np.int32), slots),
            "padded": arrays["if_padded_gazing"].reshape(-1),
        }
    if "keep_indices" in arrays:
        columns = dict(zip(("temporal", "row", "col"), arrays["mrope"].T, strict=True))
        tables["kept"] = {"token": arrays["keep_indices"], **columns}
    return tables


def read_csv(path: Path) -> Readout:
    """A readout from its CSV form.

    Raises:
        FormatError: The file is damaged, or not such a readout.
    """
    file = StringIO(read_document(path), newline=None)
    header = ReadoutHeader.parse(file.readline().removeprefix("#"))
    names = file.readline().rstrip("\n")
    expect(names == ",".join(_CSV_COLUMNS), "the second line", names, ",".join(_CSV_COLUMNS))
    tables: dict[str, Table] = {
        kind: {name: [] for name in cells} for kind, cells in _KINDS.items()
    }
    end: list[str] = []
    for number, line in enumerate(file, start=3):
        if end or line.startswith("#"):
            end.append(line)
        else:
            _add_row(tables, line.rstrip("\n").split(","), number)
    if len(end) != 1:
        raise FormatError(
            "the last line does not state the shapes", hint="the file may be cut short"
        )
    shapes = parse_json(end[0].removeprefix("#"), "the last line")
    arrays = _from_tables(header, tables)
    found = {name: list(array.shape) for name, array in arrays.items()}
    expect(found == shapes, "shapes of the arrays", found, f"{brief(shapes)}, as the end states")
    return Readout(header=header, arrays=arrays)


def _add_row(tables: dict[str, Table], row: list[str], number: int) -> None:
    right = len(row) == len(_CSV_COLUMNS) and row[0] in tables
    expect(right, f"line {number}", row, f"{len(_CSV_COLUMNS)} cells, the first a kind")
    table = tables[row[0]]
    for name, cell in zip(_CSV_COLUMNS[1:], row[1:], strict=True):
        if name in table:
            table[name].append(cell)
        else:
            expect(not cell, f"line {number}: {name}", cell, f"empty, as in every {row[0]}")


def _from_tables(header: ReadoutHeader, tables: dict[str, Table]) -> dict[str, NDArray[Any]]:
    """The arrays that the header announces; cells of others must be empty."""
    frames = len(tables["frame"]["frame"])
    _expect_column(tables, "frame", "frame", np.arange(frames))
    there = {"frame"}
    arrays: dict[str, NDArray[Any]] = {
        "frame_index": _column(tables, "frame", "index", np.int64),
        "frame_time_s": _column(tables, "frame", "time_s", np.float64),
    }
    if "rects" in header.emit:
        there.add("rect")
        sides = [_column(tables, "rect", name, np.float32) for name in ("x0", "y0", "x1", "y1")]
        arrays |= {"rects": np.stack(sides, axis=1), "rect_offsets": _offsets(tables, "rect")}
    if "tokens" in header.emit:
        there |= {"image_token", "video_token"}
        arrays |= {
            "image_tokens": _column(tables, "image_token", "token", np.int64),
            "image_token_offsets": _offsets(tables, "image_token"),
            "video_tokens": _column(tables, "video_token", "token", np.int64),
        }
    if "coords" in header.emit:
        there.add("video_token")
        names = ("batch", "temporal", "row", "col")
        columns = [_column(tables, "video_token", name, np.int64) for name in names]
        arrays["coords"] = np.stack(columns, axis=1)
    if "gazing-info" in header.emit:
        there.add("gaze")
        rows = header.source.tile_count
        position = _column(tables, "gaze", "token", np.int64)
        padded = _column(tables, "gaze", "padded", np.bool_)
        slots, rest = divmod(len(position), rows)
        expect(rest == 0, "rows of gaze", len(position), f"as many for each of {rows} tiles")
        _expect_column(tables, "gaze", "batch", np.repeat(np.arange(rows), slots))
        frame = _column(tables, "gaze", "frame", np.int64)
        _expect_column(tables, "gaze", "frame", np.tile(frame[:slots], rows))
        tables["gaze"]["frame"] = tables["gaze"]["frame"][:slots]
        arrays |= {
            "gazing_pos": position.reshape(rows, -1),
            "if_padded_gazing": padded.reshape(rows, -1),
            "num_gazing_each_frame": np.diff(_offsets(tables, "gaze")),
        }
    if "keep-indices" in header.emit:
        there.add("kept")
        grid = header.video_grid
        places = [_column(tables, "kept", n, np.int64) for n in ("temporal", "row", "col")]
        arrays |= {
            "keep_indices": _column(tables, "kept", "token", np.int64),
            "grid_thw": np.array([grid.temporal_bins, grid.height, grid.width]),
            "mrope": np.stack(places, axis=1),
        }
    for kind in sorted(tables.keys() - there):
        rows = len(tables[kind][_KINDS[kind][0]])
        expect(rows == 0, f"rows of {kind}", rows, f"0, as emit is {header.emit}")
    expect(frames == header.geometry.frames, "rows of frame", frames, "those of geometry")
    return arrays


def _column(
    tables: dict[str, Table], kind: str, name: str, dtype: type[np.generic]
) -> NDArray[Any]:
    cells = tables[kind][name]

    def place(row: int) -> str:
        return f"row {row + 1} of {kind}"

    if dtype == np.bool_:
        for row, cell in enumerate(cells):
            expect(cell in ("true", "false"), f"{place(row)}: {name}", cell, "true or false")
        return np.array([cell == "true" for cell in cells], np.bool_)
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is out of every range
            return np.array(numbers(cells, dtype == np.int64, name, place), dtype)
    except OverflowError as error:
        raise FormatError(f"{name} of a {kind} has more than 64 bits") from error


def _expect_column(
    tables: dict[str, Table], kind: str, name: str, wanted: NDArray[np.int64]
) -> None:
    found = _column(tables, kind, name, np.int64)
    expect(np.array_equal(found, wanted), f"{name} of each {kind}", start_of(found), "in order")


def _offsets(tables: dict[str, Table], kind: str) -> NDArray[np.int64]:
    """Where each frame's rows of a kind begin, given the frame of each row."""
    frames = len(tables["frame"]["frame"])
    frame = _column(tables, kind, "frame", np.int64)
    ordered = bool((frame[1:] >= frame[:-1]).all()) and bool(
        ((frame >= 0) & (frame < frames)).all()
    )
    expect(ordered, f"frame of each {kind}", start_of(frame), f"ascending below {frames}")
    return offsets_of(np.bincount(frame, minlength=frames))


def _words(array: NDArray[Any]) -> list[str]:
    """Each number as text that gives it back."""
    if array.dtype == np.bool_:
        return ["true" if value else "false" for value in array.tolist()]
    return list(map(repr, array.tolist())) if array.dtype == np.float64 else decimals(array)


def _array(value: Any, dtype: type[np.generic], name: str) -> NDArray[Any]:
    """A list, or a list of lists, of JSON as an array."""
    found = checked(value, ARRAYS[name], name, name)
    if not found and name in _NO_ROWS:
        return np.empty(_NO_ROWS[name], dtype)
    try:
        return np.array(found, dtype)
    except ValueError as error:
        raise FormatError(f"{name} is a list of lists, not of rows of one length") from error
