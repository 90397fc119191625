"""What scripts import from ``autogaze.datasets.video_utils``.

Source: upstream interface 1; inference spec 2.1 (the helpers that read and sample frames).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError, InputError


def get_relative_video_path(path: str) -> str:
    """The last three parts of a path.

    >>> get_relative_video_path("/data/set/class/clip.mp4")
    'set/class/clip.mp4'
    """
    return "/".join(path.replace("\\", "/").split("/")[-3:])


def read_video_pyav(container: Any, indices: Collection[int]) -> NDArray[np.uint8]:
    """Decode frames of an open video from its start.

    Args:
        container: What ``av.open`` returned.
        indices: Numbers of the wanted frames, from 0. Frames come in the video's order; numbers
            past its end are left out.

    Returns:
        RGB, ``uint8 [n, h, w, 3]``.

    Raises:
        InputError: The video has none of these frames.
    """
    wanted = {int(index) for index in indices}
    last = max(wanted, default=-1)
    frames = []
    container.seek(0)
    for index, frame in enumerate(container.decode(video=0)):
        if index > last:
            break
        if index in wanted:
            frames.append(frame.to_ndarray(format="rgb24"))
    if not frames:
        raise InputError(
            f"{getattr(container, 'name', 'the video')}: has none of the frames asked for"
        )
    return np.stack(frames)


def sample_frame_indices(
    clip_len: int, frame_sample_rate: float, seg_len: int, random_sample_frame: bool = False
) -> NDArray[np.int64]:
    """Numbers of ``clip_len`` frames of a video of ``seg_len`` frames.

    Args:
        clip_len: How many.
        frame_sample_rate: Frames of the video per sampled frame.
        seg_len: Frames of the video. When they are too few for that rate, the first frames are
            taken one by one, and the last of them is repeated.
        random_sample_frame: Whether to start anywhere (by NumPy's global generator), not at 0.

    Returns:
        ``int64 [clip_len]``.
    """
    span = int(clip_len * frame_sample_rate)
    if seg_len <= span:
        return np.minimum(np.arange(clip_len), min(clip_len, seg_len) - 1)
    start = 0
    if random_sample_frame:
        start = int(np.random.randint(span, seg_len)) - span  # noqa: NPY002 (scripts seed this one)
    spread = np.linspace(start, start + span, num=clip_len)
    return np.clip(spread, start, start + span - 1).astype(np.int64)


def process_video_frames(video: NDArray[np.uint8], clip_len: int) -> NDArray[np.uint8]:
    """Cut a clip ``[t, h, w, 3]`` to ``clip_len`` frames, or repeat its last frame."""
    if video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise ConfigError(f"video must be [t, h, w, 3], not {list(video.shape)}")
    return video[np.minimum(np.arange(clip_len), len(video) - 1)]


def transform_video_for_pytorch(
    video: NDArray[np.uint8], transform: Callable[..., Any] | None = None
) -> torch.Tensor:
    """Preprocess the frames of one clip.

    Args:
        video: RGB, ``uint8 [t, h, w, 3]``.
        transform: An image processor, of this package or of ``transformers``; None = none.

    Returns:
        ``[t, 3, h', w']``.
    """
    frames: Any = video
    if transform is not None:
        frames = transform(list(video)).pixel_values
        if isinstance(frames[0], list):  # a list of clips, each a list of frames
            frames = frames[0]
    stacked = torch.stack([torch.as_tensor(np.asarray(frame)) for frame in frames])
    if stacked.ndim != 4 or 3 not in (stacked.shape[1], stacked.shape[3]):
        raise ConfigError(f"the transform returned frames of shape {list(stacked.shape[1:])}")
    if stacked.shape[3] == 3:
        stacked = stacked.permute(0, 3, 1, 2).contiguous()
    return stacked
