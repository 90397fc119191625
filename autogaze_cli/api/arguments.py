"""The arguments of the calls: a ``TypedDict`` has their names and types, and this their defaults.

A call takes ``**settings: Unpack[...]``, which type checkers and editors know. ``takes`` gives it a
signature that lists each argument with its type and default, for ``help()`` and ``jobs/calls.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ForwardRef, TypeVar, cast

from autogaze_cli.batch.result import Result
from autogaze_cli.jobs.values import Values

DEFAULTS: Values = {
    "start": 0,
    "frames": None,
    "fps": None,
    "inference_width": None,
    "inference_height": None,
    "stream": None,
    "tone_map": "auto",
    "allow_truncated": False,
    "limit": (),
    "isolate": False,
    "untrusted": False,
    "mask_source": None,
    "model": None,
    "preset": None,
    "mode": "resize",
    "tile_size": 224,
    "stride": None,
    "tile_batch_size": 8,
    "clip_len": 16,
    "horizon_frames": None,
    "target_scales": None,
    "target_patch_size": None,
    "top_k": 1,
    "max_gaze_tokens_each_frame": None,
    "gazing_ratio": None,
    "coverage_ratio": None,
    "task_loss_requirement": "model",
    "task_loss_requirement_db": None,
    "exact": False,
    "pruning_rate": None,
    "patch_diff_grid": 14,
    "patch_diff_threshold": 0.45,
    "rlt_threshold": 0.1,
    "rlt_tubelet": 2,
    "codec_threshold": 0.25,
    "seed": 0,
    "device": "auto",
    "dtype": "float32",
    "threads": None,
    "mask_geometry": "native",
    "mask_visualization": "overlay",
    "mask_cell_scale": 1.0,
    "blend_alpha": 0.38,
    "visualization_mode": "interframe",
    "keyframe_duration": 30,
    "gif_width": None,
    "gif_height": None,
    "side_by_side": False,
    "emit": ("rects", "tokens", "coords"),
    "merge": 1,
    "patch_size": 16,
    "tubelet_size": 1,
    "clip_height": None,
    "clip_width": None,
    "image_grid": None,
    "min_confidence": 0,
    "max_fixations_per_frame": None,
    "fixation_scale": 1.0,
    "dilation": 0,
    "route": "tokens",
    "video_dilation": 0,
    "batch_index": 0,
    "max_tokens_per_frame": None,
    "min_tokens": 0,
    "max_tokens": None,
    "encoder": None,
    "scales": None,
    "attend": "block-causal",
    "dense": False,
    "compare_dense": False,
    "trace": None,
    "trace_clip": 0,
    "trace_maps": False,
    "out_dir": ".",
    "overwrite": False,
    "timing": None,
    "report": False,
    "check": False,
}
"""The default of every argument but ``format``, for all commands that do not have their own."""

Call = TypeVar("Call", bound=Callable[..., Result])


def takes(settings: type, defaults: Values) -> Callable[[Call], Call]:
    """Give a call the signature ``(video, *, ...)`` with the names and types of ``settings``.

    Args:
        settings: The ``TypedDict`` of the call's keyword arguments.
        defaults: The defaults that differ from ``DEFAULTS``.
    """
    values = cast("dict[str, object]", {**DEFAULTS, **defaults})
    keyword, both = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("video", both, annotation="Source")]
    for name, kind in settings.__annotations__.items():
        shown = kind.__forward_arg__ if isinstance(kind, ForwardRef) else kind
        parameters.append(inspect.Parameter(name, keyword, default=values[name], annotation=shown))

    def sign(call: Call) -> Call:
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what help() shows
            parameters, return_annotation="Result"
        )
        return call

    return sign
