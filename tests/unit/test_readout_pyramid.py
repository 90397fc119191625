"""Masks and pyramids against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_cli import readout as ro
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tokens import ScaleLayout

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)

sides = st.integers(1, 7)


def loop_pool(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Readout spec 14.4: windows ``floor(i n / m)`` to ``ceil((i + 1) n / m)``."""
    rows, cols = image.shape
    out = torch.empty(height, width)
    for i in range(height):
        for j in range(width):
            y = slice(i * rows // height, -(-(i + 1) * rows // height))
            x = slice(j * cols // width, -(-(j + 1) * cols // width))
            out[i, j] = image[y, x].mean()
    return out


@settings(max_examples=50, deadline=None)
@given(sides, sides, sides, sides, st.integers(0, 8), st.integers(0, 8), st.integers(1, 2))
def test_pyramid_tokens_are_those_of_plain_loops(
    height: int, width: int, mask_h: int, mask_w: int, level_h: int, level_w: int, channels: int
) -> None:
    torch.manual_seed(height * 1000 + width)
    image = torch.rand(2, 3, height, width)
    mask = torch.rand(1, channels, mask_h, mask_w) * 1.5 - 0.2
    found = ro.tokenize_masked_image_pyramid(
        image,
        mask,
        [ro.ImagePyramidLevel(level_h, level_w), ro.ImagePyramidLevel(1, 1)],
        ro.ImagePyramidMaskOptions(threshold=0.4),
    )
    level_h, level_w = max(level_h, 1), max(level_w, 1)
    assert found.levels == (ro.ImagePyramidLevel(level_h, level_w), ro.ImagePyramidLevel(1, 1))
    assert found.ranges == ((0, level_h * level_w), (level_h * level_w, level_h * level_w + 1))
    y = [i * mask_h // height for i in range(height)]
    x = [j * mask_w // width for j in range(width)]
    share = mask[0].mean(dim=0)[y][:, x].clamp(0, 1)
    density = loop_pool(share, level_h, level_w).reshape(-1)
    weights = torch.where(density > 0.4, density, 0)
    sure = (density - 0.4).abs() > 1e-5  # rounding decides the others
    for row in range(2):
        end = level_h * level_w
        assert torch.allclose(found.weights[row, :end, 0][sure], weights[sure], atol=1e-6)
        for channel in range(3):
            mean = loop_pool(image[row, channel], level_h, level_w).reshape(-1)
            tokens = found.tokens[row, :end, channel]
            assert torch.allclose(tokens[sure], (mean * weights)[sure], atol=1e-6)


def test_equal_weights_keep_their_order() -> None:
    tokens = torch.arange(300, dtype=torch.float32).reshape(1, 300, 1)
    weights = (torch.arange(300) % 3 == 0).float().reshape(1, 300, 1)
    pyramid = ro.ImagePyramidTokens(tokens, weights, (), ((0, 300),))
    found = ro.sparsify_image_pyramid_tokens(pyramid, 150)
    wanted = [*range(0, 300, 3), *(i for i in range(300) if i % 3)][:150]
    assert found.indices[0].tolist() == wanted
    assert found.tokens[0, :, 0].tolist() == wanted


@settings(deadline=None)
@given(st.lists(st.integers(0, 264), max_size=5), st.integers(1, 60), st.integers(1, 60))
def test_a_mask_is_painted_cell_by_cell(ids: list[int], height: int, width: int) -> None:
    points = LAYOUT.fixations(ids, 0.5)
    mask = ro.fixation_image_mask_tensor(2, height, width, points)
    wanted = np.zeros((height, width), np.float32)
    for x0, y0, x1, y1 in ro.scaled_bounds(points):
        left = min(math.floor(x0 * np.float32(width)), width - 1)
        top = min(math.floor(y0 * np.float32(height)), height - 1)
        right = max(left + 1, math.ceil(x1 * np.float32(width)))
        bottom = max(top + 1, math.ceil(y1 * np.float32(height)))
        wanted[top:bottom, left:right] = 1
    assert mask.shape == (2, 1, height, width)
    assert np.array_equal(mask[0, 0].numpy(), wanted)
    assert torch.equal(mask[0], mask[1])


# Readout spec 14.1: the cells whose first pixel at 224 is one too early.
@pytest.mark.parametrize(
    ("grid", "early"), [(2, []), (4, []), (7, [1, 4, 5, 6]), (14, [1, 4, 5, 6, 7])]
)
def test_cells_that_spill_by_a_pixel(grid: int, early: list[int]) -> None:
    row = LAYOUT.fixations(LAYOUT.offsets[LAYOUT.grids.index(grid)] + np.arange(grid), 1.0)
    found = []
    for cell in range(grid):
        mask = ro.fixation_image_mask_tensor(1, 224, 224, row.select(np.array([cell])))
        first = int(mask[0, 0].any(dim=0).int().argmax())
        if first != cell * 224 // grid:
            assert first == cell * 224 // grid - 1
            found.append(cell)
    assert found == early


def test_traces_without_the_frame_are_black() -> None:
    cell = LAYOUT.fixations([0], 1.0)
    masks = ro.frame_fixation_masks_tensor([[cell], [Fixations.empty(), cell]], 1, 4, 4)
    assert masks.sum(dim=(1, 2, 3)).tolist() == [0, 4]


def test_a_mask_is_averaged_over_channels_then_clamped() -> None:
    image = torch.full((1, 1, 1, 1), 8.0)
    mask = torch.tensor([3.0, -1.0]).reshape(1, 2, 1, 1)
    assert ro.apply_image_mask(image, mask, 2).item() == 8  # clamped first, the mean were 0.5
    black = ro.apply_image_mask(torch.full((1, 1, 1, 1), math.nan), torch.zeros(1, 1, 1, 1), 0)
    assert math.isnan(black.item())


def test_masks_of_a_batch_of_their_own() -> None:
    mask = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    (level,) = ro.image_pyramid_masks(mask, 2, 2, [ro.ImagePyramidLevel(1, 1)])
    assert level.density.reshape(-1).tolist() == [0.5, 0]
    assert level.active.reshape(-1).tolist() == [1, 0]
