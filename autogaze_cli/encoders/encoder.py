"""A vision transformer on gazed patches: ``load_encoder`` and what it returns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.encoders.attention import ATTEND, Attend, Packing, means, pack
from autogaze_cli.encoders.checkpoint import (
    Processing,
    encoder_sha256,
    find_encoder,
    read_encoder,
)
from autogaze_cli.encoders.cut import Cutter, as_pictures, resize_frames
from autogaze_cli.encoders.graphs import Graphs
from autogaze_cli.encoders.network import VisionTransformer
from autogaze_cli.encoders.output import EncoderOutput, Patches
from autogaze_cli.encoders.tokens import (
    GazeTokens,
    Places,
    all_tokens,
    encoder_layout,
    tile_layout,
    tokens_of_frames,
    tokens_of_output,
)
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.model.devices import choose_device
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader

AT_ONCE = 1 << 15
"""Tokens that are encoded at once; more are only those of one clip."""


class Encoder:
    """A loaded encoder. Results depend on neither batch nor order, beyond rounding.

    Attributes:
        network: The modules.
        layout: The scales and their ids.
        attend: Which tokens a token sees; see ``load_encoder``.
        processing: How frames become its input.
        name: The name or folder it was loaded by.
        sha256: Of the weights, hexadecimal.
    """

    def __init__(
        self,
        network: VisionTransformer,
        processing: Processing,
        *,
        scales: str | int | Sequence[int] | None = None,
        attend: Attend = "block-causal",
        name: str = "",
        sha256: str = "",
    ) -> None:
        if attend not in ATTEND:
            raise ConfigError(f"attend must be one of {', '.join(ATTEND)}, not {attend!r}")
        s = network.sizes
        self.network, self.processing, self.attend = network, processing, attend
        self.layout = encoder_layout(scales, s.image, s.patch)
        self.name, self.sha256 = name, sha256
        self._graphs = Graphs(network)
        self._cutters: dict[TileLayout, Cutter] = {}
        self._positions: dict[int, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.patch.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and of the arithmetic."""
        return self.network.patch.weight.dtype

    @property
    def size(self) -> int:
        """Side of the pictures in pixels: the largest scale."""
        return self.layout.scales[-1]

    @property
    def dense_attend(self) -> Attend:
        """Which tokens a token of the unmodified model sees."""
        return "clip" if self.network.sizes.tubelet > 1 else "frame"

    def clock(self) -> float:
        """Seconds on a clock, when all that was begun on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def __call__(self, pixels: Tensor | NDArray[np.uint8], gaze: Any) -> EncoderOutput:
        """Encode the gazed patches.

        Args:
            pixels: Normalised ``[b, t, 3, S, S]``, ``S`` the largest scale, or the RGB frames of
                one clip, uint8 ``[t, h, w, 3]``. A trace needs the latter.
            gaze: What ``generate`` of a gaze model returned, ``gazing_info`` as a mapping, or the
                ``Trace`` of these frames, which are one clip.

        Raises:
            ConfigError: The pixels are of another shape, or the gaze is not at them.
        """
        if isinstance(gaze, Trace):
            patches = self.cut_frames(pixels, list(gaze), gaze.header)
        elif pixels.ndim == 4:
            whole = TileLayout(mode="resize", height=pixels.shape[1], width=pixels.shape[2])
            patches = self.cut_tiles(pixels, gaze, whole)
        else:
            patches = self.cut(torch.as_tensor(pixels), gaze)
        return self.encode(patches)

    @torch.inference_mode()
    def cut(self, pixel_values: Tensor, gaze: Any) -> Patches:
        """The gazed patches of normalised pictures; see ``__call__``."""
        self._check_pictures(pixel_values)
        clips, frames = pixel_values.shape[:2]
        return self._cut_pictures(pixel_values, tokens_of_output(gaze, self.layout, clips, frames))

    @torch.inference_mode()
    def cut_all(self, pixel_values: Tensor) -> Patches:
        """Every patch of the largest scale of normalised pictures: the dense input."""
        self._check_pictures(pixel_values)
        return self._cut_pictures(pixel_values, all_tokens(self.layout, *pixel_values.shape[:2]))

    @torch.inference_mode()
    def cut_frames(
        self,
        frames: Tensor | NDArray[np.uint8],
        gaze: Sequence[FrameTrace],
        header: TraceHeader,
        *,
        dense: range | None = None,
    ) -> Patches:
        """The gazed patches of one clip.

        In mode ``resize`` frames are stretched to the encoder's picture as its processor resizes;
        tiles are cut as for the gaze model, and each scale is made from the tile's own pixels.

        Args:
            frames: RGB, uint8 ``[t, h, w, 3]``.
            gaze: The gaze at each of them.
            header: Of the trace.
            dense: Take every patch of the largest scale of these tiles instead.

        Raises:
            ConfigError: The gaze is not at these frames, or its cells are no whole patches.
        """
        pictures = as_pictures(frames)
        if len(pictures) != len(gaze):
            raise ConfigError(f"{len(pictures)} frames were given, and the gaze at {len(gaze)}")
        if dense is None:
            tokens = tokens_of_frames(gaze, header, self.layout)
        else:
            tokens = all_tokens(self.layout, len(dense), len(pictures))
        layout = tile_layout(header, *pictures.shape[1:3])
        return self._cut_frames(pictures, tokens, layout, dense.start if dense else 0)

    @torch.inference_mode()
    def cut_tiles(
        self, frames: Tensor | NDArray[np.uint8], gaze: Any, layout: TileLayout
    ) -> Patches:
        """The gazed patches of one clip in tiles, from the gaze at these tiles.

        As ``cut_frames``, without a trace: no tile is ever made.

        Args:
            frames: RGB, uint8 ``[t, h, w, 3]``.
            gaze: As in ``__call__``, a row for each tile.
            layout: The tiles of a frame.

        Raises:
            ConfigError: The gaze is not at these tiles.
        """
        pictures = as_pictures(frames)
        tokens = tokens_of_output(gaze, self.layout, len(layout), len(pictures))
        return self._cut_frames(pictures, tokens, layout, 0)

    def _cut_frames(
        self, pictures: Tensor, tokens: GazeTokens, layout: TileLayout, first_tile: int
    ) -> Patches:
        if layout.mode == "resize":
            resized = resize_frames(pictures.cpu().numpy(), self.size, self.processing.resample)
            pictures = torch.from_numpy(resized)
            layout = TileLayout(mode="resize", height=self.size, width=self.size)
        mean, std = (torch.tensor(v) for v in (self.processing.mean, self.processing.std))
        return self._cut(
            pictures.to(self.device).permute(0, 3, 1, 2),
            tokens.in_tubelets(self.network.sizes.tubelet),
            layout,
            first_tile=first_tile,
            factor=1 / (255 * std),
            offset=-mean / std,
        )

    def _check_pictures(self, pixels: Tensor) -> None:
        if pixels.ndim != 5 or pixels.shape[2:] != (3, self.size, self.size):
            raise ConfigError(
                f"pixel_values must be [b, t, 3, {self.size}, {self.size}], "
                f"not {list(pixels.shape)}",
                hint="resize to the encoder's largest scale, or load it with other scales",
            )

    def _cut_pictures(self, pixels: Tensor, tokens: GazeTokens) -> Patches:
        return self._cut(
            pixels.to(self.device).flatten(0, 1),
            tokens.in_tubelets(self.network.sizes.tubelet),
            TileLayout(mode="resize", height=self.size, width=self.size),
            per_clip=tokens.frames,
            factor=torch.ones(3),
            offset=torch.zeros(3),
        )

    def _cut(
        self,
        pictures: Tensor,
        tokens: GazeTokens,
        layout: TileLayout,
        *,
        factor: Tensor,
        offset: Tensor,
        per_clip: int = 0,
        first_tile: int = 0,
    ) -> Patches:
        """Cut tokens out of pictures ``[m, 3, h, w]``.

        ``per_clip`` is how many pictures each clip has; 0 = clips are tiles of the same pictures,
        from ``first_tile`` on.
        """
        s = self.network.sizes
        if layout not in self._cutters:
            self._cutters = {layout: Cutter(layout, self.layout.scales, s.patch, self.device)}
        cutter = self._cutters[layout]
        factor, offset = factor.to(self.device), offset.to(self.device)
        pixels = torch.empty(len(tokens), 3, s.tubelet, s.patch, s.patch, device=self.device)
        scale = self.layout.scale_of(tokens.id)
        _, row, col = (part.astype(np.int64) for part in self.layout.cells(tokens.id))
        for number in np.unique(scale).tolist():
            at = np.flatnonzero(scale == number)
            tile = first_tile + tokens.clip[at] * (per_clip == 0)
            first = tokens.clip[at] * per_clip + tokens.time[at] * s.tubelet
            where = torch.from_numpy(at).to(self.device)
            for nth in range(s.tubelet):
                pixels[where, :, nth] = cutter.cut(
                    pictures, first + nth, tile, number, row[at], col[at], factor, offset
                )
        return Patches(tokens=tokens, pixels=pixels)

    @torch.inference_mode()
    def embed(self, patches: Patches) -> Tensor:
        """The patches as tokens, position included: ``[n, d]``."""
        tokens = patches.tokens
        table = self._position_table(tokens.frames // self.network.sizes.tubelet)
        time = tokens.time if len(table) > 1 else np.zeros_like(tokens.time)
        at = torch.from_numpy(self.layout.global_ids(tokens.id, time)).to(self.device)
        return self.network.patchify(patches.pixels.to(self.dtype)) + table.flatten(0, 1)[at]

    def _position_table(self, bins: int) -> Tensor:
        if bins not in self._positions:
            table = self.network.positions(self.layout.grids, bins)
            self._positions = {bins: table.to(self.dtype)}
        return self._positions[bins]

    @torch.inference_mode()
    def encode(self, patches: Patches, attend: Attend | None = None) -> EncoderOutput:
        """Embed patches, run the layers, and pool; ``attend`` None = the encoder's own."""
        tokens, s = patches.tokens, self.network.sizes
        if len(tokens) > AT_ONCE and tokens.clips > 1:
            first, second = (self.encode(half, attend) for half in patches.halves())
            return first.joined([second])
        clips, bins = tokens.clips, tokens.frames // s.tubelet
        places = Places(tokens, bins, s.prefix)
        x = self.embed(patches)
        own, prefix = (torch.from_numpy(at).to(self.device) for at in (places.own, places.prefix))
        if s.prefix:
            whole = x.new_empty(len(own) + len(prefix), s.width)
            whole[own] = x
            whole[prefix] = self.network.prefix.repeat(clips * bins, 1)
            x = whole
        packing = self._pack(places, clips, bins, attend or self.attend)
        if len(x):
            run = self._graphs if x.is_cuda else self.network
            x = run.encode(x, packing)
        hidden = x[own] if s.prefix else x
        prefixes = x[prefix].view(clips, bins, s.prefix, s.width)
        frame, clip = self._pooled(hidden, prefixes, tokens, bins)
        _, row, col = self.layout.cells(tokens.id)
        coords = np.stack([tokens.clip, tokens.time, row, col], axis=1).astype(np.int64)
        sides = np.asarray(self.layout.scales, np.int64)[self.layout.scale_of(tokens.id)]
        return EncoderOutput(
            last_hidden_state=hidden,
            coords=torch.from_numpy(coords),
            scale=torch.from_numpy(sides),
            prefix=prefixes,
            frame_features=frame,
            clip_features=clip,
        )

    def _pack(self, places: Places, clips: int, bins: int, attend: Attend) -> Packing:
        frame = places.frame
        if attend == "frame":
            return pack(frame, np.zeros_like(frame), clips * bins, self.device)
        clip = frame // bins
        rank = {
            "clip": np.zeros_like(frame),
            "block-causal": frame % bins,
            "causal": np.arange(len(frame)),
        }[attend]
        return pack(clip, rank, clips, self.device)

    def _pooled(
        self, hidden: Tensor, prefixes: Tensor, tokens: GazeTokens, bins: int
    ) -> tuple[Tensor, Tensor]:
        """Pooled features of frames ``[b, t, d]`` and of clips ``[b, d]``."""
        s, clips = self.network.sizes, tokens.clips
        if s.pool == "class":
            frame = self.network.pool_class(prefixes[:, :, 0])
            return frame, frame.mean(dim=1)
        frames = tokens.clip * bins + tokens.time
        parts = ((frames, clips * bins), (tokens.clip, clips))
        if s.pool == "attention":
            none = np.zeros_like(frames)
            packings = [pack(which, none, count, self.device) for which, count in parts]
            frame, clip = self.network.pool(hidden, packings)
            frame, clip = (
                pooled
                * torch.from_numpy(np.bincount(which, minlength=count) > 0).to(pooled)[:, None]
                for pooled, (which, count) in zip((frame, clip), parts, strict=True)
            )
        else:
            frame, clip = (means(hidden, which, count) for which, count in parts)
        return frame.view(clips, bins, s.width), clip


def load_encoder(
    folder_or_cached_id: str | Path,
    *,
    scales: str | int | Sequence[int] | None = None,
    attend: Attend = "block-causal",
    device: str | torch.device = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Encoder:
    """Load a vision transformer to encode gazed patches with.

    Args:
        folder_or_cached_id: A folder with ``config.json`` and safetensors weights of SigLIP, SigLIP
            2 (fixed size), CLIP, DINOv2, ViT or VideoMAE, or the id of such a model in the Hub
            cache.
        scales: Sides of its pictures in pixels, such as ``"32+64+112+224"``; None = 2, 4, 7 and 14
            patches per side, or the multiple of them nearest to the checkpoint's picture.
        attend: Which tokens a token sees. ``block-causal``: those of its frame and of earlier ones;
            ``frame``: of its frame; ``clip``: of the clip; ``causal``: earlier ones, and itself.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` (untested) or ``auto``.
        dtype: Precision of weights and arithmetic.

    Raises:
        ModelError: It is missing, incomplete, or of no family that is known.
        ConfigError: The scales are no whole numbers of patches, or ``attend`` is unknown.
        DeviceError: This machine has no such device.
    """
    place = choose_device(device)
    if dtype not in ("float32", "bfloat16"):
        raise ConfigError(f"dtype must be float32 or bfloat16, not {dtype!r}")
    folder = find_encoder(folder_or_cached_id)
    network, processing = read_encoder(folder)
    network.to(place, getattr(torch, dtype))
    return Encoder(
        network,
        processing,
        scales=scales,
        attend=attend,
        name=str(folder_or_cached_id),
        sha256=encoder_sha256(folder),
    )
