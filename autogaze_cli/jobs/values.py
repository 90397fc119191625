"""The settings of the commands that process videos, by name and type, before validation.

Names are those of the options and of the arguments of the Python calls, whose signatures in ``api``
show which settings each command has, and their defaults.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, TypedDict

from autogaze_cli.gaze.settings import Attend, MaskSource
from autogaze_cli.media.sampling import ToneMap

Source = str | os.PathLike[str]
Rate = Fraction | float | str
TaskLoss = float | Literal["model"] | None
Dtype = Literal["float32", "bfloat16"]
Preset = Literal["realtime", "tiled", "assets"]
Route = Literal["tokens", "rects"]
EngineName = Literal["local", "ray"]


class SamplingValues(TypedDict, total=False):
    """Which frames are read, and how.

    Attributes:
        start: Start time: seconds, or a string such as ``"1:02.5"``.
        frames: Number of frames to read; fails if the video is shorter. A picture is repeated.
            None = all.
        fps: Sampling rate in frames per second, or a string such as ``"30000/1001"``; None = the
            video's own.
        inference_width: Width of decoded frames in pixels; None = the video's own.
        inference_height: Height of decoded frames in pixels; None = the video's own.
        stream: Index of the video stream in the file; None = FFmpeg's own choice.
        tone_map: ``auto`` maps HDR to BT.709; ``none`` keeps the values.
        allow_truncated: Read a file whose end is missing as far as it goes.
        limit: Limits beyond which a video fails, such as ``"pixels=100000000"``; see ``Limits``.
        isolate: Decode each video in a process of its own, which may crash or hang.
        untrusted: The videos are somebody else's: ``isolate``, and stricter limits.
    """

    start: Rate
    frames: int | None
    fps: Rate | None
    inference_width: int | None
    inference_height: int | None
    stream: int | None
    tone_map: ToneMap
    allow_truncated: bool
    limit: Sequence[str]
    isolate: bool
    untrusted: bool


class PresetValues(TypedDict, total=False):
    """Settings that are set together.

    Attributes:
        preset: ``realtime`` (a viewer's), ``tiled`` (tiles at full HD) or ``assets`` (those of
            ``render-assets``): what stands in for the defaults; None = nothing.
    """

    preset: Preset | None


class GazeValues(TypedDict, total=False):
    """The gaze source, its budget and its device.

    Attributes:
        mask_source: ``autogaze``, ``patch-diff``, ``rlt``, ``evs``, ``codec``, ``random``,
            ``uniform``, or one that another package adds; None = ``autogaze`` if there is a model,
            otherwise ``patch-diff``.
        model: Bundled name, folder or cached Hub id; None = the bundled default.
        mode: ``resize``, ``tiled`` or ``tiled-full``, or another spelling of one.
        tile_size: Tile side in pixels.
        stride: Tile stride in pixels (``tiled-full`` only); None = the tile size.
        tile_batch_size: Tiles per batch; never changes a result.
        clip_len: Frames per model clip.
        horizon_frames: Rolling context: the last N frames attended to; None = independent clips.
        top_k: Minimum of a tile's token budget.
        target_scales: Scales in pixels, such as ``"56+112+196+392"``: ids are those of grids of
            that size; None = the model's own.
        target_patch_size: Patch side of the target scales in pixels; given with them.
        max_gaze_tokens_each_frame: Maximum tokens per tile per frame; None or 0 = the model's own.
        gazing_ratio: The same maximum as a fraction of a frame's tokens; None = not given.
        coverage_ratio: Share of a frame (in tiled modes, of a tile) at which it ends, above 0 to 1;
            None = never.
        task_loss_requirement: Predicted loss at which a frame ends; None = never, ``"model"`` = the
            model's own.
        task_loss_requirement_db: The same in dB; overrides ``task_loss_requirement``.
        exact: Choose exactly the maximum number of tokens in every frame.
        pruning_rate: Fraction of the tokens of the whole video to leave out; None = 0.75 for
            ``evs``, otherwise choose by threshold.
        patch_diff_grid: Grid size of the sources without a model, N x N.
        patch_diff_threshold: Mean difference above which ``patch-diff`` selects a cell.
        rlt_threshold: Mean difference above which ``rlt`` keeps a patch.
        rlt_tubelet: Frames per tubelet of ``rlt``.
        codec_threshold: Score above which ``codec`` selects a cell.
        seed: Seed of ``random``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        dtype: Model precision.
        threads: CPU threads; None = PyTorch's choice. Never changes a result.
    """

    mask_source: MaskSource | None
    model: Source | None
    mode: str
    tile_size: int
    stride: int | None
    tile_batch_size: int
    clip_len: int
    horizon_frames: int | None
    target_scales: str | None
    target_patch_size: int | None
    top_k: int
    max_gaze_tokens_each_frame: int | None
    gazing_ratio: float | None
    coverage_ratio: float | None
    task_loss_requirement: TaskLoss
    task_loss_requirement_db: float | None
    exact: bool
    pruning_rate: float | None
    patch_diff_grid: int
    patch_diff_threshold: float
    rlt_threshold: float
    rlt_tubelet: int
    codec_threshold: float
    seed: int
    device: str
    dtype: Dtype
    threads: int | None


class DrawingValues(TypedDict, total=False):
    """How masks and outputs are drawn.

    Attributes:
        mask_geometry: ``native``, ``deduplicated`` or ``effective``: which pixels cells cover.
        mask_visualization: ``overlay``, ``scale-rows``, ``image-overlay`` or ``image-mask-only``.
        mask_cell_scale: Scale factor for drawn cells.
        blend_alpha: Opacity of color in the image masks and in full-blend, 0 to 1.
        visualization_mode: ``interframe`` or ``full-blend``.
        keyframe_duration: Frames from one keyframe to the next; 0 = only the first.
        gif_width: Width of drawn panels in pixels; None = the frames' (a GIF's at most 640).
        gif_height: Height of drawn panels in pixels; None = the frames'.
    """

    mask_geometry: str
    mask_visualization: str
    mask_cell_scale: float
    blend_alpha: float
    visualization_mode: str
    keyframe_duration: int
    gif_width: int | None
    gif_height: int | None


class PanelValues(TypedDict, total=False):
    """Which panels a drawn file has.

    Attributes:
        side_by_side: Draw the input to the left of the mask or output.
    """

    side_by_side: bool


class ReadoutValues(TypedDict, total=False):
    """What is read out, and for which consumer.

    Attributes:
        emit: Any of ``rects``, ``tokens``, ``coords``, ``gazing-info``, ``keep-indices``.
        merge: Patches on each side of a group of ``keep-indices``.
        patch_size: The consumer's patch size in pixels: one number, or height and width.
        tubelet_size: Frames per temporal token of the consumer.
        clip_height: Height of the consumer's clip in pixels; None = the frames'.
        clip_width: Width of the consumer's clip in pixels; None = the frames'.
        image_grid: Token grid of a frame: one number, or height and width; None = its patches.
        min_confidence: Fixations whose confidence is not above this are dropped.
        max_fixations_per_frame: Maximum rectangles per frame; None = all.
        fixation_scale: Factor on the width and height of each gazed cell.
        dilation: Tokens of a frame added on all four sides of a cell.
        route: What is projected on the clip's grid: ``tokens`` of frames, or their ``rects``.
        video_dilation: Tokens of the clip added on all four sides of what is projected.
        batch_index: The first column of ``coords``.
        max_tokens_per_frame: Maximum tokens per frame; None = all.
        min_tokens: Minimum tokens per clip; missing ones are padding.
        max_tokens: Maximum tokens per clip; None = all.
    """

    emit: Sequence[str]
    merge: int
    patch_size: int | tuple[int, int]
    tubelet_size: int
    clip_height: int | None
    clip_width: int | None
    image_grid: int | tuple[int, int] | None
    min_confidence: float
    max_fixations_per_frame: int | None
    fixation_scale: float
    dilation: int
    route: Route
    video_dilation: int
    batch_index: int
    max_tokens_per_frame: int | None
    min_tokens: int
    max_tokens: int | None


class EncodingValues(TypedDict, total=False):
    """Which encoder runs, and on what.

    Attributes:
        encoder: Folder of a vision transformer, or cached Hub id.
        scales: Sides of the encoder's pictures in pixels, such as ``"32+64+112+224"``; None = those
            that suit it.
        attend: Which tokens a token sees: ``block-causal``, ``frame``, ``clip`` or ``causal``.
        dense: Encode every patch instead of the gazed ones.
        compare_dense: Encode every patch too, and compare times and features.
    """

    encoder: Source | None
    scales: str | None
    attend: Attend
    dense: bool
    compare_dense: bool


class StoreValues(TypedDict, total=False):
    """What is read of a trace store of the reference.

    Attributes:
        trace_clip: Which clip, from 0.
        trace_maps: Read the visibility maps instead of the points.
    """

    trace_clip: int
    trace_maps: bool


class SavedTraceValues(TypedDict, total=False):
    """Gaze that was saved before.

    Attributes:
        trace: A saved trace that replaces the gaze source; None = run the gaze source.
    """

    trace: Source | None


class OutputValues(TypedDict, total=False):
    """Where files go.

    Attributes:
        out_dir: Output folder.
        overwrite: Replace existing outputs.
        timing: A JSON file for how long each frame took; None = none.
    """

    out_dir: Source
    overwrite: bool
    timing: Source | None


class ReportValues(TypedDict, total=False):
    """What is written beside the files.

    Attributes:
        report: Also write a page that plays the result.
    """

    report: bool


class BatchValues(TypedDict, total=False):
    """How several inputs are processed; for ``run_batch`` alone.

    Attributes:
        traces: Saved traces to read out (``run_batch`` only).
        dry_run: Plan only.
        resume: Skip what an earlier run into the same folder finished.
        fail_fast: Stop at the first input that fails.
        workers: Worker processes; each loads its own model.
        engine: ``local`` or ``ray``.
        address: Address of the Ray cluster; None = the one running here, otherwise a new one.
        gpus_per_worker: GPUs that Ray reserves per worker; None = 1 on a GPU, otherwise 0.
    """

    traces: Sequence[Source]
    dry_run: bool
    resume: bool
    fail_fast: bool
    workers: int
    engine: EngineName
    address: str | None
    gpus_per_worker: float | None


class Values(
    SamplingValues,
    PresetValues,
    GazeValues,
    DrawingValues,
    PanelValues,
    ReadoutValues,
    EncodingValues,
    SavedTraceValues,
    StoreValues,
    OutputValues,
    ReportValues,
    BatchValues,
    total=False,
):
    """All settings of the commands that process videos.

    Attributes:
        format: Output file format.
        check: Write nothing; compare with what exists.
    """

    format: str
    check: bool
