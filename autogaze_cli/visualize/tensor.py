"""Composition and panels on torch tensors, on any device: the same bytes as numpy's.

Fixations are on the host, and so is what follows from them alone: the union, the counts and the
cells of a panel come from the code that draws with numpy. Both are uploaded as small tables, which
hold the runs of pixels between the edges of cells, and expanded on the device. Blended values are a
function of two bytes, so they are looked up in tables that numpy's ``mix`` fills. Nothing is read
back, and no step depends on the rounding of a device.

For frames that are on an accelerator already: on a CPU, numpy is several times quicker.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.compositor import WHITE, Composition, View
from autogaze_cli.visualize.panels import BORDERS, FILLS, ON_IMAGE, mix, panel_cells
from autogaze_cli.visualize.psnr import PEAK
from autogaze_cli.visualize.rects import Image, Union, draw_cells, runs
from autogaze_cli.visualize.settings import Visualization

# What a pixel of a panel shows, as one byte: 0 is the ground, then come the borders' colours and
# the colours inside.
_BORDER_CODES = np.arange(len(BORDERS), dtype=np.uint32)
_FILL_CODES = np.array([0, *_BORDER_CODES[1:] + len(FILLS) - 1], np.uint32)
_PALETTE: Image = np.concatenate([BORDERS, FILLS[1:]]).view(np.uint8).reshape(-1, 4)
_WHITE: Image = np.full((1, 3), WHITE, np.uint8)


class TensorView(View[Tensor]):
    """One composed frame, on the device of its source.

    Counts and ratios are plain numbers, known on the host. The mask, the panel and the PSNR are
    computed on the device, on first access.
    """

    @cached_property
    def mask(self) -> Tensor:
        """Whether each pixel is covered, bool ``[height, width]``."""
        return _mask(self.union, self.frame.device)

    @cached_property
    def mask_panel(self) -> Tensor:
        """The mask panel, RGBA uint8 ``[height, width, 4]``."""
        return mask_panel(self.frame, self.fixations, self.settings)

    @cached_property
    def squared_error(self) -> Tensor:
        """The sum of squared differences over R, G and B; int64 ``[]``.

        :func:`autogaze_cli.visualize.psnr.psnr_of` makes the PSNR of it, on the host.
        """
        difference = self.frame[..., :3].int() - self.output[..., :3].int()
        return difference.square_().sum(dtype=torch.int64)

    @cached_property
    def psnr_db(self) -> Tensor:
        """PSNR of the output against the source, in dB; float64 ``[]``, infinite when equal.

        Its last digit depends on the device's logarithm, and MPS has no float64;
        ``squared_error`` is exact everywhere.
        """
        mean = self.squared_error.double() / (3 * self._pixels)
        return 10 * torch.log10(PEAK**2 / mean)


class TensorCompositor(Composition[Tensor, TensorView]):
    """As :class:`autogaze_cli.visualize.compositor.Compositor`, for frames on any one device."""

    _byte = torch.uint8
    _view = TensorView

    def _copy(self, frame: Tensor) -> Tensor:
        return frame.clone()

    def _select(self, covered: Union, inside: Tensor, outside: Tensor) -> Tensor:
        return torch.where(_mask(covered, inside.device)[..., None], inside, outside)

    def _full_blend(self, frame: Tensor, covered: Union) -> Tensor:
        table = _blend_table(_WHITE, self.settings.blend_alpha, keep_image=True)
        return _look_up(table, _mask(covered, frame.device), frame)


def mask_panel(frame: Tensor, fixations: Fixations, settings: Visualization) -> Tensor:
    """The mask panel of a frame, on the frame's device.

    Args:
        frame: uint8 ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.
        fixations: The gazed cells of the frame.
        settings: Style, geometry, cell scale and blend weight.

    Returns:
        uint8 ``[height, width, 4]``, RGBA. A frame without alpha counts as opaque.
    """
    height, width, channels = frame.shape
    codes = _cell_codes(fixations, width, height, settings, frame.device)
    if settings.mask_visualization not in ON_IMAGE:
        found = _upload(_PALETTE, frame.device).index_select(0, codes.int().reshape(-1))
        return found.reshape(height, width, 4)
    if channels == 3:
        frame = torch.cat([frame, frame.new_full((height, width, 1), 255)], dim=2)
    keep_image = settings.mask_visualization == "image-overlay"
    table = _blend_table(_PALETTE[1:, :3], settings.blend_alpha, keep_image=keep_image)
    return _look_up(table, codes, frame)


def _cell_codes(
    fixations: Fixations, width: int, height: int, settings: Visualization, device: torch.device
) -> Tensor:
    """What each pixel of a panel shows, uint8 ``[height, width]``: rows of ``_PALETTE``."""
    rects, colours = panel_cells(fixations, width, height, settings)
    x, y = rects[:, :2], rects[:, 2:]
    # A border ends one pixel inside the cell: with edges there, too, its run is one pixel wide.
    inside = np.array([1, -1])
    column_of = runs(np.concatenate([x, x + inside]), width)
    row_of = runs(np.concatenate([y, y + inside]), height)
    table = np.zeros((row_of[height - 1] + 1, column_of[width - 1] + 1), np.uint32)
    spans = np.concatenate([column_of[x], row_of[y]], axis=1)
    draw_cells(table, spans, colours, _BORDER_CODES, _FILL_CODES)
    codes = _upload(table.astype(np.uint8), device)
    columns, rows = _upload(column_of[:width], device), _upload(row_of[:height], device)
    return codes.index_select(1, columns).index_select(0, rows)


def _mask(union: Union, device: torch.device) -> Tensor:
    """The mask of a union, bool ``[height, width]``."""
    return _upload(union.rows, device).index_select(0, _upload(union.row_of, device))


def _blend_table(colours: Image, alpha: float, *, keep_image: bool) -> Image:
    """Every byte of a frame blended with every colour; alpha stays as it is.

    Args:
        colours: uint8 ``[n, 3]``.
        alpha: Weight of the colours.
        keep_image: Whether pixels without a colour keep the frame; otherwise they become clear.

    Returns:
        uint8 ``[n + 1, 4, 256]``: number of the colour, or 0 for none; channel; byte of the frame.
    """
    bytes_ = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(colours), 3, 256))
    table = np.empty((len(colours) + 1, 4, 256), np.uint8)
    table[:] = bytes_[0, 0]
    table[1:, :3] = mix(bytes_, colours[..., None], alpha)
    if not keep_image:
        table[0] = 0
    return table


def _look_up(table: Image, codes: Tensor, frame: Tensor) -> Tensor:
    """The bytes of a table ``[n, 4, 256]`` at the code of each pixel and each byte of a frame.

    Args:
        table: See ``_blend_table``.
        codes: bool or uint8 ``[height, width]``.
        frame: uint8 ``[height, width, 3 or 4]``.

    Returns:
        uint8 of the shape of ``frame``.
    """
    channel = torch.arange(0, 256 * frame.shape[2], 256, dtype=torch.int32, device=frame.device)
    index = (codes.int() * table[0].size)[..., None] + channel + frame
    found = _upload(table.reshape(-1), frame.device).index_select(0, index.reshape(-1))
    return found.reshape(frame.shape)


def _upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device, without waiting for the device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
