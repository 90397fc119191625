"""Frames as callers have them, brought to one form: 8-bit RGB, the channels last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_FORMS = {3: ("[h, w, 3]", "[3, h, w]"), 4: ("[t, h, w, 3]", "[t, 3, h, w]")}


def rgb_array(frames: Any, dimensions: int) -> NDArray[np.uint8]:
    """Frames as an array; a tensor may be on any device.

    Args:
        frames: uint8 ``[..., h, w, 3]``, or floating-point ``[..., 3, h, w]`` in 0..1, which is
            rounded to 8 bits.
        dimensions: 3 for a frame, 4 for a clip, 5 for a batch of clips.

    Returns:
        uint8 ``[..., h, w, 3]``, in C order and writable, as PyTorch needs it; the array itself if
        it is.

    Raises:
        ConfigError: The frames have another form, or values out of range.
    """
    if is_tensor(frames):
        return np.require(rgb_tensor(frames, dimensions).cpu().numpy(), requirements=["C", "W"])
    try:
        array = np.asarray(frames)
    except ValueError as error:
        raise ConfigError("the frames of a clip have different sizes") from error
    _check_form(array.shape, array.dtype, dimensions, array.dtype == np.uint8)
    if array.dtype == np.uint8:
        return np.require(array, requirements=["C", "W"])
    if not np.issubdtype(array.dtype, np.floating):
        raise _wrong_form(array.shape, array.dtype, dimensions)
    levels = np.rint(array.astype(np.float32) * np.float32(255))
    _check_range(float(levels.min()), float(levels.max()))
    return np.ascontiguousarray(np.moveaxis(levels, -3, -1).astype(np.uint8))


def rgb_tensor(frames: Tensor, dimensions: int) -> Tensor:
    """Frames as a tensor on their own device; see ``rgb_array``."""
    eight_bits = str(frames.dtype) == "torch.uint8"
    _check_form(tuple(frames.shape), frames.dtype, dimensions, eight_bits)
    if eight_bits:
        return frames.detach()
    if not frames.is_floating_point():
        raise _wrong_form(tuple(frames.shape), frames.dtype, dimensions)
    levels = (frames.detach().float() * 255).round()
    lowest, highest = levels.aminmax()
    _check_range(float(lowest), float(highest))
    return levels.movedim(-3, -1).byte().contiguous()


def is_tensor(frames: object) -> TypeGuard[Tensor]:
    """Whether it is a PyTorch tensor, without importing PyTorch."""
    return hasattr(frames, "detach")


def _check_form(shape: tuple[int, ...], dtype: object, dimensions: int, last: bool) -> None:
    if len(shape) != dimensions or shape[-1 if last else -3] != 3:
        raise _wrong_form(shape, dtype, dimensions)
    if 0 in shape:
        raise ConfigError(f"there are no pixels in frames of shape {list(shape)}")


def _wrong_form(shape: tuple[int, ...], dtype: object, dimensions: int) -> ConfigError:
    bytes_form, float_form = _FORMS.get(dimensions, ("[b, t, h, w, 3]", "[b, t, 3, h, w]"))
    return ConfigError(
        f"frames must be uint8 {bytes_form} or floating-point {float_form}, "
        f"not {dtype} {list(shape)}"
    )


def _check_range(lowest: float, highest: float) -> None:
    if not (lowest >= 0 and highest <= 255):  # nor NaN
        found = f"{lowest / 255:g} to {highest / 255:g}"
        raise ConfigError(
            f"floating-point frames must be within 0 to 1, not {found}",
            hint="divide 8-bit values by 255; do not normalise",
        )
