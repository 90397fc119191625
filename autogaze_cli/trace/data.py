"""The trace as data: the gaze of one frame, and that of all frames as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import FormatError
from autogaze_cli.gaze.fixations import COLUMNS, Fixations
from autogaze_cli.trace.header import MOST_TILES, TraceHeader, check_fraction, expect

Dtype = type[np.int64 | np.int32 | np.float32]

FRAME_COLUMNS: dict[str, Dtype] = {
    "index": np.int64,
    "time_numerator": np.int64,
    "time_denominator": np.int64,
    "offsets": np.int64,
    "stop_probability": np.float32,
    "num_gazing": np.int32,
}
TRACE_COLUMNS: dict[str, Dtype] = {**FRAME_COLUMNS, **COLUMNS}
"""Every column of a trace and its dtype, wide ones first so that each is aligned in a file."""

RANGES: dict[str, tuple[float, float]] = {
    "index": (0, np.iinfo(np.int64).max),
    "stop_probability": (0, 1),
    "num_gazing": (0, np.iinfo(np.int32).max),
    "x": (0, 1),
    "y": (0, 1),
    "width": (1e-6, 1),
    "height": (1e-6, 1),
    "confidence": (0, 1),
    "grid": (0, np.iinfo(np.int32).max),
    "token": (-1, np.iinfo(np.int32).max),
    "tile": (0, MOST_TILES - 1),
    "slot": (0, np.iinfo(np.int32).max),
}
"""The lowest and the highest value of a column; ``tile`` is also below the header's count."""

MOST_FRAMES = 1 << 21
"""Of a trace in one file: 9 hours of 60 per second."""


def column_shape(name: str, *, frames: int, fixations: int, tiles: int) -> tuple[int, ...]:
    """The shape of a column in a trace of that many frames, fixations and tiles per frame."""
    shapes = {"num_gazing": (frames, tiles), "offsets": (frames + 1,)}
    return shapes.get(name, (fixations,) if name in COLUMNS else (frames,))


@dataclass(frozen=True, slots=True, eq=False)
class FrameTrace:
    """Where a gaze source looked in one frame.

    Attributes:
        index: The frame's number, counted from 0.
        time: The frame's time in seconds.
        fixations: The gazed cells, in the source's order.
        stop_probability: 0..1, float32 precision. Source: inference spec 4.3.
        num_gazing: Token positions of each tile, padding included, int32 [tiles].
    """

    index: int
    time: Fraction
    fixations: Fixations
    stop_probability: float
    num_gazing: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trace:
    """Where a gaze source looked in every frame.

    The fixations of frame ``i`` are ``fixations[offsets[i]:offsets[i + 1]]``.

    Attributes:
        header: The metadata.
        index: The frames' numbers, ascending, int64 [frames].
        times: The frames' times in seconds.
        stop_probability: float32 [frames], in 0..1.
        num_gazing: Token positions of each tile, padding included, int32 [frames, tiles].
        offsets: int64 [frames + 1], from 0 to the number of fixations.
        fixations: The fixations of all frames, frame after frame.

    Raises:
        FormatError: A column has a wrong dtype or length, or a value out of range (NaN is).
    """

    header: TraceHeader
    index: NDArray[np.int64]
    times: tuple[Fraction, ...]
    stop_probability: NDArray[np.float32]
    num_gazing: NDArray[np.int32]
    offsets: NDArray[np.int64]
    fixations: Fixations

    def __post_init__(self) -> None:
        """Refuse columns that contradict each other, or what is out of range."""
        frames, tiles, n = len(self.times), self.header.tile_count, len(self.fixations)
        columns = self._arrays()
        for name, column in columns.items():
            dtype = np.dtype(TRACE_COLUMNS[name])
            expect(column.dtype == dtype, f"dtype of {name}", str(column.dtype), str(dtype))
            shape = column_shape(name, frames=frames, fixations=n, tiles=tiles)
            expect(column.shape == shape, f"shape of {name}", column.shape, str(shape))
        ends = (int(self.offsets[0]), int(self.offsets[-1]))
        expect(ends == (0, n), "first and last of offsets", ends, str((0, n)))
        _expect_ascending("offsets", self.offsets, strictly=False)
        _expect_ascending("index", self.index, strictly=True)
        for name, (low, high) in (RANGES | {"tile": (0, tiles - 1)}).items():
            column = columns[name]
            bad = ~((column >= low) & (column <= high))  # true for NaN as well
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                raise FormatError(
                    f"{self._place(name, at)} is {column[at]}, not within {low:g} to {high:g}"
                )
        for i, time in enumerate(self.times):
            check_fraction(time, f"time of frame {self.index[i]}")

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "index": self.index,
            "offsets": self.offsets,
            "stop_probability": self.stop_probability,
            "num_gazing": self.num_gazing,
            **self.fixations.columns(),
        }

    def _place(self, name: str, at: tuple[int, ...]) -> str:
        """The name of an element in a message: its frame, and its index within the frame."""
        if name not in COLUMNS:
            return f"{name} of frame {self.index[at[0]]}"
        frame = int(np.searchsorted(self.offsets, at[0], side="right")) - 1
        return f"{name}[{at[0] - self.offsets[frame]}] of frame {self.index[frame]}"

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[FrameTrace]:
        return (self.frame(i) for i in range(len(self)))

    def frame(self, i: int) -> FrameTrace:
        """The gaze of the ``i``-th frame of the trace; its arrays are views."""
        if not 0 <= i < len(self):
            raise IndexError(f"frame {i} of a trace of {len(self)} frames")
        return FrameTrace(
            index=int(self.index[i]),
            time=self.times[i],
            fixations=self.fixations.select(slice(self.offsets[i], self.offsets[i + 1])),
            stop_probability=float(self.stop_probability[i]),
            num_gazing=self.num_gazing[i],
        )

    @classmethod
    def from_frames(cls, header: TraceHeader, frames: Sequence[FrameTrace]) -> Trace:
        """A trace of ``frames``, whose arrays are copied.

        Raises:
            FormatError: See the class.
        """
        for frame in frames:
            shape = np.shape(frame.num_gazing)
            expected = (header.tile_count,)
            expect(
                shape == expected,
                f"shape of num_gazing of frame {frame.index}",
                shape,
                str(expected),
            )
        counts = [len(frame.fixations) for frame in frames]
        no_slots = np.empty((0, header.tile_count), np.int32)
        return cls(
            header=header,
            index=np.array([frame.index for frame in frames], np.int64),
            times=tuple(frame.time for frame in frames),
            stop_probability=np.array([frame.stop_probability for frame in frames], np.float32),
            num_gazing=np.stack([frame.num_gazing for frame in frames]) if frames else no_slots,
            offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            fixations=Fixations.concatenate([frame.fixations for frame in frames]),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """The trace as arrays by name, in the order of ``TRACE_COLUMNS``."""
        arrays = self._arrays() | {
            "time_numerator": np.array([time.numerator for time in self.times], np.int64),
            "time_denominator": np.array([time.denominator for time in self.times], np.int64),
        }
        return {name: arrays[name] for name in TRACE_COLUMNS}

    @classmethod
    def from_columns(cls, header: TraceHeader, columns: Mapping[str, NDArray[Any]]) -> Trace:
        """The trace whose ``columns`` these are.

        Raises:
            FormatError: See the class.
        """
        for name, column in columns.items():
            flat = 2 if name == "num_gazing" else 1
            expect(column.ndim == flat, f"shape of {name}", column.shape, f"of {flat} dimensions")
        frames = len(columns["index"])
        expect(frames <= MOST_FRAMES, "number of frames", frames, f"at most {MOST_FRAMES}")
        numerators, denominators = columns["time_numerator"], columns["time_denominator"]
        for name in ("time_numerator", "time_denominator"):
            column, shape = columns[name], columns["index"].shape
            expect(column.dtype == np.int64, f"dtype of {name}", str(column.dtype), "int64")
            expect(column.shape == shape, f"shape of {name}", column.shape, str(shape))
        if len(denominators):
            lowest = int(denominators.min())
            expect(lowest > 0, "lowest time_denominator", lowest, "above 0")
        return cls(
            header=header,
            index=columns["index"],
            times=tuple(map(Fraction, numerators.tolist(), denominators.tolist())),
            stop_probability=columns["stop_probability"],
            num_gazing=columns["num_gazing"],
            offsets=columns["offsets"],
            fixations=Fixations(**{name: columns[name] for name in COLUMNS}),
        )


def _expect_ascending(name: str, column: NDArray[np.int64], *, strictly: bool) -> None:
    # Compared, not subtracted: a difference of damaged numbers may not fit.
    small = column[1:] <= column[:-1] if strictly else column[1:] < column[:-1]
    if small.any():
        i = int(small.argmax()) + 1
        raise FormatError(f"{name}[{i}] is {column[i]}, after {column[i - 1]}: it must ascend")
