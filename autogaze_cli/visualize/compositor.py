"""Frames and fixations in, composed frames out: full-blend and interframe video."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.geometry import mask_rects
from autogaze_cli.visualize.panels import mask_panel, mix
from autogaze_cli.visualize.psnr import psnr
from autogaze_cli.visualize.rects import Image, Union, union
from autogaze_cli.visualize.settings import Visualization


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameView:
    """One composed frame. The panel and the PSNR are computed on first access.

    Attributes:
        frame: The source, uint8 ``[height, width, 3 or 4]``; not to be overwritten while the view
            is in use.
        fixations: The active fixations of the frame.
        settings: The settings it was composed with.
        union: The pixels that the fixations cover, in the geometry of the settings.
        output: The composed frame, of the shape of ``frame``; read-only.
        keyframe: Whether it is an interframe keyframe.
    """

    frame: Image
    fixations: Fixations
    settings: Visualization
    union: Union
    output: Image
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

    @cached_property
    def mask_panel(self) -> Image:
        """The mask panel, RGBA uint8 ``[height, width, 4]``."""
        return mask_panel(self.frame, self.fixations, self.settings)

    @cached_property
    def psnr_db(self) -> float:
        """PSNR of the output against the source, in dB; infinite when they are equal."""
        return psnr(self.frame, self.output)

    @property
    def _pixels(self) -> int:
        height, width = self.frame.shape[:2]
        return int(height * width)


class Compositor:
    """Composes the frames of one video in order, starting with a keyframe in ``interframe``.

    Another mode or another video needs another compositor; ``settings`` of the same mode may be
    replaced between frames.

    Source: visualization spec 4.
    """

    def __init__(self, settings: Visualization) -> None:
        self.settings = settings
        self._index = 0
        self._previous: Image | None = None

    def step(self, frame: Image, fixations: Fixations) -> FrameView:
        """Compose the next frame.

        Args:
            frame: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
            fixations: Its gazed cells.

        Raises:
            ConfigError: The frame is empty or not of that form; the state is unchanged then.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
            raise ConfigError(
                f"a frame must be uint8 [height, width, 3 or 4], not {frame.dtype} {frame.shape}"
            )
        if not frame.size:
            raise ConfigError(f"a frame must have pixels, not the shape {frame.shape}")
        settings = self.settings
        active = fixations.active()
        covered = _union(active, frame, settings)
        keyframe = settings.visualization_mode == "interframe" and self._is_keyframe(frame)
        if settings.visualization_mode == "full-blend":
            output = _full_blend(frame, covered, settings.blend_alpha)
        elif keyframe or self._previous is None:
            output = frame.copy()
        else:
            output = covered.select(frame, self._previous)
        # The caller gets it, and the next frame is composed from it.
        output.setflags(write=False)
        if settings.visualization_mode == "interframe":
            self._previous = output
        self._index += 1
        return FrameView(
            frame=frame,
            fixations=active,
            settings=settings,
            union=covered,
            output=output,
            keyframe=keyframe,
        )

    def _is_keyframe(self, frame: Image) -> bool:
        """Source: visualization spec 4.3."""
        if self._previous is None or self._previous.shape != frame.shape:
            return True
        duration = self.settings.keyframe_duration
        return duration > 0 and self._index % duration == 0


def _union(fixations: Fixations, frame: Image, settings: Visualization) -> Union:
    height, width = frame.shape[:2]
    geometry = settings.mask_geometry
    if geometry == "deduplicated":
        # Its union always equals that of the native cells, which is cheaper.
        geometry = "native"
    rects = mask_rects(fixations, width, height, geometry, settings.mask_cell_scale)
    return union(rects, width, height)


def _full_blend(frame: Image, covered: Union, alpha: float) -> Image:
    """The frame with its covered pixels blended towards white. Source: visualization spec 4.2."""
    blended = mix(frame, 255, alpha)
    if frame.shape[2] == 4:
        blended[..., 3] = frame[..., 3]
    return covered.select(blended, frame)
