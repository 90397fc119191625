"""What the readout refuses, with the words and the numbers; and what it lets pass as empty."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations

CONFIG = ro.ReadoutConfig(scales="32+64", num_vision_tokens_each_frame=20)
GENERATED = {
    "gazing_pos": [[0, 4, 39]],
    "if_padded_gazing": [[False, False, False]],
    "num_gazing_each_frame": [2, 1],
}
GRID, EMPTY = ro.SparseReadoutGrid(4, 4), ro.SparseReadoutGrid(4, 0)
VIDEO, NO_BINS = ro.SparseVideoReadoutGrid(2, 4, 4), ro.SparseVideoReadoutGrid(0, 4, 4)
NO_TUBELET = ro.SparseVideoReadoutOptions(tubelet_size=0)
GEOMETRY = (6, 64, 96, 2, 16, 16)


def geometry(**changes: int) -> ro.SparseVideoReadoutGrid:
    names = ("frames", "height", "width", "tubelet_size", "patch_h", "patch_w")
    sizes = dict(zip(names, GEOMETRY, strict=True)) | changes
    return ro.SparseVideoPatchGeometry(**sizes).readout_grid()


# The call, and what the message has to contain: the words of readout spec 3.4, 3.6 and 15, and the
# numbers.
REFUSED: list[tuple[str, Callable[[], object], list[str]]] = [
    ("no frames", lambda: geometry(frames=0, height=0), ["frame count", "nonzero", "0"]),
    ("no height", lambda: geometry(height=0), ["dimensions", "nonzero", "0 x 96"]),
    ("no width", lambda: geometry(width=0, tubelet_size=0), ["dimensions", "nonzero", "64 x 0"]),
    ("no tubelet", lambda: geometry(tubelet_size=0, patch_h=0), ["tubelet size", "nonzero"]),
    ("no patch", lambda: geometry(patch_w=0), ["patch dimensions", "nonzero", "16 x 0"]),
    ("partial tubelet", lambda: geometry(frames=7), ["frames", "divisible", "7", "2", "1 would"]),
    ("cut height", lambda: geometry(height=63, width=95), ["height", "divisible", "63", "16"]),
    ("cut width", lambda: geometry(width=95), ["width", "divisible", "95", "16", "15 would"]),
    (
        "no square",
        lambda: ro.SparseReadoutGrid.square_from_token_count(265),
        ["square grid", "265"],
    ),
    ("no tokens", lambda: ro.SparseReadoutGrid.square_from_token_count(0), ["nonzero"]),
    (
        "stage B",
        lambda: ro.readout_rects_to_tokens([], EMPTY),
        ["readout grid dimensions", "nonzero", "4 x 0"],
    ),
    (
        "stage B of a trace",
        lambda: ro.trace_to_frame_readout_tokens([Fixations.empty()], EMPTY),
        ["readout grid dimensions"],
    ),
    (
        "stage D, image",
        lambda: ro.frame_readout_tokens_to_video_tokens([], EMPTY, NO_BINS, NO_TUBELET),
        ["image readout grid", "4 x 0"],
    ),
    (
        "stage D, video",
        lambda: ro.frame_readout_tokens_to_video_tokens([], GRID, NO_BINS, NO_TUBELET),
        ["video readout grid", "0 x 4 x 4"],
    ),
    (
        "stage D, tubelet",
        lambda: ro.frame_readout_tokens_to_video_tokens([], GRID, VIDEO, NO_TUBELET),
        ["tubelet size", "nonzero"],
    ),
    (
        "stage D, negative id",
        lambda: ro.frame_readout_tokens_to_video_tokens([[3], [-1]], GRID, VIDEO),
        ["-1"],
    ),
    (
        "stage D', video",
        lambda: ro.frame_readout_rects_to_video_tokens([], NO_BINS, NO_TUBELET),
        ["video readout grid"],
    ),
    (
        "stage D', tubelet",
        lambda: ro.frame_readout_rects_to_video_tokens([], VIDEO, NO_TUBELET),
        ["tubelet size"],
    ),
    (
        "stage E, first offender",
        lambda: ro.video_readout_tokens_to_coords([0, 32, 99], VIDEO),
        ["outside grid", "32 is", "2 x 4 x 4", "31"],
    ),
    (
        "stage E, negative id",
        lambda: ro.video_readout_tokens_to_coords([-1], VIDEO),
        ["outside grid", "-1"],
    ),
    (
        "stage E, batch before ids",
        lambda: ro.video_readout_tokens_to_coords([99], VIDEO, 2**32),
        ["batch index", str(2**32)],
    ),
    (
        "stage E, grid before batch",
        lambda: ro.video_readout_tokens_to_coords([], NO_BINS, -1),
        ["grid dimensions"],
    ),
    (
        "row before grid",
        lambda: ro.generated_to_video_readout_tokens(GENERATED, CONFIG, 1, EMPTY, NO_BINS),
        ["batch index", "1 is", "1 rows"],
    ),
    (
        "row",
        lambda: ro.generated_to_frame_readout_rects(GENERATED, CONFIG, -1),
        ["batch index", "-1"],
    ),
    (
        "row before frame",
        lambda: ro.generated_frame_readout_rects(GENERATED, CONFIG, 3, 9),
        ["batch index", "3 is"],
    ),
    (
        "frame",
        lambda: ro.generated_frame_readout_tokens(GENERATED, CONFIG, 0, 2, EMPTY),
        ["frame index", "2 is", "2 frames"],
    ),
    ("negative frame", lambda: ro.trace_frame_readout_rects([], -1), ["frame", "-1"]),
    ("negative size", lambda: ro.SparseReadoutGrid(-1, 4), ["height", "-1"]),
    ("half a size", lambda: ro.SparseVideoReadoutGrid(1, 1, 1.5), ["width", "1.5"]),  # type: ignore[arg-type]
    ("negative cap", lambda: ro.SparseReadoutOptions(max_tokens_per_frame=-1), ["-1"]),
    ("negative bound", lambda: ro.SparseVideoReadoutOptions(max_tokens=-2), ["-2"]),
    ("no mask", lambda: ro.fixation_image_mask_tensor(0, 4, 4, Fixations.empty()), ["mask batch"]),
    (
        "no pixels",
        lambda: ro.fixation_image_mask_tensor(1, 4, 0, Fixations.empty()),
        ["mask dimensions", "4 x 0"],
    ),
    ("no traces", lambda: ro.frame_fixation_masks_tensor([], 0, 4, 4), ["at least one"]),
    (
        "mask of another batch",
        lambda: ro.apply_image_mask(torch.zeros(3, 1, 2, 2), torch.zeros(2, 1, 2, 2)),
        ["mask batch", "3", "2"],
    ),
    (
        "mask without channels",
        lambda: ro.apply_image_mask(torch.zeros(1, 1, 2, 2), torch.zeros(1, 0, 2, 2)),
        ["mask channels"],
    ),
    *(
        (
            f"image {shape}",
            lambda shape=shape: ro.apply_image_mask(torch.zeros(shape), torch.zeros(1, 1, 1, 1)),
            [words],
        )
        for shape, words in {
            (0, 1, 2, 2): "image batch",
            (1, 0, 2, 2): "image channels",
            (1, 1, 0, 2): "image dimensions",
        }.items()
    ),
    (
        "no levels, before the image",
        lambda: ro.tokenize_masked_image_pyramid(
            torch.zeros(0, 1, 1, 1), torch.zeros(1, 1, 1, 1), []
        ),
        ["at least one level"],
    ),
    (
        "masks of no image",
        lambda: ro.image_pyramid_masks(torch.zeros(1, 1, 1, 1), 0, 4, []),
        ["image dimensions", "0 x 4"],
    ),
    (
        "no pyramid tokens",
        lambda: ro.sparsify_image_pyramid_tokens(pyramid(torch.zeros(1, 0, 1)), 1),
        ["nonempty"],
    ),
    (
        "no pyramid channels",
        lambda: ro.sparsify_image_pyramid_tokens(pyramid(torch.zeros(1, 3, 0)), 1),
        ["channels"],
    ),
    ("no ids", lambda: ro.generated_to_frame_readout_rects({}, CONFIG, 0), ["num_gazing"]),
]


def pyramid(tokens: torch.Tensor) -> ro.ImagePyramidTokens:
    return ro.ImagePyramidTokens(tokens, torch.zeros(*tokens.shape[:2], 1), (), ())


@pytest.mark.parametrize(
    ("call", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused_with_the_numbers(call: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert re.search(rf"(?<!\d){re.escape(word)}(?!\d)", str(caught.value)), word


def empty(value: Any) -> bool:
    return all(not len(part) for part in value) if isinstance(value, ro.Ragged) else not len(value)


# Readout spec 15, first table.
@pytest.mark.parametrize(
    "call",
    [
        lambda: ro.fixation_points_to_readout_rects(Fixations.empty()),
        lambda: ro.readout_rects_to_tokens([], GRID),
        lambda: ro.trace_to_frame_readout_tokens([], GRID),
        lambda: ro.trace_to_frame_readout_tokens([Fixations.empty()] * 3, GRID),
        lambda: ro.trace_frame_readout_rects([Fixations.empty()], 1),
        lambda: ro.frame_readout_tokens_to_video_tokens([], GRID, VIDEO),
        lambda: ro.frame_readout_rects_to_video_tokens([[], []], VIDEO),
        lambda: ro.video_readout_tokens_to_coords([], VIDEO),
        lambda: ro.batched_video_readout_tokens_to_coords([], NO_BINS),
        lambda: ro.image_pyramid_masks(torch.zeros(1, 1, 1, 1), 1, 1, []),
    ],
)
def test_empty_input_gives_empty_output(call: Callable[[], Any]) -> None:
    assert empty(call())


def test_without_frames_there_is_only_filler() -> None:
    options = ro.SparseVideoReadoutOptions(min_tokens=40)
    filler = ro.frame_readout_tokens_to_video_tokens([], GRID, VIDEO, options)
    assert filler.tolist() == list(range(32))


@pytest.mark.parametrize("tokens", [[], [[0, 3], [], [31]]])
def test_coordinate_tensors_are_int64_rows(tokens: list[list[int]]) -> None:
    tensor = ro.batched_video_readout_tokens_to_coord_tensor(tokens, VIDEO)
    assert (tensor.dtype, tensor.shape) == (torch.int64, (sum(map(len, tokens)), 4))
    assert tensor.tolist() == ro.batched_video_readout_tokens_to_coords(tokens, VIDEO).tolist()
    for batch, row in enumerate(tokens):
        one = ro.video_readout_tokens_to_coord_tensor(row, VIDEO, batch)
        assert one.tolist() == tensor[tensor[:, 0] == batch].tolist()


def test_the_largest_batch_index_fits() -> None:
    assert ro.video_readout_tokens_to_coords([0], VIDEO, 2**32 - 1).tolist() == [
        [2**32 - 1, 0, 0, 0]
    ]


def test_what_the_grids_answer_outside() -> None:
    assert VIDEO.token_coords(31) == (1, 3, 3)
    assert VIDEO.token_coords(32) is None
    assert [GRID.token_index(*at) for at in ((3, 3), (4, 0), (0, 4), (-1, 0))] == [15, *[None] * 3]
    assert EMPTY.token_rect(0) is None
    assert (EMPTY.is_empty, NO_BINS.is_empty, GRID.is_empty) == (True, True, False)
    assert EMPTY.token_rects().shape == (0, 4)
    assert ro.SparseReadoutRect(0.5, 0, 0.5, 1).is_empty
    for token in range(16):
        rect = GRID.token_rect(token)
        assert rect is not None
        assert ro.readout_rects_to_tokens([rect], GRID).tolist() == [token]


def test_ids_of_every_kind_of_container_decode_alike() -> None:
    class Output:
        gazing_pos = torch.tensor(GENERATED["gazing_pos"])
        if_padded_gazing = torch.tensor(GENERATED["if_padded_gazing"])
        num_gazing_each_frame = torch.tensor(GENERATED["num_gazing_each_frame"])

    arrays = {name: np.array(value) for name, value in GENERATED.items()}
    for generated in (GENERATED, arrays, Output()):
        found = ro.generated_to_frame_readout_tokens(generated, CONFIG, 0, GRID)
        assert [part.tolist() for part in found] == [[0, 1, 4, 5], [15]]


def test_a_clip_is_the_first_of_its_batch_unless_told() -> None:
    projection = ro.SparseVideoReadoutProjection(GRID, VIDEO)
    calls: list[Callable[..., Any]] = [
        lambda **b: ro.video_readout_tokens_to_coords([0], VIDEO, **b),
        lambda **b: ro.video_readout_tokens_to_coord_tensor([0], VIDEO, **b),
        lambda **b: ro.frame_readout_tokens_to_video_coords([[0]], GRID, VIDEO, **b),
        lambda **b: ro.frame_readout_tokens_to_video_coord_tensor([[0]], projection, **b),
        lambda **b: ro.frame_readout_rects_to_video_coords([[(0, 0, 0.1, 0.1)]], VIDEO, **b),
        lambda **b: ro.frame_readout_rects_to_video_coord_tensor([[(0, 0, 0.1, 0.1)]], VIDEO, **b),
    ]
    for call in calls:
        assert call().tolist() == [[0, 0, 0, 0]]
        assert call(batch_index=3).tolist() == [[3, 0, 0, 0]]


def test_a_point_without_extent_shows_one_pixel() -> None:
    edges = np.array([0, 0.25, 0.5, 1], np.float32)
    first, end = ro.pixel_span(edges, edges, 8)
    assert (first.tolist(), end.tolist()) == ([0, 2, 4, 7], [1, 3, 5, 8])
