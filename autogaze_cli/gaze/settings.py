"""Settings of the gaze source, and their validation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from autogaze_cli.errors import ConfigError, DeviceError

MaskSource = str
"""The name of a gaze source, as ``autogaze_cli.sources.registry`` knows it."""

Mode = Literal["resize", "tiled", "tiled-full"]
MODES: dict[str, tuple[str, ...]] = {
    "resize": ("resize-224", "resize-to-model-input", "realtime", "fast"),
    "tiled": (
        "anyres",
        "anyres-tile",
        "anyres-tile-224",
        "anyres-tiled",
        "tile",
        "tile-224",
        "tiled-resize-to-grid",
    ),
    "tiled-full": ("full-res", "full-resolution", "tiled-full-resolution"),
}
"""Values of ``mode`` and the other spellings of each. Source: visualization spec 7."""
Attend = Literal["block-causal", "frame", "clip", "causal"]
"""Which tokens of a clip a token of a sparse encoder sees."""

ALL_GPUS = "cuda:all"
"""The device that spreads clips over all CUDA GPUs."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(all|\d{1,3}))?", re.ASCII)

_SCALES = re.compile(r"0*[1-9]\d{0,4}(\+0*[1-9]\d{0,4})*", re.ASCII)

_MAXIMUM = {
    "tile_size": 65535,
    "stride": 65535,
    "tile_batch_size": 2**31 - 1,
    "clip_len": 2**31 - 1,
    "horizon_frames": 2**31 - 1,
    "top_k": 2**31 - 1,
    "max_gaze_tokens_each_frame": 2**31 - 1,
    "target_patch_size": 65535,
    "patch_diff_grid": 1024,
    "rlt_tubelet": 2**31 - 1,
    "threads": 1024,
}
"""Maximum values of integer settings; larger ones could only exhaust the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GazeSettings:
    """Settings of a gaze source.

    Attributes:
        mask_source: ``autogaze`` runs a model; the others, such as ``patch-diff``, need none. See
            ``autogaze_cli.sources.registry``, which knows the names.
        model: A folder, a bundled name or a Hub id; required for ``autogaze``.
        mode: ``resize`` shows the model the whole frame at 224 x 224; ``tiled`` stretches it to a
            whole number of tiles; ``tiled-full`` cuts tiles at full resolution and pads.
        tile_size: Side of a tile in pixels.
        stride: Tile stride in pixels (``tiled-full`` only), at most ``tile_size``; None =
            ``tile_size``.
        tile_batch_size: Tiles per batch. Never changes a result.
        clip_len: Frames per model clip; clips are independent.
        horizon_frames: Rolling context instead of clips: each frame is processed as it arrives and
            attends to the last N frames, including itself; mode ``resize`` only. None = clips.
        target_scales: Scales in pixels, such as ``56+112+196+392``: the frame is stretched to a
            square of the largest, gazed at in tiles, and its ids are those of grids of that size;
            mode ``resize`` only. None = the model's own scales.
        target_patch_size: Patch side in pixels of the target scales; given with them.
        top_k: Minimum of the token budget per tile per frame, unless a ratio sets the budget.
        max_gaze_tokens_each_frame: Maximum tokens per tile per frame; None = the model's own.
        gazing_ratio: The same maximum as a fraction of a frame's tokens; cannot be used with
            ``max_gaze_tokens_each_frame``.
        coverage_ratio: Early stopping: end a frame (in tiled modes, a tile) once its cells cover
            this share of it, above 0 and at most 1; None = never.
        task_loss_requirement: Early stopping: end a frame once its predicted loss is this low;
            None = never, ``"model"`` = the model's own, or never if ``gazing_ratio`` is given.
        exact: Choose exactly the maximum number of tokens in every frame; thresholds and early
            stopping do not apply. Needs one of the two settings of that maximum.
        pruning_rate: Leave out this fraction of the tokens of the whole clip, those with the
            lowest scores, instead of those at or below a threshold; not for ``autogaze``. None =
            not given, or 0.75 for ``evs``.
        patch_diff_grid: Grid size, N x N, of every source without a model.
        patch_diff_threshold: Mean difference (in normalised units) above which patch-diff selects
            a cell.
        rlt_threshold: Mean difference (of pixels in -1 to 1) above which ``rlt`` keeps a patch.
        rlt_tubelet: Frames per tubelet of ``rlt``.
        codec_threshold: Score above which ``codec`` selects a cell, see ``sources.codec``.
        seed: Seed of ``random``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``cuda:all`` to spread clips over GPUs, or
            ``mps`` (an Apple GPU, untested).
        dtype: ``float32`` or ``bfloat16``.
        threads: CPU threads; None = PyTorch's own choice. Never changes a result.
    """

    mask_source: MaskSource = "patch-diff"
    model: str | None = None
    mode: Mode = "resize"
    tile_size: int = 224
    stride: int | None = None
    tile_batch_size: int = 8
    clip_len: int = 16
    horizon_frames: int | None = None
    target_scales: str | None = None
    target_patch_size: int | None = None
    top_k: int = 1
    max_gaze_tokens_each_frame: int | None = None
    gazing_ratio: float | None = None
    coverage_ratio: float | None = None
    task_loss_requirement: float | Literal["model"] | None = "model"
    exact: bool = False
    pruning_rate: float | None = None
    patch_diff_grid: int = 14
    patch_diff_threshold: float = 0.45
    rlt_threshold: float = 0.1
    rlt_tubelet: int = 2
    codec_threshold: float = 0.25
    seed: int = 0
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        _one_of("mode", self.mode, ("resize", "tiled", "tiled-full"))
        _one_of("dtype", self.dtype, ("float32", "bfloat16"))
        check_device_name(self.device)
        for name, maximum in _MAXIMUM.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= maximum:
                raise ConfigError(f"{name} must be within 1 to {maximum}, not {value}")
        if self.mask_source == "autogaze" and self.model is None:
            raise ConfigError(
                "mask_source autogaze needs a model", hint="give --model FOLDER or a Hub id"
            )
        if self.stride is not None and self.stride > self.tile_size:
            raise ConfigError(
                f"stride {self.stride} is larger than tile_size {self.tile_size}",
                hint="a larger stride would leave gaps between tiles",
            )
        if self.horizon_frames is not None and self.mode != "resize":
            raise ConfigError(
                f"horizon_frames needs mode resize, not {self.mode}",
                hint="tiled modes process independent clips",
            )
        loss = self.task_loss_requirement
        if isinstance(loss, float | int) and not (math.isfinite(loss) and loss >= 0):
            raise ConfigError(
                f"task_loss_requirement must be a finite number of at least 0, not {loss}"
            )
        for name in ("patch_diff_threshold", "rlt_threshold", "codec_threshold"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be a finite number of at least 0, not {value}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be within 0 to {2**63 - 1}, not {self.seed}")
        self._check_target()
        self._check_budget()

    def _check_budget(self) -> None:
        """Refuse budgets that contradict each other."""
        if self.max_gaze_tokens_each_frame is not None and self.gazing_ratio is not None:
            raise ConfigError(
                "max_gaze_tokens_each_frame and gazing_ratio both set the token budget",
                hint="give one of them",
            )
        if self.gazing_ratio is not None and not 0 <= self.gazing_ratio <= 1:
            raise ConfigError(f"gazing_ratio must be within 0 to 1, not {self.gazing_ratio}")
        if self.coverage_ratio is not None and not 0 < self.coverage_ratio <= 1:
            raise ConfigError(
                f"coverage_ratio must be above 0 and at most 1, not {self.coverage_ratio}",
                hint="leave it out to never stop by coverage",
            )
        if self.exact and self.max_gaze_tokens_each_frame is None and self.gazing_ratio is None:
            raise ConfigError(
                "exact needs the number of tokens", hint="give max_gaze_tokens_each_frame as well"
            )
        if self.exact and self.coverage_ratio is not None:
            raise ConfigError(
                "exact and coverage_ratio both say where a frame ends", hint="give one of them"
            )
        if self.pruning_rate is None:
            return
        if not 0 <= self.pruning_rate <= 1:
            raise ConfigError(f"pruning_rate must be within 0 to 1, not {self.pruning_rate}")
        if self.exact:
            raise ConfigError(
                "exact and pruning_rate both say which tokens are chosen", hint="give one of them"
            )
        if self.mask_source == "autogaze":
            raise ConfigError(
                "pruning_rate cannot be used with mask_source autogaze", hint="give gazing_ratio"
            )

    def _check_target(self) -> None:
        """Refuse invalid target scales; whether they suit the model is checked with the model."""
        scales, patch = self.target_scales, self.target_patch_size
        if (scales is None) != (patch is None):
            raise ConfigError(
                "target_scales and target_patch_size belong together",
                hint="give both: --target-scales 56+112+196+392 --target-patch-size 14",
            )
        if scales is not None and not _SCALES.fullmatch(scales):
            raise ConfigError(
                f"target_scales must be whole numbers of pixels joined by '+', not {scales!r}",
                hint="write them as 56+112+196+392",
            )
        if scales is not None and self.mode != "resize":
            raise ConfigError(
                f"target_scales need mode resize, not {self.mode}",
                hint="they cut tiles of their own; leave out one of both",
            )


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_device_name(name: str) -> None:
    """Refuse an invalid device name; whether this machine has the device is checked on use.

    Raises:
        DeviceError: The name is invalid.
    """
    if not _DEVICE.fullmatch(name):
        raise DeviceError(
            f"device {name!r} is not known", hint="give auto, cpu, cuda, cuda:N, cuda:all or mps"
        )
