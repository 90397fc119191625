"""Other target resolutions: tiles of the model's grids, and their ids as ids of larger grids.

Source: inference spec 8.4. This is upstream's ``target_scales`` and ``target_patch_size``, which is
another thing than the tiled modes: its ids keep their scales over the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedGaze:
    """The gaze of whole pictures, in upstream's layout.

    Attributes:
        gazing_pos: Ids of the target layout ``[b, n]`` int64, ascending within a frame; -1 where
            padded; those of frame ``t`` raised by ``num_tokens * t``, padding included.
        if_padded_gazing: ``[b, n]`` bool.
        num_gazing_each_frame: Slots of each frame ``[t]`` int64, common to the batch.
    """

    gazing_pos: NDArray[np.int64]
    if_padded_gazing: NDArray[np.bool_]
    num_gazing_each_frame: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptLayout:
    """Square pictures of the largest target scale, cut into tiles that the model knows.

    Attributes:
        model: The layout of the model's ids, which are those of one tile.
        target: The layout of the joined ids; its grids are ``scale // patch``.
        patch: Side of a target patch in pixels.
    """

    model: ScaleLayout
    target: ScaleLayout
    patch: int

    @classmethod
    def from_config(
        cls, model: ScaleLayout, target_scales: Sequence[int], target_patch_size: int
    ) -> AdaptLayout | None:
        """The layout for target scales; None when they are the model's own and nothing is to do.

        Raises:
            ConfigError: The scales are not as many as the model's, or one has no whole patch.
        """
        if len(target_scales) != len(model.scales):
            raise ConfigError(
                f"target_scales has {len(target_scales)} scales, the model {len(model.scales)}"
            )
        if target_patch_size < 1 or min(target_scales) < target_patch_size:
            raise ConfigError(
                f"target_patch_size {target_patch_size} does not fit target_scales {target_scales}"
            )
        counts = [(scale // target_patch_size) ** 2 for scale in target_scales]
        if tuple(target_scales) == model.scales and tuple(counts) == model.counts:
            return None
        target = ScaleLayout.from_config(target_scales, sum(counts), target_patch_size)
        return cls(model=model, target=target, patch=target_patch_size)

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return self.target.scales[-1]

    @property
    def tiles(self) -> int:
        """Tiles a side."""
        return -(-self.target.grids[-1] // self.model.grids[-1])

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels, before it is resized to the model's input."""
        return self.model.grids[-1] * self.patch

    @property
    def pad(self) -> int:
        """Zeros to add on the right and below, in pixels, after normalisation."""
        return self.tiles * self.tile_size - self.size

    def join(
        self,
        gazing_pos: Sequence[ArrayLike],
        if_padded: Sequence[ArrayLike],
        num_gazing_each_frame: Sequence[ArrayLike],
    ) -> JoinedGaze:
        """Join the gaze at tiles into the gaze at whole pictures.

        Cells that reach outside the target grid are dropped, as upstream does.

        Args:
            gazing_pos: For each row its ids as the clip numbers them ``[n_row]``. Rows are video,
                tile row, tile column, the last running fastest; each may have its own length.
            if_padded: For each row which slots are padding ``[n_row]``.
            num_gazing_each_frame: For each row its slots of each frame ``[t]``.
        """
        videos = len(gazing_pos) // self.tiles**2
        frames = len(np.asarray(num_gazing_each_frame[0]))
        gazed = np.zeros((videos, frames, self.target.num_tokens), bool)
        for row, parts in enumerate(zip(gazing_pos, if_padded, num_gazing_each_frame, strict=True)):
            video, tile = divmod(row, self.tiles**2)
            for frame, ids in enumerate(self.model.local_ids(*parts)):
                gazed[video, frame, self._target_ids(ids[ids >= 0], tile)] = True
        slots = gazed.sum(axis=2).max(axis=0)
        columns = [_ascending(gazed[:, frame], int(slots[frame])) for frame in range(frames)]
        return JoinedGaze(
            gazing_pos=np.concatenate(
                [self.target.global_ids(ids, frame) for frame, ids in enumerate(columns)], axis=1
            ),
            if_padded_gazing=np.concatenate([ids < 0 for ids in columns], axis=1),
            num_gazing_each_frame=slots.astype(np.int64),
        )

    def _target_ids(self, ids: NDArray[np.int64], tile: int) -> NDArray[np.int64]:
        """The target ids of one tile's ids; those outside the target grid are left out."""
        scale = self.model.scale_of(ids)
        grid, row, col = self.model.cells(ids)
        tile_row, tile_col = divmod(tile, self.tiles)
        row, col = row + tile_row * grid, col + tile_col * grid
        inside = np.maximum(row, col) < np.asarray(self.target.grids)[scale]
        return self.target.ids(scale[inside], row[inside], col[inside])


def _ascending(gazed: NDArray[np.bool_], slots: int) -> NDArray[np.int64]:
    """The ids set in each row of ``[b, num_tokens]``, ascending, filled up with -1."""
    ids = np.full((len(gazed), slots), -1, np.int64)
    for row, chosen in zip(ids, gazed, strict=True):
        found = np.flatnonzero(chosen)
        row[: len(found)] = found
    return ids
