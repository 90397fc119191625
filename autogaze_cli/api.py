"""Each command as one call.

Arguments are the options of the command by their long names, ``--mask-source`` as ``mask_source``,
with the same meaning and defaults; ``autogaze_cli.jobs.values.Values`` describes each. Neither the
environment nor a configuration file is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from autogaze_cli.batch.report import Report
from autogaze_cli.batch.result import Result
from autogaze_cli.gaze.settings import MaskSource, Mode
from autogaze_cli.jobs.calls import call, call_one
from autogaze_cli.jobs.values import Dtype, Rate, Source, TaskLoss, Values
from autogaze_cli.media.sampling import ToneMap

if TYPE_CHECKING:
    from autogaze_cli.encoders import Attend
    from autogaze_cli.media.writers import Format

TraceFormat = Literal["json", "npz", "safetensors", "csv"]
ReadoutFormat = Literal["npz", "safetensors", "json", "csv"]


def trace_video(
    video: Source,
    *,
    start: Rate = 0,
    frames: int | None = None,
    fps: Rate | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "resize",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 1,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    out_dir: Source = ".",
    format: TraceFormat = "json",
    overwrite: bool = False,
    report: bool = False,
) -> Result:
    """Save where the model looks in each frame: ``autogaze trace``.

    ``video`` is a file, or an image pattern; ``Values`` describes the other arguments.

    Returns:
        The file, as ``files["trace"]``, and a summary, as ``document``.

    Raises:
        AutogazeError: Its class says what to fix; nothing has been written then.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = trace_video(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", out_dir=folder
        ...     )
        >>> made.files["trace"].name, made.document["frames"]
        ('dog.trace.json', 2)
    """
    return _one("trace", **locals())


def render_mask(
    video: Source,
    *,
    trace: Source | None = None,
    start: Rate = 0,
    frames: int | None = None,
    fps: Rate | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "resize",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 1,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    mask_geometry: str = "native",
    mask_visualization: str = "overlay",
    mask_cell_scale: float = 1.0,
    blend_alpha: float = 0.38,
    visualization_mode: str = "interframe",
    keyframe_duration: int = 30,
    gif_width: int | None = None,
    gif_height: int | None = None,
    out_dir: Source = ".",
    format: Format = "gif",
    overwrite: bool = False,
    report: bool = False,
) -> Result:
    """Draw the gazed cells of a video as a mask: ``autogaze mask``; see ``trace_video``."""
    return _one("mask", **locals())


def render_interframe(
    video: Source,
    *,
    trace: Source | None = None,
    start: Rate = 0,
    frames: int | None = None,
    fps: Rate | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "resize",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 1,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    mask_geometry: str = "native",
    mask_visualization: str = "overlay",
    mask_cell_scale: float = 1.0,
    blend_alpha: float = 0.38,
    visualization_mode: str = "interframe",
    keyframe_duration: int = 30,
    gif_width: int | None = None,
    gif_height: int | None = None,
    out_dir: Source = ".",
    format: Format = "gif",
    overwrite: bool = False,
    report: bool = False,
) -> Result:
    """Rebuild a video from its gazed cells and keyframes: ``autogaze interframe``.

    See ``trace_video``.

    """
    return _one("interframe", **locals())


def project_readout(
    video: Source,
    *,
    emit: Sequence[str] = ("rects", "tokens", "coords"),
    merge: int = 1,
    patch_size: int | tuple[int, int] = 16,
    tubelet_size: int = 1,
    clip_height: int | None = None,
    clip_width: int | None = None,
    image_grid: int | tuple[int, int] | None = None,
    min_confidence: float = 0,
    max_fixations_per_frame: int | None = None,
    dilation: int = 0,
    max_tokens_per_frame: int | None = None,
    min_tokens: int = 0,
    max_tokens: int | None = None,
    start: Rate = 0,
    frames: int | None = None,
    fps: Rate | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "resize",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 1,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    out_dir: Source = ".",
    format: ReadoutFormat = "npz",
    overwrite: bool = False,
) -> Result:
    """Turn gaze into rectangles, tokens and coordinates: ``autogaze readout``.

    ``video`` is a video, or a saved trace, which needs neither the video nor PyTorch.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = project_readout("fixtures/traces/v1.trace.json", out_dir=folder)
        >>> made.files["readout"].name
        'v1.readout.npz'
    """
    return _one("readout", **locals())


def render_assets(
    video: Source,
    *,
    start: Rate = 0,
    frames: int | None = 16,
    fps: Rate | None = 8,
    inference_width: int | None = 1920,
    inference_height: int | None = 1080,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "tiled",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 10,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    mask_geometry: str = "native",
    mask_visualization: str = "overlay",
    mask_cell_scale: float = 1.0,
    blend_alpha: float = 0.55,
    visualization_mode: str = "interframe",
    keyframe_duration: int = 12,
    gif_width: int | None = 384,
    gif_height: int | None = 216,
    out_dir: Source = ".",
    overwrite: bool = False,
    check: bool = False,
    report: bool = False,
) -> Result:
    """Write input, mask and output GIFs and their metrics: ``autogaze render-assets``.

    With ``check=True`` nothing is written, and ``differences`` lists what is not up to date. See
    ``trace_video``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = render_assets(
        ...         "fixtures/dog.mp4", frames=2, mask_source="patch-diff", inference_width=320,
        ...         inference_height=180, out_dir=folder,
        ...     )
        >>> made.files["output"].name
        'autogaze_dog_output.gif'
    """
    return _one("render-assets", **locals())


def encode_video(
    video: Source,
    *,
    encoder: Source | None = None,
    scales: str | None = None,
    attend: Attend = "block-causal",
    dense: bool = False,
    compare_dense: bool = False,
    trace: Source | None = None,
    start: Rate = 0,
    frames: int | None = None,
    fps: Rate | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
    stream: int | None = None,
    tone_map: ToneMap = "auto",
    allow_truncated: bool = False,
    mask_source: MaskSource | None = None,
    model: Source | None = None,
    mode: Mode = "resize",
    tile_size: int = 224,
    stride: int | None = None,
    tile_batch_size: int = 8,
    clip_len: int = 16,
    horizon_frames: int | None = None,
    top_k: int = 1,
    max_gaze_tokens_each_frame: int | None = None,
    gazing_ratio: float | None = None,
    task_loss_requirement: TaskLoss = "model",
    task_loss_requirement_db: float | None = None,
    patch_diff_grid: int = 14,
    patch_diff_threshold: float = 0.45,
    device: str = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    out_dir: Source = ".",
    overwrite: bool = False,
    report: bool = False,
) -> Result:
    """Encode the gazed patches of a video: ``autogaze encode``; see ``trace_video``.

    ``encoder`` must be given. With ``compare_dense``, ``document["comparison"]`` has the figures.
    """
    return _one("encode", **locals())


def run_batch(
    command: str, inputs: Source | Iterable[Source], **settings: Unpack[Values]
) -> Report:
    """Run a command over many inputs.

    Args:
        command: ``trace``, ``mask``, ``interframe``, ``readout``, ``render-assets`` or ``encode``.
        inputs: Files, folders, globs, image patterns, ``@list.txt``; or one of these.
        **settings: The arguments of the command's own call, with its defaults, and those of
            batches: ``dry_run``, ``resume``, ``fail_fast``, ``workers``, ``engine``, ``address``,
            ``gpus_per_worker``.

    Returns:
        What became of each input; ``exit_code()`` is the command's. One that fails does not stop
        the others.

    Raises:
        AutogazeError: No input can be done, or the only input failed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = run_batch(
        ...         "trace", ["fixtures/dog.mp4", "no.mp4"], frames=2, mask_source="patch-diff",
        ...         out_dir=folder,
        ...     )
        >>> len(report.results), [str(error) for error in report.failures.values()]
        (1, ['no.mp4: no such file'])
    """
    if isinstance(inputs, str | os.PathLike) or not isinstance(inputs, Iterable):
        return call(_CALLS, command, [inputs], settings)
    return call(_CALLS, command, list(inputs), settings)


_CALLS: dict[str, Callable[..., Result]] = {
    "trace": trace_video,
    "mask": render_mask,
    "interframe": render_interframe,
    "readout": project_readout,
    "render-assets": render_assets,
    "encode": encode_video,
}


def _one(command: str, **arguments: Any) -> Result:
    return call_one(_CALLS, command, **arguments)
