"""The operation counts, against counts made slot by slot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli.bench.operations import decode_operations, gaze_operations, vision_operations
from autogaze_cli.bench.synthetic import seeded_model
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.config import GazeConfig

PUBLISHED = GazeConfig(layout=ScaleLayout.from_config("32+64+112+224", 265, 16))
SMALL = GazeConfig(
    layout=ScaleLayout.from_config(2, 4, 1),
    input_img_size=2,
    kernel_size=1,
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=4,
    num_multi_token_pred=3,
)


def test_one_frame_of_a_small_decoder_by_hand() -> None:
    # Four vision tokens, then one call with a chunk of three: 5 tokens in chunks of 3 and 2.
    # A product of one slot: q 2*8*8 = 128, k and v 2*8*8 = 128, o 128, gate and up and down
    # 3 * 2*8*16 = 768. A key costs 2*8 for its score and 2*8 for its value: 32.
    lower = (4 + 3) * (128 + 128 + 128 + 768) + 32 * ((1 + 2 + 3 + 4) + (5 + 6 + 7))
    last = (4 + 3) * 128 + 2 * (128 + 128 + 768) + 32 * (4 + 7)
    heads = 2 * 2 * 8 * (5 * 3 + 3)
    assert decode_operations(SMALL, np.array([[5]]), np.array([[2]])) == lower + last + heads


def test_the_next_frame_takes_the_tail_along() -> None:
    one = decode_operations(SMALL, np.array([[5]]), np.array([[2]]))
    two = decode_operations(SMALL, np.array([[5, 1]]), np.array([[2, 1]]))
    cached, n = 4 + 3, 2 + 4
    lower = n * (128 + 128 + 128 + 768) + 32 * sum(cached + i for i in range(1, n + 1))
    last = n * 128 + (128 + 128 + 768) + 32 * (cached + n)
    assert two - one == lower + last + 2 * 8 * (5 * 3 + 3)


def test_rows_add_up() -> None:
    slots, tails = np.array([[5, 3], [1, 2]]), np.array([[2, 3], [1, 2]])
    each = [decode_operations(SMALL, slots[i : i + 1], tails[i : i + 1]) for i in range(2)]
    assert decode_operations(SMALL, slots, tails) == sum(each)


def test_vision_by_hand() -> None:
    patches, blocks, out = 3 * 16 * 16 * 192, 27 * 192 * 192, 192 * 192
    assert vision_operations(PUBLISHED, 3) == 3 * 196 * 2 * (patches + blocks + out)
    assert vision_operations(replace(PUBLISHED, vision_depth=0), 1) == 196 * 2 * (patches + out)


def test_a_published_clip_without_stopping_is_about_70_gflop() -> None:
    """Of the 90 that a decoder takes which runs all of its last layer."""
    slots = np.full((1, 16), 198)
    total = decode_operations(PUBLISHED, slots, np.full((1, 16), 8))
    total += vision_operations(PUBLISHED, 16)
    assert 65e9 < total < 75e9


@pytest.mark.parametrize("loss", [None, 0.7])
def test_the_counts_are_those_of_the_calls_that_were_made(loss: float | None) -> None:
    model = seeded_model()
    calls: list[tuple[int, int]] = []
    run = model._decoder.run

    def counted(x: torch.Tensor, positions: Any, caches: Any, lengths: list[int]) -> torch.Tensor:
        calls.append((len(x), caches[0].end))
        return run(x, positions, caches, lengths)

    model._decoder.run = counted  # type: ignore[method-assign]
    for row in range(2):
        calls.clear()
        video = torch.randn(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(row))
        gaze = model.generate(video, gazing_ratio=0.1, task_loss_requirement=loss)
        c = model.config
        slot = 2 * 192 * 192 * 4 + 6 * 192 * 384
        expected = sum(
            (c.num_hidden_layers - 1) * (n * slot + 4 * 192 * sum(cached + i + 1 for i in range(n)))
            + (n - 1) * 4 * 192 * 192
            + slot
            + 4 * 192 * (cached + n)
            + 2 * 192 * (266 * 10 + 10)
            for n, cached in calls
        )
        assert len(calls) > 1
        assert gaze_operations(c, gaze) == expected
