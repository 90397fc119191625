"""Other target resolutions: tiles of the model's grids, and their ids as ids of larger grids.

Source: inference spec 8.4. This is upstream's ``target_scales`` and ``target_patch_size``. It
differs from the tiled modes: its ids keep their scales over the whole image.
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
    """The gaze of whole images, in upstream's layout.

    Attributes:
        gazing_pos: Ids of the target layout ``[b, n]`` int64, ascending within a frame, -1 for
            padding; ``num_tokens * t`` is added to those of frame ``t``, including padding.
        if_padded_gazing: Which positions are padding, ``[b, n]`` bool.
        num_gazing_each_frame: Positions per frame ``[t]`` int64, common to the batch.
    """

    gazing_pos: NDArray[np.int64]
    if_padded_gazing: NDArray[np.bool_]
    num_gazing_each_frame: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptLayout:
    """Square images of the largest target scale, cut into tiles of the model's grids.

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
        """The layout for target scales; None if they equal the model's, so no adaptation is needed.

        Raises:
            ConfigError: The number of scales differs from the model's, or a scale is smaller than
                a patch.
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
        """Side of the image in pixels."""
        return self.target.scales[-1]

    @property
    def tiles(self) -> int:
        """Tiles per side."""
        return -(-self.target.grids[-1] // self.model.grids[-1])

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels, before it is resized to the model's input."""
        return self.model.grids[-1] * self.patch

    @property
    def pad(self) -> int:
        """Zero padding on the right and at the bottom, in pixels, after normalisation."""
        return self.tiles * self.tile_size - self.size

    def join(
        self,
        gazing_pos: Sequence[ArrayLike],
        if_padded: Sequence[ArrayLike],
        num_gazing_each_frame: Sequence[ArrayLike],
    ) -> JoinedGaze:
        """Join the gaze of tiles into the gaze of whole images.

        Cells outside the target grid are dropped, as upstream does.

        Args:
            gazing_pos: For each sequence, its ids as numbered in the clip ``[n]``. Sequences are
                ordered by video, tile row and tile column (fastest); their lengths may differ.
            if_padded: For each sequence, which positions are padding ``[n]``.
            num_gazing_each_frame: For each sequence, its positions per frame ``[t]``.
        """
        videos = len(gazing_pos) // self.tiles**2
        frames = len(np.asarray(num_gazing_each_frame[0]))
        gazed = np.zeros((videos, frames, self.target.num_tokens), bool)
        sequences = zip(gazing_pos, if_padded, num_gazing_each_frame, strict=True)
        for index, parts in enumerate(sequences):
            video, tile = divmod(index, self.tiles**2)
            for frame, ids in enumerate(self.model.local_ids(*parts)):
                gazed[video, frame, self._target_ids(ids[ids >= 0], tile)] = True
        positions = gazed.sum(axis=2).max(axis=0)
        columns = [_ascending(gazed[:, frame], int(positions[frame])) for frame in range(frames)]
        return JoinedGaze(
            gazing_pos=np.concatenate(
                [self.target.global_ids(ids, frame) for frame, ids in enumerate(columns)], axis=1
            ),
            if_padded_gazing=np.concatenate([ids < 0 for ids in columns], axis=1),
            num_gazing_each_frame=positions.astype(np.int64),
        )

    def _target_ids(self, ids: NDArray[np.int64], tile: int) -> NDArray[np.int64]:
        """The target ids of one tile's ids, without those outside the target grid."""
        scale = self.model.scale_of(ids)
        grid, row, col = self.model.cells(ids)
        tile_row, tile_col = divmod(tile, self.tiles)
        row, col = row + tile_row * grid, col + tile_col * grid
        inside = np.maximum(row, col) < np.asarray(self.target.grids)[scale]
        return self.target.ids(scale[inside], row[inside], col[inside])


def _ascending(gazed: NDArray[np.bool_], positions: int) -> NDArray[np.int64]:
    """The ids set in each sequence of ``[b, num_tokens]``, ascending, padded with -1."""
    ids = np.full((len(gazed), positions), -1, np.int64)
    for row, chosen in zip(ids, gazed, strict=True):
        found = np.flatnonzero(chosen)
        row[: len(found)] = found
    return ids
