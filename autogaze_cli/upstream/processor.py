"""``AutoGazeImageProcessor``. Source: upstream interface 3; inference spec 1.3, 2.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from autogaze_cli.errors import ConfigError
from autogaze_cli.model.catalog import PREPROCESSOR
from autogaze_cli.model.checkpoint import find_checkpoint
from autogaze_cli.model.files import read_json
from autogaze_cli.model.preprocess import center_crop, resize_shortest
from autogaze_cli.upstream.records import BatchFeature

DEFAULTS: dict[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 2,
    "do_center_crop": False,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 127.5,
    "offset": True,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""The published class's own defaults, which are not the checkpoint's."""


class AutoGazeImageProcessor:
    """Turns frames into the model's input; settings are attributes, named as in the file.

    Attributes:
        do_resize: Whether to resize.
        size: ``{"shortest_edge": n}``, or ``{"height": h, "width": w}``, which stretches.
        resample: Pillow's number of the resampling filter.
        do_center_crop: Whether to crop after that.
        crop_size: ``{"height": h, "width": w}``.
        do_rescale: Whether to multiply pixels by ``rescale_factor``.
        rescale_factor: 1 / 127.5 together with ``offset`` gives values in -1..1.
        offset: Whether to subtract 1 after that.
        do_normalize: Whether to subtract ``image_mean`` and divide by ``image_std``.
        image_mean: Per channel.
        image_std: Per channel.
    """

    do_resize: bool
    size: dict[str, int]
    resample: int
    do_center_crop: bool
    crop_size: dict[str, int]
    do_rescale: bool
    rescale_factor: float
    offset: bool
    do_normalize: bool
    image_mean: Sequence[float]
    image_std: Sequence[float]

    def __init__(self, **settings: Any) -> None:
        """Take settings; the others are the published class's defaults, unknown ones are stored."""
        for name, value in {**DEFAULTS, **settings}.items():
            setattr(self, name, _size(value) if name in ("size", "crop_size") else value)

    @classmethod
    def from_pretrained(cls, name: str | Path, **settings: Any) -> Self:
        """Load a checkpoint's processor.

        Args:
            name: A folder, a Hub id in the local cache, or a bundled model's name.
            settings: What replaces the file's.

        Raises:
            ModelError: There is no such checkpoint, or its file cannot be read.
        """
        return cls(**{**read_json(find_checkpoint(name) / PREPROCESSOR), **settings})

    def to_dict(self) -> dict[str, Any]:
        """The settings, as ``preprocessor_config.json`` has them."""
        return dict(vars(self))

    def __call__(
        self, images: Any = None, *, videos: Any = None, return_tensors: Any = None, **settings: Any
    ) -> BatchFeature:
        """Process frames.

        Args:
            images: A frame, a clip (a list of frames), or a list of clips. A frame is uint8
                ``[h, w, 3]`` or ``[3, h, w]``, an array or a tensor, or a Pillow image.
            videos: The same, by the other published name.
            return_tensors: ``"pt"`` or ``"np"``; None = lists.
            settings: Settings for this call alone.

        Returns:
            ``pixel_values``: float32 ``[b, t, 3, h', w']``, or without ``return_tensors`` a list of
            clips, each a list of arrays ``[3, h', w']``.

        Raises:
            ConfigError: Frames of another kind, an unknown setting, or ``return_tensors`` for
                frames of different sizes.
        """
        given = images if videos is None else videos
        if given is None:
            raise ConfigError("the processor was given no frames")
        unknown = settings.keys() - DEFAULTS.keys()
        if unknown:
            raise ConfigError(f"the processor has no setting {sorted(unknown)[0]!r}")
        one_call = type(self)(**{**vars(self), **settings})
        clips = [[one_call._process(frame) for frame in clip] for clip in _clips(given)]
        return BatchFeature(pixel_values=_stacked(clips, return_tensors))

    preprocess = __call__

    def _process(self, frame: Any) -> NDArray[np.float32]:
        pixels = _pixels(frame)
        if self.do_resize:
            pixels = resize_shortest(pixels, self.size, Image.Resampling(self.resample))
        if self.do_center_crop:
            pixels = center_crop(pixels, (self.crop_size["height"], self.crop_size["width"]))
        if self.offset and not self.do_rescale:
            raise ConfigError("offset cannot be used without do_rescale")
        # A channel has 256 values: work them out once, and look them up.
        table = np.arange(256, dtype=np.float64)[:, None].repeat(3, axis=1)  # [256, 3]
        if self.do_rescale:
            table = (table * self.rescale_factor).astype(np.float32)
        values = table.astype(np.float32) - np.float32(1 if self.offset else 0)
        if self.do_normalize:
            mean, std = np.array(self.image_mean, np.float32), np.array(self.image_std, np.float32)
            values = (values - mean) / std
        return np.stack([values[pixels[..., c], c] for c in range(3)])


def _size(value: Any) -> dict[str, int]:
    """A size as a dictionary; a pair is height and width, one number the shortest edge."""
    if isinstance(value, Mapping):
        return {key: int(side) for key, side in value.items() if side is not None}
    if isinstance(value, Sequence):
        return dict(zip(("height", "width"), map(int, value), strict=True))
    return {"shortest_edge": int(value)}


def _clips(given: Any) -> list[list[Any]]:
    """One frame, a clip, or clips, as clips."""
    if isinstance(given, np.ndarray | torch.Tensor):
        given = given if given.ndim > 3 else [given]
        return [list(clip) for clip in given] if given[0].ndim == 4 else [list(given)]
    if not isinstance(given, Sequence):  # a Pillow image
        return [[given]]
    first = given[0] if len(given) else None
    if isinstance(first, Sequence) or getattr(first, "ndim", 0) == 4:
        return [list(clip) for clip in given]
    return [list(given)]


def _pixels(frame: Any) -> NDArray[np.uint8]:
    """One frame as uint8 ``[h, w, 3]``."""
    if isinstance(frame, Image.Image):
        frame = frame.convert("RGB")
    pixels = np.asarray(frame.detach().cpu() if isinstance(frame, torch.Tensor) else frame)
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ConfigError(f"a frame must be [h, w, 3] or [3, h, w], not {list(pixels.shape)}")
    whole = pixels.astype(np.uint8)
    if pixels.dtype != np.uint8 and not np.array_equal(whole, pixels):
        raise ConfigError(
            f"frames of {pixels.dtype} must hold whole numbers from 0 to 255",
            hint="give the pixels as they were decoded, uint8",
        )
    return whole


def _stacked(clips: list[list[NDArray[np.float32]]], kind: Any) -> Any:
    """The clips as lists, or as one array or tensor."""
    if kind is None:
        return clips
    name = str(getattr(kind, "value", kind))
    if name not in ("pt", "np"):
        raise ConfigError(f"return_tensors must be 'pt' or 'np', not {name!r}")
    shapes = {frame.shape for clip in clips for frame in clip}
    if len(shapes) != 1 or len({len(clip) for clip in clips}) != 1:
        raise ConfigError("return_tensors needs clips of one length and frames of one size")
    array = np.stack([np.stack(clip) for clip in clips])
    return torch.from_numpy(array) if name == "pt" else array
