"""``verify``: where independent rows and the published ones differ, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autogaze_cli.gaze.adapt import AdaptLayout
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from autogaze_cli.model.autogaze import load_model
from autogaze_cli.model.output import GazeOutput
from autogaze_cli.model.preprocess import cut_square_tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tile's frame in which the rows differ.

    Attributes:
        tile: Index of the tile.
        frame: Index of the frame.
        independent: Ids within the frame, rows independent, in order of choice.
        published: Ids within the frame, rows as published.
        coupled_in: The last frame before it in which the tile ended while others went on; None =
            there is none, and rounding alone can be the reason.
    """

    tile: int
    frame: int
    independent: tuple[int, ...]
    published: tuple[int, ...]
    coupled_in: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What ``verify`` found; as text, one line per tile and a summary.

    Attributes:
        tiles: Number of tiles.
        frames: Number of frames.
        differences: By tile and frame.
    """

    tiles: int
    frames: int
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        lines = []
        for tile in sorted({difference.tile for difference in self.differences}):
            mine = [one for one in self.differences if one.tile == tile]
            first = mine[0]
            why = (
                f"in frame {first.coupled_in} it ended while other tiles went on"
                if first.coupled_in is not None
                else "no tile had to wait for another: only rounding can be the reason"
            )
            lines.append(
                f"tile {tile}: {len(mine)} of {self.frames} frames differ, frame {first.frame} "
                f"first ({len(first.independent)} ids, published {len(first.published)}): {why}"
            )
        total = self.tiles * self.frames
        return "\n".join([*lines, f"{len(self.differences)} of {total} frames of tiles differ"])


def verify(
    folder: str | Path,
    video: str | Path,
    *,
    gazing_ratio: float | None = None,
    task_loss_requirement: float | None = None,
) -> Verification:
    """Gaze at a video's four quarters with independent rows and with published ones.

    Args:
        folder: A checkpoint, as for ``AutoGaze.from_pretrained``.
        video: A video; its first clip is used, resized to twice the model's side.
        gazing_ratio: As in the published call.
        task_loss_requirement: As in the published call.
    """
    model = load_model(folder)
    layout, side = model.config.layout, 2 * model.config.input_img_size
    sampling = Sampling(frames=model.config.max_num_frames)
    frames = np.stack([frame.rgb for frame in read_frames(Path(video), sampling)])
    doubled = [2 * scale for scale in layout.scales]
    adapt = AdaptLayout.from_config(layout, doubled, model.config.kernel_size)
    assert adapt is not None  # doubled scales are never the model's own
    tiles = cut_square_tiles(model.preprocess(frames, size=(side, side)), adapt)
    independent, published = (
        model.generate(
            tiles,
            gazing_ratio=gazing_ratio,
            task_loss_requirement=... if task_loss_requirement is None else task_loss_requirement,
            rows=rows,
        )
        for rows in ("independent", "published")
    )
    return Verification(
        tiles=len(tiles),
        frames=len(frames),
        differences=tuple(_differences(layout, independent, published)),
    )


def _differences(
    layout: ScaleLayout, independent: GazeOutput, published: GazeOutput
) -> list[Difference]:
    found = []
    ids = _ids(layout, independent), _ids(layout, published)
    counts = published.num_gazing_each_frame
    waited = (published.num_gazing_each_row < counts).numpy()  # [tiles, frames]
    for tile, (one, other) in enumerate(zip(*ids, strict=True)):
        for frame in range(len(one)):
            if one[frame] != other[frame]:
                before = np.flatnonzero(waited[tile, :frame])
                found.append(
                    Difference(
                        tile=tile,
                        frame=frame,
                        independent=one[frame],
                        published=other[frame],
                        coupled_in=int(before[-1]) if len(before) else None,
                    )
                )
    return found


def _ids(layout: ScaleLayout, gaze: GazeOutput) -> list[list[tuple[int, ...]]]:
    """The valid ids of each row and frame, within the frame."""
    return [
        [
            tuple(ids[ids >= 0].tolist())
            for ids in layout.local_ids(*row, gaze.num_gazing_each_frame)
        ]
        for row in zip(gaze.gazing_pos, gaze.if_padded_gazing, strict=True)
    ]
