"""Frames and fixations in, composed frames out: full-blend and interframe video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.geometry import mask_rects
from autogaze_cli.visualize.panels import mask_panel, mix
from autogaze_cli.visualize.psnr import psnr
from autogaze_cli.visualize.rects import Image, Union, union
from autogaze_cli.visualize.settings import Visualization

WHITE = 255
"""What ``full-blend`` blends towards."""


class Picture(Protocol):
    """A numpy array or a torch tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels."""

    @property
    def dtype(self) -> Any:
        """Type of its elements."""


P = TypeVar("P", bound=Picture)
V = TypeVar("V", bound="View[Any]")


@dataclass(frozen=True, eq=False, kw_only=True)
class View(Generic[P]):
    """One composed frame.

    Attributes:
        frame: The source, uint8 ``[height, width, 3 or 4]``; not to be overwritten while the view
            is in use.
        fixations: The active fixations of the frame.
        settings: The settings it was composed with.
        union: The pixels that the fixations cover, in the geometry of the settings.
        output: The composed frame, of the shape of ``frame``; not to be overwritten.
        keyframe: Whether it is an interframe keyframe.
    """

    frame: P
    fixations: Fixations
    settings: Visualization
    union: Union
    output: P
    keyframe: bool

    @property
    def mask_pixel_count(self) -> int:
        """Number of pixels that at least one fixation covers."""
        return self.union.pixel_count

    @property
    def updated_pixel_count(self) -> int:
        """Number of updated pixels: all of a keyframe, the mask of any other frame.

        In mode full-blend there are no keyframes, so this is the mask.
        """
        return self._pixels if self.keyframe else self.mask_pixel_count

    @property
    def mask_ratio(self) -> float:
        """``mask_pixel_count`` as a fraction of the frame."""
        return self.mask_pixel_count / self._pixels

    @property
    def update_ratio(self) -> float:
        """``updated_pixel_count`` as a fraction of the frame."""
        return self.updated_pixel_count / self._pixels

    @property
    def _pixels(self) -> int:
        height, width = self.frame.shape[:2]
        return int(height * width)


class FrameView(View[Image]):
    """One composed frame. The panel and the PSNR are computed on first access."""

    @cached_property
    def mask_panel(self) -> Image:
        """The mask panel, RGBA uint8 ``[height, width, 4]``."""
        return mask_panel(self.frame, self.fixations, self.settings)

    @cached_property
    def psnr_db(self) -> float:
        """PSNR of the output against the source, in dB; infinite when they are equal."""
        return psnr(self.frame, self.output)


class Composition(ABC, Generic[P, V]):
    """The rules of composition, without the pixels.

    Another mode or another video needs another compositor; ``settings`` of the same mode may be
    replaced between frames.

    Source: visualization spec 4.
    """

    _byte: Any
    _view: type[V]

    def __init__(self, settings: Visualization) -> None:
        self.settings = settings
        self._index = 0
        self._previous: P | None = None

    def step(self, frame: P, fixations: Fixations) -> V:
        """Compose the next frame.

        Args:
            frame: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
            fixations: Its gazed cells.

        Raises:
            ConfigError: The frame is empty or not of that form; the state is unchanged then.
        """
        shape = tuple(frame.shape)
        if frame.dtype != self._byte or len(shape) != 3 or shape[2] not in (3, 4):
            raise ConfigError(
                f"a frame must be uint8 [height, width, 3 or 4], not {frame.dtype} {shape}"
            )
        if 0 in shape:
            raise ConfigError(f"a frame must have pixels, not the shape {shape}")
        settings = self.settings
        active = fixations.active()
        covered = _union(active, shape[1], shape[0], settings)
        keyframe = settings.visualization_mode == "interframe" and self._is_keyframe(shape)
        if settings.visualization_mode == "full-blend":
            output = self._full_blend(frame, covered)
        elif keyframe or self._previous is None:
            output = self._copy(frame)
        else:
            output = self._select(covered, frame, self._previous)
        if settings.visualization_mode == "interframe":
            self._previous = output
        self._index += 1
        return self._view(
            frame=frame,
            fixations=active,
            settings=settings,
            union=covered,
            output=output,
            keyframe=keyframe,
        )

    def _is_keyframe(self, shape: tuple[int, ...]) -> bool:
        """Source: visualization spec 4.3."""
        if self._previous is None or tuple(self._previous.shape) != shape:
            return True
        duration = self.settings.keyframe_duration
        return duration > 0 and self._index % duration == 0

    @abstractmethod
    def _copy(self, frame: P) -> P: ...

    @abstractmethod
    def _select(self, covered: Union, inside: P, outside: P) -> P: ...

    @abstractmethod
    def _full_blend(self, frame: P, covered: Union) -> P:
        """The frame with its covered pixels blended towards white: visualization spec 4.2."""


class Compositor(Composition[Image, FrameView]):
    """Composes the frames of one video in order, starting with a keyframe in ``interframe``.

    Outputs are read-only: the caller gets them, and the next frame is composed from them.
    """

    _byte = np.uint8
    _view = FrameView

    def step(self, frame: Image, fixations: Fixations) -> FrameView:
        """Compose the next frame; see :meth:`Composition.step`."""
        view = super().step(frame, fixations)
        view.output.setflags(write=False)
        return view

    def _copy(self, frame: Image) -> Image:
        return frame.copy()

    def _select(self, covered: Union, inside: Image, outside: Image) -> Image:
        return covered.select(inside, outside)

    def _full_blend(self, frame: Image, covered: Union) -> Image:
        blended = mix(frame, WHITE, self.settings.blend_alpha)
        if frame.shape[2] == 4:
            blended[..., 3] = frame[..., 3]
        return covered.select(blended, frame)


def _union(fixations: Fixations, width: int, height: int, settings: Visualization) -> Union:
    geometry = settings.mask_geometry
    if geometry == "deduplicated":
        # Its union always equals that of the native cells, which is cheaper.
        geometry = "native"
    rects = mask_rects(fixations, width, height, geometry, settings.mask_cell_scale)
    return union(rects, width, height)
