"""The published helpers: the image processor, frames of a video, pictures, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.model.autogaze import load_model
from autogaze_cli.upstream.processor import AutoGazeImageProcessor
from autogaze_cli.upstream.utils import UnNormalize, get_gazing_pos_from_gazing_mask
from autogaze_cli.upstream.video_utils import (
    get_relative_video_path,
    process_video_frames,
    read_video_pyav,
    sample_frame_indices,
    transform_video_for_pytorch,
)

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "parity-tiny"
FRAMES = np.random.default_rng(1).integers(0, 256, (3, 40, 60, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (None, (224, 336)),
        ((392, 392), (392, 392)),
        ([50, 30], (50, 30)),
        ({"height": 30, "width": 50}, (30, 50)),
        ({"shortest_edge": 33}, (33, 49)),
        (33, (33, 49)),
    ],
)
def test_frames_become_the_input_of_the_model(size: Any, shape: tuple[int, int]) -> None:
    given = {} if size is None else {"size": size}
    processor = AutoGazeImageProcessor.from_pretrained(TINY, **given)
    video = transform_video_for_pytorch(FRAMES, processor)
    assert (video.dtype, video.shape) == (torch.float32, (3, 3, *shape))
    wanted = load_model(TINY).preprocess(
        FRAMES, size=size if isinstance(size, dict) else None if size is None else shape
    )
    assert torch.equal(video, wanted[0])
    again = AutoGazeImageProcessor.from_pretrained(TINY)(list(FRAMES), **given).pixel_values
    assert np.array_equal(np.stack(again[0]), video.numpy())


def test_the_forms_in_which_frames_come() -> None:
    processor = AutoGazeImageProcessor.from_pretrained(str(TINY))
    wanted = processor(list(FRAMES), return_tensors="pt")["pixel_values"]
    assert wanted.shape == (1, 3, 3, 224, 336)
    tensors = torch.from_numpy(FRAMES)
    for form in (
        FRAMES,
        [Image.fromarray(frame) for frame in FRAMES],
        tensors,
        list(tensors.permute(0, 3, 1, 2)),
        FRAMES.astype(np.float32),
        [list(FRAMES)],
        FRAMES[None],
    ):
        assert torch.equal(processor(videos=form, return_tensors="pt").pixel_values, wanted)
    two = processor([FRAMES, FRAMES], return_tensors="np").pixel_values
    assert (type(two), two.shape) == (np.ndarray, (2, 3, 3, 224, 336))
    single = processor(Image.fromarray(FRAMES[1])).pixel_values
    assert np.array_equal(single[0][0], wanted[0, 1])
    assert processor(FRAMES, return_tensors="pt").to("cpu", torch.float16)[
        "pixel_values"
    ].dtype == torch.float16  # fmt: skip


def test_settings_of_the_processor() -> None:
    """Inference spec 1.3: the class's own defaults are not the checkpoint's."""
    plain = AutoGazeImageProcessor()
    assert plain.image_mean == plain.image_std == [0.5, 0.5, 0.5]
    assert plain.size == {"shortest_edge": 256}
    assert plain.rescale_factor == 1 / 127.5
    file = AutoGazeImageProcessor.from_pretrained(TINY)
    assert file.image_mean == [0.485, 0.456, 0.406]
    assert (file.size, file.resample, file.offset) == ({"shortest_edge": 224}, 2, True)
    raw = plain(
        FRAMES, return_tensors="np", do_resize=False, do_rescale=False, offset=False,
        do_normalize=False,
    )  # fmt: skip
    assert np.array_equal(raw.pixel_values[0].transpose(0, 2, 3, 1), FRAMES)
    half = plain(FRAMES, return_tensors="np", do_resize=False, rescale_factor=1 / 255, offset=False)
    expected = (FRAMES / 255 - 0.5) / 0.5
    np.testing.assert_allclose(half.pixel_values[0].transpose(0, 2, 3, 1), expected, atol=1e-6)
    cut = plain(
        FRAMES, do_resize=False, do_center_crop=True, crop_size={"height": 20, "width": 30}
    ).pixel_values[0][0]
    whole = plain(FRAMES, do_resize=False).pixel_values[0][0]
    assert np.array_equal(cut, whole[:, 10:30, 15:45])


@pytest.mark.parametrize(
    ("frames", "settings", "message"),
    [
        (FRAMES / 255, {}, "whole numbers from 0 to 255"),
        ([np.zeros((4, 5), np.uint8)], {}, r"must be \[h, w, 3\] or \[3, h, w\], not \[4, 5\]"),
        (FRAMES, {"sized": 3}, "no setting 'sized'"),
        (FRAMES, {"do_rescale": False}, "offset cannot be used without do_rescale"),
        (FRAMES, {"return_tensors": "tf"}, "return_tensors must be 'pt' or 'np'"),
        (FRAMES, {"do_resize": False, "do_center_crop": True}, "crop_size .* is larger"),
        (
            [FRAMES[0], FRAMES[1, :20]],
            {"return_tensors": "pt", "do_resize": False},
            "frames of one size",
        ),
        (None, {}, "was given no frames"),
    ],
)
def test_what_the_processor_refuses(frames: Any, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AutoGazeImageProcessor.from_pretrained(TINY)(frames, **settings)


def test_frames_of_a_video() -> None:
    path = str(ROOT / "fixtures" / "dog.mp4")
    with av.open(path) as container:
        every = [
            frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)
        ]
    with av.open(path) as container:
        for indices in ([0, 1, 2], [5, 3], np.array([7, 7, 9]), [2, 10**6]):
            found = read_video_pyav(container, indices)
            wanted = [every[i] for i in sorted(set(indices)) if i < len(every)]
            assert np.array_equal(found, np.stack(wanted))
        with pytest.raises(InputError, match=r"dog.mp4: has none of the frames"):
            read_video_pyav(container=container, indices=[10**6])
    assert transform_video_for_pytorch(every[0][None]).shape == (1, 3, *every[0].shape[:2])


def test_which_frames_are_sampled() -> None:
    """Inference spec 2.1, the sampling helper."""
    assert sample_frame_indices(4, 2, 100).tolist() == [0, 2, 5, 7]
    assert sample_frame_indices(4, 1, 100).tolist() == [0, 1, 2, 3]
    assert sample_frame_indices(4, 2, 8).tolist() == [0, 1, 2, 3]
    assert sample_frame_indices(4, 1, 2).tolist() == [0, 1, 1, 1]
    np.random.seed(3)  # noqa: NPY002
    starts = {int(sample_frame_indices(4, 2, 20, random_sample_frame=True)[0]) for _ in range(99)}
    assert min(starts) >= 0
    assert 11 >= max(starts) > 4


def test_clips_are_cut_or_filled_with_their_last_frame() -> None:
    assert np.array_equal(process_video_frames(FRAMES, 2), FRAMES[:2])
    assert np.array_equal(process_video_frames(FRAMES, 5)[3:], FRAMES[[2, 2]])
    with pytest.raises(ConfigError, match="video must be"):
        process_video_frames(FRAMES[0], 2)
    assert get_relative_video_path("a.mp4") == "a.mp4"
    assert get_relative_video_path("c:\\x\\y\\z\\a.mp4") == "y/z/a.mp4"


def test_pictures_come_back() -> None:
    processor = AutoGazeImageProcessor.from_pretrained(TINY)
    video = processor(FRAMES, do_resize=False, return_tensors="pt").pixel_values
    back = UnNormalize(
        mean=processor.image_mean,
        std=processor.image_std,
        rescale_factor=processor.rescale_factor,
    )
    wanted = torch.from_numpy(FRAMES).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(back(video), wanted[None])
    torch.testing.assert_close(back(video[0]), wanted)
    torch.testing.assert_close(back(video[0, 0]), wanted[0])
    plain = UnNormalize([0.5] * 3, [0.25] * 3)
    assert plain(torch.tensor([0.0, 1.0, 9.0]).view(3, 1, 1)).flatten().tolist() == [0.5, 0.75, 1.0]


def test_ids_of_a_mask() -> None:
    mask = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    wanted = [[1, 3, 4], [2, -1, -1], [-1, -1, -1]]
    for form in (mask, mask.float(), mask.bool()):
        ids, padded = get_gazing_pos_from_gazing_mask(form)
        assert ids.tolist() == wanted
        assert torch.equal(padded, ids == -1)
    ids, padded = get_gazing_pos_from_gazing_mask(mask[2:])
    assert ids.shape == padded.shape == (1, 0)
