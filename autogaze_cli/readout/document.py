"""A readout as data: what a trace looks at, on the grids of a consumer, and how it was made."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, defstruct
from msgspec.structs import asdict as asdict_of
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.reading import checked, fields_of, parse_json
from autogaze_cli.readout.coords import video_readout_tokens_to_coords
from autogaze_cli.readout.grids import (
    Count,
    SparseReadoutGrid,
    SparseVideoPatchGeometry,
    SparseVideoReadoutGrid,
)
from autogaze_cli.readout.keep import KeepIndices, merged_grid
from autogaze_cli.readout.ragged import Ragged
from autogaze_cli.readout.settings import Route, SparseReadoutOptions, SparseVideoReadoutOptions
from autogaze_cli.trace.header import HEADER as TRACE_HEADER
from autogaze_cli.trace.header import TraceHeader, expect, expect_keys

FORMAT = "autogaze-readout"
VERSION = 1

COLUMNS: dict[str, dict[str, type[np.int64 | np.float64 | np.float32 | np.bool_]]] = {
    "": {"frame_index": np.int64, "frame_time_s": np.float64},
    "rects": {"rects": np.float32, "rect_offsets": np.int64},
    "tokens": {
        "image_tokens": np.int64,
        "image_token_offsets": np.int64,
        "video_tokens": np.int64,
    },
    "coords": {"coords": np.int64},
    "gazing-info": {
        "gazing_pos": np.int64,
        "if_padded_gazing": np.bool_,
        "num_gazing_each_frame": np.int64,
    },
    "keep-indices": {"keep_indices": np.int64, "grid_thw": np.int64, "mrope": np.int64},
}
"""What may be emitted, and the arrays of each; those under the empty name are always there."""

_PART = 1 << 16

EMITS = tuple(name for name in COLUMNS if name)

_Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[float, Meta(ge=-float(np.finfo(float).max), le=float(np.finfo(float).max))]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Three, _Four = Meta(min_length=3, max_length=3), Meta(min_length=4, max_length=4)

ARRAYS: dict[str, Any] = {
    "frame_index": list[_Whole],
    "frame_time_s": list[_Seconds],
    "rects": list[Annotated[list[_Share], _Four]],
    "rect_offsets": list[_Whole],
    "image_tokens": list[_Whole],
    "image_token_offsets": list[_Whole],
    "video_tokens": list[_Whole],
    "coords": list[Annotated[list[_Whole], _Four]],
    "gazing_pos": Annotated[list[list[_Whole]], Meta(min_length=1)],
    "if_padded_gazing": Annotated[list[list[bool]], Meta(min_length=1)],
    "num_gazing_each_frame": list[_Whole],
    "keep_indices": list[_Whole],
    "grid_thw": Annotated[list[_Whole], _Three],
    "mrope": list[Annotated[list[_Whole], _Three]],
}
"""What each array is in the JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutHeader:
    """The metadata of a readout.

    Attributes:
        source: The header of the trace that was read out: the video, the model, the settings.
        geometry: The clip, and how it is cut into patches.
        image_grid: Token grid of a frame.
        video_grid: Of the clip: that of ``geometry``.
        readout_options: From points to ``image_grid``.
        video_options: From ``image_grid`` to ``video_grid``.
        emit: Which of ``EMITS`` there are, in that order.
        projected_tokens: Tokens of the clip before filler; None without tokens and coords.
        tool_version: The version of the program that made the readout.
        merge: Patches on each side of a group of ``keep-indices``; 1 without them.
        route: Whether tokens or rectangles of frames were projected on ``video_grid``.

    Raises:
        FormatError: A field contradicts another.
    """

    source: TraceHeader
    geometry: SparseVideoPatchGeometry
    image_grid: SparseReadoutGrid
    video_grid: SparseVideoReadoutGrid
    readout_options: SparseReadoutOptions
    video_options: SparseVideoReadoutOptions
    emit: tuple[str, ...]
    projected_tokens: int | None
    tool_version: str
    merge: int = 1
    route: Route = "tokens"

    def __post_init__(self) -> None:
        """Refuse what no readout could be."""
        checked(self.to_mapping(), HEADER, "the header")
        grid, tubelet = self.geometry.readout_grid(), self.geometry.tubelet_size
        expect(self.video_grid == grid, "video_grid", self.video_grid, f"{grid}, as geometry has")
        expect(not self.image_grid.is_empty, "image_grid", self.image_grid, "one with tokens")
        given = self.video_options.tubelet_size
        expect(given == tubelet, "video_options.tubelet_size", given, f"{tubelet}, as geometry has")
        known = [name for name in EMITS if name in self.emit]
        expect(list(self.emit) == known != [], "emit", self.emit, f"some of {EMITS} in this order")
        if "keep-indices" in self.emit:
            merged_grid(grid, self.merge)
        else:
            expect(self.merge == 1, "merge", self.merge, "1, as there are no keep-indices")
        if {"tokens", "coords"} & set(self.emit):
            there = self.projected_tokens is not None
            expect(there, "projected_tokens", self.projected_tokens, "an integer")
        else:
            expect(self.projected_tokens is None, "projected_tokens", self.projected_tokens, "null")

    @property
    def columns(self) -> dict[str, type[Any]]:
        """The names and dtypes of the arrays, in order."""
        return {name: t for part in ("", *self.emit) for name, t in COLUMNS[part].items()}

    def to_mapping(self) -> dict[str, Any]:
        """The header as JSON has it, its keys in the order of the attributes."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source.to_mapping(),
            **{name: asdict(getattr(self, name)) for name in _PARTS},
            "emit": list(self.emit),
            "projected_tokens": self.projected_tokens,
            "tool_version": self.tool_version,
            **({"merge": self.merge} if "keep-indices" in self.emit else {}),
            **({} if self.route == "tokens" else {"route": self.route}),
        }

    def dump(self) -> str:
        """The header as one line of ASCII JSON."""
        return json.dumps(self.to_mapping(), allow_nan=False)

    @classmethod
    def parse(cls, text: str) -> ReadoutHeader:
        """The header from what ``dump`` gave.

        Raises:
            FormatError: See ``parse_json`` and ``from_mapping``.
        """
        return cls.from_mapping(parse_json(text, "the header"))

    @classmethod
    def from_mapping(cls, mapping: Any) -> ReadoutHeader:
        """The header from what ``to_mapping`` gave.

        Raises:
            FormatError: Another format or version, or a key is missing, unknown or out of range.
        """
        form = mapping.get("format") if isinstance(mapping, dict) else mapping
        expect(form == FORMAT, "format", form, repr(FORMAT))
        version = mapping.get("version")
        if type(version) is not int or version != VERSION:
            raise FormatError(
                f"version is {reprlib.repr(version)}, and this program knows {VERSION} only",
                hint="read it with the version of autogaze that wrote it",
            )
        found = checked(mapping, HEADER, "the header")
        values = {field.name: getattr(found, field.name) for field in fields(cls)}
        parts = {name: part(**asdict_of(values[name])) for name, part in _PARTS.items()}
        source, emit = TraceHeader.from_document(values["source"]), tuple(values["emit"])
        try:
            return cls(**{**values, **parts, "source": source, "emit": emit})
        except ConfigError as error:
            raise FormatError(str(error)) from error


_PARTS: dict[str, Any] = {
    "geometry": SparseVideoPatchGeometry,
    "image_grid": SparseReadoutGrid,
    "video_grid": SparseVideoReadoutGrid,
    "readout_options": SparseReadoutOptions,
    "video_options": SparseVideoReadoutOptions,
}

HEADER: Any = defstruct(
    "ReadoutHeader",
    [
        ("format", Literal[FORMAT]),
        ("version", Literal[VERSION]),
        ("source", TRACE_HEADER),
        *((name, fields_of(part)) for name, part in _PARTS.items()),
        ("emit", Annotated[list[Literal[EMITS]], Meta(min_length=1)]),  # type: ignore[valid-type]
        ("projected_tokens", Count | None),
        ("tool_version", Annotated[str, Meta(max_length=1 << 16)]),
        ("merge", Annotated[int, Meta(ge=1, le=1 << 16)], 1),
        ("route", Route, "tokens"),
    ],
    forbid_unknown_fields=True,
)
"""What a header is in a file."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Readout:
    """A readout: its header, and arrays by name.

    Attributes:
        header: The metadata.
        arrays: Those of ``header.columns``, in that order; see ``docs/readout_format.md``.

    Raises:
        FormatError: An array is missing or unknown, of a wrong dtype or shape, or out of range.
    """

    header: ReadoutHeader
    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        """Refuse arrays that contradict each other or the header."""
        columns = self.header.columns
        expect_keys(dict(self.arrays), list(columns), "the readout")
        for name, dtype in columns.items():
            shape, found = self.arrays[name].shape, self.arrays[name].dtype
            expect(bool(shape), f"shape of {name}", shape, "that of a list")
            expect(found == np.dtype(dtype), f"dtype of {name}", str(found), np.dtype(dtype).name)
        check_arrays(self.header, self.arrays)

    @property
    def rects(self) -> Ragged:
        """The rectangles of each frame, float32 ``[n, 4]``, columns x0, y0, x1, y1."""
        return Ragged(self._array("rects"), self._array("rect_offsets"))

    @property
    def image_tokens(self) -> Ragged:
        """The tokens of ``image_grid`` of each frame, int64 ``[n]``."""
        return Ragged(self._array("image_tokens"), self._array("image_token_offsets"))

    @property
    def video_tokens(self) -> NDArray[np.int64]:
        """The tokens of ``video_grid``, int64 ``[m]``; filler from ``projected_tokens`` on."""
        return self._array("video_tokens")

    @property
    def coords(self) -> NDArray[np.int64]:
        """The same as int64 ``[m, 4]``, columns batch, temporal, row, col."""
        return self._array("coords")

    @property
    def keep_indices(self) -> KeepIndices:
        """The groups of patches to keep."""
        return KeepIndices(*map(self._array, COLUMNS["keep-indices"]))

    @property
    def gazing_info(self) -> dict[str, NDArray[Any]]:
        """Upstream's three arrays; see ``autogaze_cli.readout.gazing_info``."""
        return {name: self._array(name) for name in COLUMNS["gazing-info"]}

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            there = ", ".join(self.header.emit)
            raise ConfigError(f"the readout has no {name}, only {there}", hint="give --emit")
        return self.arrays[name]


def check_arrays(header: ReadoutHeader, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse arrays that contradict each other or the header; ``Readout`` has checked the dtypes.

    Raises:
        FormatError: Naming the array.
    """
    frames, video = header.geometry.frames, header.video_grid
    _shape(arrays, "frame_index", frames)
    _shape(arrays, "frame_time_s", frames)
    index = arrays["frame_index"]
    expect(bool((index[1:] > index[:-1]).all()), "frame_index", start_of(index), "ascending")
    _within(arrays, "frame_time_s", -np.finfo(np.float64).max, np.finfo(np.float64).max)
    if "rects" in arrays:
        _offsets(arrays, "rect_offsets", frames, "rects")
        _shape(arrays, "rects", None, 4)
        _within(arrays, "rects", 0, 1)
    if "image_tokens" in arrays:
        _offsets(arrays, "image_token_offsets", frames, "image_tokens")
        _shape(arrays, "image_tokens", None)
        _within(arrays, "image_tokens", 0, header.image_grid.token_count - 1)
        _shape(arrays, "video_tokens", None)
        _within(arrays, "video_tokens", 0, video.token_count - 1)
    if "coords" in arrays:
        coords = arrays["coords"]
        _shape(arrays, "coords", None, 4)
        ends = np.array([2**32, video.temporal_bins, video.height, video.width])
        inside = bool(((coords >= 0) & (coords < ends)).all())
        expect(inside, "coords", coords, "within video_grid")
        if "video_tokens" in arrays:
            _, temporal, row, col = coords.T
            tokens = (temporal * video.height + row) * video.width + col
            same = np.array_equal(tokens, arrays["video_tokens"])
            expect(same, "coords", coords, "those of video_tokens")
    if header.projected_tokens is not None:
        count = len(arrays["coords" if "coords" in arrays else "video_tokens"])
        right = header.projected_tokens <= count
        expect(right, "projected_tokens", header.projected_tokens, f"at most {count}")
    if "keep_indices" in arrays:
        _check_kept(header, arrays)
    if "gazing_pos" in arrays:
        slots = arrays["num_gazing_each_frame"]
        _shape(arrays, "num_gazing_each_frame", frames)
        _within(arrays, "num_gazing_each_frame", 0, np.iinfo(np.int32).max)
        for name in ("gazing_pos", "if_padded_gazing"):
            _shape(arrays, name, header.source.tile_count, int(slots.sum()))


def _check_kept(header: ReadoutHeader, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse kept groups that are not ascending, not in the grid, or have other coordinates."""
    grid = header.video_grid
    groups = merged_grid(grid, header.merge)
    wanted = [grid.temporal_bins, grid.height, grid.width]
    _shape(arrays, "grid_thw", 3)
    thw = arrays["grid_thw"].tolist()
    expect(thw == wanted, "grid_thw", thw, f"{wanted}, as video_grid has")
    _shape(arrays, "keep_indices", None)
    _within(arrays, "keep_indices", 0, groups.token_count - 1)
    kept = arrays["keep_indices"]
    expect(bool((kept[1:] > kept[:-1]).all()), "keep_indices", start_of(kept), "ascending")
    _shape(arrays, "mrope", len(kept), 3)
    same = all(  # a part at a time, as coordinates take four times the memory of ids
        np.array_equal(
            video_readout_tokens_to_coords(kept[at : at + _PART], groups)[:, 1:],
            arrays["mrope"][at : at + _PART],
        )
        for at in range(0, len(kept), _PART)
    )
    expect(same, "mrope", start_of(arrays["mrope"]), "that of keep_indices")


def start_of(array: NDArray[Any]) -> list[Any]:
    """The start of an array for a message, which shows no more of it."""
    found: list[Any] = array[:7].tolist()
    return found


def _shape(arrays: Mapping[str, NDArray[Any]], name: str, *shape: int | None) -> None:
    found = arrays[name].shape
    right = len(found) == len(shape) and all(
        size in (None, there) for size, there in zip(shape, found, strict=True)
    )
    wanted = ", ".join("n" if size is None else str(size) for size in shape)
    expect(right, f"shape of {name}", found, f"[{wanted}]")


def _within(arrays: Mapping[str, NDArray[Any]], name: str, low: float, high: float) -> None:
    values = arrays[name]
    bad = ~((values >= low) & (values <= high))  # true for NaN as well
    if bad.any():
        raise FormatError(f"{name} holds {values[bad][0]}, not within {low:g} to {high:g}")


def _offsets(arrays: Mapping[str, NDArray[Any]], name: str, frames: int, of: str) -> None:
    _shape(arrays, name, frames + 1)
    offsets, n = arrays[name], len(arrays[of])
    ends = (int(offsets[0]), int(offsets[-1]))
    expect(ends == (0, n), f"first and last of {name}", ends, str((0, n)))
    expect(bool((offsets[1:] >= offsets[:-1]).all()), name, start_of(offsets), "ascending")
