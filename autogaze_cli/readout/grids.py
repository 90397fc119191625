"""The token grids of a consumer's frames and clips, rectangles, and the patch geometry."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Of tokens, patches, pixels or frames in a file."""


def check_whole(**numbers: object) -> None:
    """Refuse any of ``numbers`` that is not a whole number of at least 0.

    Raises:
        ConfigError: Naming it and its value.
    """
    for name, number in numbers.items():
        try:
            right = not isinstance(number, bool) and operator.index(number) >= 0  # type: ignore[arg-type]
        except TypeError:
            right = False
        if not right:
            raise ConfigError(f"{name} must be a whole number of at least 0, not {number!r}")


class SparseReadoutRect(NamedTuple):
    """A rectangle of a frame: fractions of its width (x) and height (y), from the top left."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def new(cls, x0: float, y0: float, x1: float, y1: float) -> Self:
        """A rectangle from two opposite corners, clamped to the frame, in float32.

        Source: readout spec 3.5.

        Examples:
            >>> SparseReadoutRect.new(0.75, -1, 0.5, 0.25)
            SparseReadoutRect(x0=0.5, y0=0.0, x1=0.75, y1=0.25)
        """
        low_x, high_x = np.sort(np.clip(np.array([x0, x1], np.float32), 0, 1)).tolist()
        low_y, high_y = np.sort(np.clip(np.array([y0, y1], np.float32), 0, 1)).tolist()
        return cls(low_x, low_y, high_x, high_y)

    @property
    def is_empty(self) -> bool:
        """Whether it covers nothing."""
        return self.x1 <= self.x0 or self.y1 <= self.y0


@dataclass(frozen=True, slots=True)
class SparseReadoutGrid:
    """The token grid of a frame, ``height`` rows of ``width``; ids run row by row.

    Source: readout spec 3.4.

    Raises:
        ConfigError: A size is not a whole number of at least 0.
    """

    height: Count
    width: Count

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        check_whole(height=self.height, width=self.width)

    @classmethod
    def square_from_token_count(cls, tokens: int) -> Self:
        """The square grid of that many tokens.

        Raises:
            ConfigError: 0 tokens, or not a square.
        """
        check_whole(tokens=tokens)
        if tokens == 0:
            raise ConfigError("the number of tokens must be nonzero, not 0")
        side = math.isqrt(tokens)
        if side * side != tokens:
            raise ConfigError(
                f"{tokens} tokens make no square grid: {side} x {side} is {side * side}",
                hint="take the grid from the picture (224 pixels in patches of 16: 14 x 14)",
            )
        return cls(side, side)

    @property
    def token_count(self) -> int:
        """How many tokens there are."""
        return self.height * self.width

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return self.token_count == 0

    def token_index(self, row: int, col: int) -> int | None:
        """The id of a token, or None outside the grid."""
        inside = 0 <= row < self.height and 0 <= col < self.width
        return row * self.width + col if inside else None

    def token_rect(self, token: int) -> SparseReadoutRect | None:
        """The rectangle of a token, or None outside the grid."""
        if not 0 <= token < self.token_count:
            return None
        return SparseReadoutRect(*self.token_rects()[token].tolist())

    def token_rects(self) -> NDArray[np.float32]:
        """The rectangles of all tokens, float32 ``[token_count, 4]``, columns x0, y0, x1, y1."""
        across = np.arange(self.width + 1, dtype=np.float32) / np.float32(self.width or 1)
        down = np.arange(self.height + 1, dtype=np.float32) / np.float32(self.height or 1)
        row, col = np.divmod(np.arange(self.token_count), self.width or 1)
        return np.stack([across[col], down[row], across[col + 1], down[row + 1]], axis=1)

    def require_tokens(self, name: str) -> None:
        """Refuse an empty grid.

        Args:
            name: How the message calls it.

        Raises:
            ConfigError: It is empty.
        """
        if self.is_empty:
            raise ConfigError(
                f"{name} dimensions must be nonzero, not {self.height} x {self.width}"
            )


@dataclass(frozen=True, slots=True)
class SparseVideoReadoutGrid:
    """The token grid of a clip: ``temporal_bins`` grids; ids run bin by bin, row by row.

    Source: readout spec 3.4.

    Raises:
        ConfigError: A size is not a whole number of at least 0.
    """

    temporal_bins: Count
    height: Count
    width: Count

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        check_whole(temporal_bins=self.temporal_bins, height=self.height, width=self.width)

    @property
    def tokens_per_temporal_bin(self) -> int:
        """How many tokens a bin has."""
        return self.height * self.width

    @property
    def token_count(self) -> int:
        """How many tokens there are."""
        return self.temporal_bins * self.tokens_per_temporal_bin

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return self.token_count == 0

    def token_index(self, temporal: int, row: int, col: int) -> int | None:
        """The id of a token, or None outside the grid."""
        plane = SparseReadoutGrid(self.height, self.width).token_index(row, col)
        if plane is None or not 0 <= temporal < self.temporal_bins:
            return None
        return temporal * self.tokens_per_temporal_bin + plane

    def token_coords(self, token: int) -> tuple[int, int, int] | None:
        """Temporal bin, row and column of a token, or None outside the grid."""
        if not 0 <= token < self.token_count:
            return None
        temporal, plane = divmod(token, self.tokens_per_temporal_bin)
        return temporal, plane // self.width, plane % self.width

    def require_tokens(self, name: str) -> None:
        """Refuse an empty grid; see ``SparseReadoutGrid.require_tokens``."""
        if self.is_empty:
            sizes = f"{self.temporal_bins} x {self.height} x {self.width}"
            raise ConfigError(f"{name} dimensions must be nonzero, not {sizes}")


@dataclass(frozen=True, slots=True)
class SparseVideoPatchGeometry:
    """A clip in pixels and how a model cuts it into patches.

    Attributes:
        frames: Frames of the clip.
        height: Frame height in pixels.
        width: Frame width in pixels.
        tubelet_size: Frames of a patch.
        patch_h: Height of a patch, in pixels.
        patch_w: Width of a patch, in pixels.

    Raises:
        ConfigError: A size is not a whole number of at least 0.
    """

    frames: Count
    height: Count
    width: Count
    tubelet_size: Count
    patch_h: Count
    patch_w: Count

    def __post_init__(self) -> None:
        """Refuse what is no size; whether the clip can be cut is for ``readout_grid`` to say."""
        check_whole(frames=self.frames, height=self.height, width=self.width)
        check_whole(tubelet_size=self.tubelet_size, patch_h=self.patch_h, patch_w=self.patch_w)

    @classmethod
    def square_patch(
        cls, frames: int, height: int, width: int, tubelet_size: int, patch_size: int
    ) -> Self:
        """With patches as high as wide."""
        return cls(frames, height, width, tubelet_size, patch_size, patch_size)

    def readout_grid(self) -> SparseVideoReadoutGrid:
        """The grid of the clip's patches.

        Raises:
            ConfigError: A size is 0, or a patch does not fit a whole number of times: nothing is
                rounded.

        Source: readout spec 3.6.
        """
        if self.frames == 0:
            raise ConfigError("frame count must be nonzero, not 0")
        if self.height == 0 or self.width == 0:
            raise ConfigError(f"video dimensions must be nonzero, not {self.height} x {self.width}")
        if self.tubelet_size == 0:
            raise ConfigError("tubelet size must be nonzero, not 0")
        if self.patch_h == 0 or self.patch_w == 0:
            sizes = f"{self.patch_h} x {self.patch_w}"
            raise ConfigError(f"patch dimensions must be nonzero, not {sizes}")
        return SparseVideoReadoutGrid(
            _divide("frames", self.frames, "tubelet size", self.tubelet_size),
            _divide("height", self.height, "patch height", self.patch_h),
            _divide("width", self.width, "patch width", self.patch_w),
        )


def _divide(what: str, size: int, by: str, part: int) -> int:
    count, rest = divmod(size, part)
    if rest:
        raise ConfigError(
            f"{what} ({size}) must be divisible by {by} ({part}), and {rest} would be left over",
            hint=f"{count * part} and {(count + 1) * part} are" if count else f"{part} is",
        )
    return count
