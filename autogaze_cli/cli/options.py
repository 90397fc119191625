"""Every option of the command line, once: how it is spelled, and which setting it becomes.

A group of options is a decorator. A command receives all values as one dict, from which
``values.py`` makes settings.
"""

from __future__ import annotations

import click

from autogaze_cli.cli.command import Command as Command
from autogaze_cli.cli.command import Decorator
from autogaze_cli.cli.command import always as always
from autogaze_cli.cli.command import group as _group
from autogaze_cli.cli.types import ModelName, Rate, Real, TaskLoss, Time, Whole, Word
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.model.catalog import is_offline
from autogaze_cli.visualize.settings import (
    GEOMETRIES,
    MASK_VISUALIZATIONS,
    VISUALIZATION_MODES,
    Visualization,
)

_GAZE, _VIEW = GazeSettings(), Visualization()
"""Where the defaults of their options come from."""

inputs = _group(
    click.argument("inputs", nargs=-1),
    click.option(
        "-i",
        "--input",
        "--source-video",
        "more_inputs",
        multiple=True,
        metavar="INPUT",
        help="A video, a folder, a glob, an image pattern (frame_%04d.png), @list.txt, or - for "
        "stdin; may repeat. The same as INPUTS.",
    ),
)


def sampling_options(
    *,
    fps: int | None = None,
    frames: int | None = None,
    inference_width: int | None = None,
    inference_height: int | None = None,
) -> Decorator:
    """Which frames are decoded, and at what size.

    Args:
        fps: Default rate; None = the video's own.
        frames: Default number; None = all.
        inference_width: Default width in pixels; None = the video's own.
        inference_height: Likewise.
    """
    own = "  [default: the video's own]"
    return _group(
        click.option("--start", type=Time(), help="Skip this much of the video.  [default: 0]"),
        click.option(
            "--frames",
            type=Whole(),
            default=frames,
            help="Frames to take; fewer in the video is an error."
            + ("" if frames else "  [default: all]"),
        ),
        click.option(
            "--fps", type=Rate(), default=fps, help="Frames a second." + ("" if fps else own)
        ),
        click.option(
            "--inference-width",
            "--width",
            "inference_width",
            type=Whole(),
            default=inference_width,
            help="Width of the decoded frames." + ("" if inference_width else own),
        ),
        click.option(
            "--inference-height",
            "--height",
            "inference_height",
            type=Whole(),
            default=inference_height,
            help="Height of the decoded frames." + ("" if inference_height else own),
        ),
    )


def gaze_options(*, mode: str = _GAZE.mode, top_k: int = _GAZE.top_k) -> Decorator:
    """Which gaze source runs, and how.

    Args:
        mode: Default inference mode.
        top_k: Default lower bound of the token budget.
    """
    return _group(
        click.option(
            "--mask-source",
            type=click.Choice(["autogaze", "patch-diff"]),
            help="Run a model, or compare each frame with the last.  [default: autogaze with "
            "--model or a default model, else patch-diff]",
        ),
        click.option(
            "--model",
            "--model-dir",
            "model",
            type=ModelName(),
            help="A bundled model's name, a model folder, or the id of one in the Hub cache.  "
            "[default: what `autogaze models list` marks]",
        ),
        click.option(
            "--mode",
            type=click.Choice(["resize", "tiled", "tiled-full"]),
            default=mode,
            help="Show the model the whole frame, tiles of it stretched to a grid, or tiles at "
            "full resolution.",
        ),
        click.option(
            "--tile-size", type=Whole(), default=_GAZE.tile_size, help="Side of a tile, in pixels."
        ),
        click.option(
            "--stride",
            type=Whole(),
            help="Distance of tiles in mode tiled-full.  [default: the tile size]",
        ),
        click.option(
            "--tile-batch-size",
            "--tile-batch",
            "--tiles-per-batch",
            "tile_batch_size",
            type=Whole(),
            default=_GAZE.tile_batch_size,
            help="Tiles run together; changes speed and memory, never a result.",
        ),
        _budget_options(top_k),
    )


def _budget_options(top_k: int) -> Decorator:
    """How long each frame is gazed at."""
    return _group(
        click.option(
            "--clip-len",
            "--frames-per-clip",
            "clip_len",
            type=Whole(),
            default=_GAZE.clip_len,
            help="Frames in one model clip.",
        ),
        click.option(
            "--horizon-frames",
            type=Whole(),
            help="Gaze at one stream instead of clips, each frame seeing this many, itself "
            "included; mode resize only.",
        ),
        click.option(
            "--top-k", type=Whole(), default=top_k, help="Lower bound of a tile's token budget."
        ),
        click.option(
            "--max-gaze-tokens-each-frame",
            type=Whole(),
            help="Token budget of a tile and frame.  [default: the model's own]",
        ),
        click.option(
            "--gazing-ratio",
            type=Real(0, 1),
            help="The same budget as a share of a frame's tokens.",
        ),
        click.option(
            "--task-loss-requirement",
            "--task-loss",
            "task_loss_requirement",
            type=TaskLoss(),
            default=_GAZE.task_loss_requirement,
            help="Stop a frame when the predicted loss is at most this.",
        ),
        click.option(
            "--task-loss-requirement-db",
            "--task-loss-db",
            "--task-psnr-db",
            "task_loss_requirement_db",
            type=Real(0),
            help="The same in dB, 10^(-dB/20); the later of the two wins.",
        ),
        click.option(
            "--patch-diff-grid",
            type=Whole(),
            default=_GAZE.patch_diff_grid,
            help="Cells a side for patch-diff.",
        ),
        click.option(
            "--patch-diff-threshold",
            type=Real(0),
            default=_GAZE.patch_diff_threshold,
            help="Mean difference above which patch-diff gazes at a cell.",
        ),
    )


offline = click.option(
    "--offline",
    is_flag=True,
    callback=lambda ctx, param, value: value or is_offline(),
    help="Refuse what needs the network; so does AUTOGAZE_OFFLINE=1 in the environment.",
)
"""What only ``models fetch`` and a live stream's address ever need."""

compute = _group(
    click.option(
        "--device",
        default=_GAZE.device,
        metavar="auto|cpu|cuda[:N|:all]",
        help="Where to run; cuda:all spreads the clips of a video over all GPUs.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default=_GAZE.dtype,
        help="Number type of the model.",
    ),
    click.option("--threads", type=Whole(), help="CPU threads.  [default: PyTorch's choice]"),
    offline,
)


def drawing_options(
    *,
    mask_visualization: str,
    blend_alpha: float = _VIEW.blend_alpha,
    keyframe_duration: int = _VIEW.keyframe_duration,
    least_keyframe_duration: int = 0,
    gif_size: tuple[int, int] | None = None,
) -> Decorator:
    """How masks and interframes are drawn.

    Args:
        mask_visualization: Default panel.
        blend_alpha: Default strength of the image panels.
        keyframe_duration: Default frames from one keyframe to the next.
        least_keyframe_duration: 0 where "only the first" may be asked for, else 1.
        gif_size: Default width and height of a drawn file; None = from the frames.
    """
    return _group(
        click.option(
            "--mask-geometry",
            type=Word(GEOMETRIES),
            default=_VIEW.mask_geometry,
            help="Which pixels a set of cells covers.",
        ),
        click.option(
            "--mask-visualization",
            type=Word(MASK_VISUALIZATIONS),
            default=mask_visualization,
            help="How the mask is drawn.",
        ),
        click.option(
            "--mask-cell-scale",
            type=Real(1e-6),
            default=_VIEW.mask_cell_scale,
            help="Size of a drawn cell, 1 = its own.",
        ),
        click.option(
            "--blend-alpha",
            type=Real(0, 1),
            default=blend_alpha,
            help="Strength of colour in the image masks and in full-blend, 0 to 1.",
        ),
        click.option(
            "--visualization-mode",
            type=Word(VISUALIZATION_MODES),
            default="interframe",
            help="interframe pastes gazed cells over the last output, full-blend whitens them "
            "in the frame.",
        ),
        click.option(
            "--keyframe-duration",
            type=Whole(least_keyframe_duration),
            default=keyframe_duration,
            help="Frames from one keyframe to the next"
            + ("." if least_keyframe_duration else "; 0 = only the first."),
        ),
        _size_options(gif_size),
    )


def _size_options(gif_size: tuple[int, int] | None) -> Decorator:
    """How large the drawn files are."""
    width, height = gif_size or (None, None)
    own = "" if gif_size else "  [default: the frames', at most 640 wide for a GIF]"
    return _group(
        click.option(
            "--gif-width",
            "--display-width",
            "gif_width",
            type=Whole(),
            default=width,
            help="Width of a drawn file." + own,
        ),
        click.option(
            "--gif-height",
            "--display-height",
            "gif_height",
            type=Whole(),
            default=height,
            help="Height of a drawn file." + own,
        ),
    )


from_trace = click.option(
    "--trace",
    type=click.Path(),
    help="Draw from this saved trace of the one input; no model runs.",
)


def output_options(*formats: str) -> Decorator:
    """Where files go, and what is said about them on stdout.

    Args:
        formats: What ``--format`` offers, the default first; none = no such option.
    """
    form = click.option(
        "--format",
        "format",
        type=click.Choice(formats),
        default=formats[0] if formats else None,
        help="Kind of file to write.",
    )
    return _group(
        click.option(
            "-o",
            "--out-dir",
            "--output-dir",
            "out_dir",
            type=click.Path(),
            default=".",
            help="Folder for the outputs; made when missing.",
        ),
        *([form] if formats else []),
        click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
    )


report = click.option(
    "--report",
    is_flag=True,
    help="Also write STEM.report.html, a page that plays the result; of several, index.html too.",
)

as_json = _group(
    click.option("--json", "json", is_flag=True, help="Print one JSON document on stdout."),
    click.option(
        "--jsonl", "jsonl", is_flag=True, help="Print JSON on stdout, a line an event, as it comes."
    ),
)

batch = _group(
    click.option(
        "--dry-run",
        is_flag=True,
        help="Print what would be done, and with which settings from where; do nothing.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with an earlier run into the same folder: skip what is done and unchanged.",
    ),
    click.option(
        "--fail-fast",
        is_flag=True,
        help="Stop at the first input that fails; the rest is not done.",
    ),
    click.option(
        "--workers",
        type=Whole(),
        default=1,
        help="Inputs done side by side, each by a process with a model of its own.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="Where workers run: on this machine, or on a Ray cluster (needs the extra ray).",
    ),
    click.option(
        "--address",
        metavar="ADDRESS",
        help="Of the Ray cluster.  [default: the one that is running here, else a new one]",
    ),
    click.option(
        "--gpus-per-worker",
        type=Real(0),
        help="GPUs that Ray reserves for a worker.  [default: 1 with --device cuda, else 0]",
    ),
    as_json,
)
"""How many inputs are done: which, where, and what is said of them."""
