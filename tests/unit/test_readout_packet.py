"""Packets: which form of gaze answers, and that all forms agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations

CONFIG = ro.ReadoutConfig(scales="32+64+112+224", num_vision_tokens_each_frame=265)
CLIP = torch.arange(2 * 4 * 3 * 28 * 28, dtype=torch.float32).reshape(2, 4, 3, 28, 28)
LOCAL = [[[0, 70], [5], [], [264, 100]], [[20], [], [3, 21], [69]]]
GRID, VIDEO = ro.SparseReadoutGrid(14, 14), ro.SparseVideoReadoutGrid(2, 7, 7)
PROJECTION = ro.SparseVideoReadoutProjection(
    GRID,
    VIDEO,
    ro.SparseReadoutOptions(dilation=1),
    ro.SparseVideoReadoutOptions(tubelet_size=2, max_tokens=30),
)


def generated() -> dict[str, object]:
    """The rows of ``LOCAL``, the shorter frames padded."""
    slots = [max(len(row[t]) for row in LOCAL) for t in range(4)]
    ids, padded = [], []
    for row in LOCAL:
        own = [row[t] + [265] * (slots[t] - len(row[t])) for t in range(4)]
        ids.append([265 * t + token for t, frame in enumerate(own) for token in frame])
        padded.append([token == 265 for frame in own for token in frame])
    return {"gazing_pos": ids, "if_padded_gazing": padded, "num_gazing_each_frame": slots}


def packets() -> list[ro.AutoGazePipelinePacket]:
    output = generated()
    traces = ro.traces(output, CONFIG, 3)
    points = ro.generated_to_readout_points(output, CONFIG)
    return [
        ro.AutoGazePipelinePacket(clip=CLIP, traces=traces),
        ro.AutoGazePipelinePacket(clip=CLIP, readout_points=points),
        ro.AutoGazePipelinePacket(clip=CLIP, generated=output, config=CONFIG),
    ]


def test_every_form_of_gaze_gives_the_same_answers() -> None:
    answers = [
        (
            [tokens.tolist() for tokens in packet.frame_readout_tokens(3, GRID)],
            [rects.tolist() for rects in packet.frame_readout_rects(0)],
            [tokens.tolist() for tokens in packet.video_readout_tokens_with_projection(PROJECTION)],
            packet.video_readout_coords_with_projection(PROJECTION).tolist(),
            packet.video_readout_coord_tensor_with_projection(PROJECTION).tolist(),
        )
        for packet in packets()
    ]
    assert answers[0] == answers[1] == answers[2]
    tokens, rects, _, coords, tensor = answers[0]
    assert tokens == [[195, 31], [0]]
    assert rects[0][0] == [0, 0, 0.5, 0.5]
    assert coords == tensor
    assert {row[0] for row in coords} == {0, 1}


def test_traces_come_before_points_before_ids() -> None:
    nothing = [[Fixations.empty()] * 4] * 2
    packet = ro.AutoGazePipelinePacket(
        clip=CLIP, readout_points=nothing, generated=generated(), config=CONFIG
    )
    assert [len(tokens) for tokens in packet.frame_readout_tokens(0, GRID)] == [0, 0]
    assert packet.video_readout_coord_tensor(GRID, VIDEO).shape == (0, 4)
    full = ro.traces(generated(), CONFIG, 1)
    packet = ro.AutoGazePipelinePacket(clip=CLIP, traces=full, readout_points=nothing)
    assert [len(tokens) for tokens in packet.frame_readout_tokens(0, GRID)] == [49, 4]


def test_a_frame_past_the_end_is_an_error_for_ids_only() -> None:
    of_traces, of_points, of_ids = packets()
    for packet in (of_traces, of_points):
        assert [len(tokens) for tokens in packet.frame_readout_tokens(4, GRID)] == [0, 0]
    with pytest.raises(ConfigError, match=r"frame index 4 .* 4 frames"):
        of_ids.frame_readout_tokens(4, GRID)
    with pytest.raises(ConfigError, match="frame 4 is outside clip length 4"):
        of_ids.frame_tensor(4)


def test_what_is_missing_is_named() -> None:
    bare = ro.AutoGazePipelinePacket(clip=CLIP)
    with pytest.raises(ConfigError, match=r"emit_traces.*emit_readout_points.*emit_generated"):
        bare.frame_readout_rects(0)
    for packet in packets()[1:]:
        with pytest.raises(ConfigError, match="emit_traces"):
            packet.frame_mask(0)


def test_masks_and_pyramids_of_a_frame() -> None:
    packet = packets()[0]
    assert torch.equal(packet.frame_tensor(2), CLIP[:, 2])
    mask = packet.frame_mask(0)
    assert mask.shape == (2, 1, 28, 28)
    assert mask[0, 0, :14, :14].all()
    tokens = packet.frame_pyramid_tokens(0, [ro.ImagePyramidLevel(2, 2)])
    weight = tokens.weights[:, :, 0].numpy()
    np.testing.assert_allclose(weight[0, 0], 1)
    np.testing.assert_allclose(
        tokens.tokens[0, 0].numpy(), CLIP[0, 0, :, :14, :14].mean(dim=(1, 2)).numpy(), rtol=1e-5
    )
