"""The options that choose a gaze source, its budget and its device."""

from __future__ import annotations

from typing import Any, get_args

import click
from click.core import ParameterSource

from autogaze_cli.cli.command import Decorator, group, option, section
from autogaze_cli.cli.types import ModelName, Real, SourceName, TaskLoss, Whole, Word
from autogaze_cli.gaze.settings import MODES, GazeSettings
from autogaze_cli.jobs.values import Preset, Values
from autogaze_cli.model.catalog import is_offline

_GAZE = GazeSettings()
"""The defaults of the gaze options."""

model = option(
    "--model",
    "--model-dir",
    "model",
    type=ModelName(),
    help="Bundled model name, model folder, or the id of a model in the Hub cache.  "
    "[default: the one that `autogaze models list` marks]",
)


def gaze_options(own: Values | None = None) -> Decorator:
    """The options of the gaze source.

    Args:
        own: The command's own defaults.
    """
    own = own or {}
    return group(
        section("Model and device", model),
        section(
            "Gaze",
            option(
                "--mask-source",
                type=SourceName(),
                metavar="NAME",
                help="autogaze runs a model; patch-diff, rlt, evs, codec, random and uniform need "
                "none.  [default: autogaze if there is a model, otherwise patch-diff]",
            ),
            _tile_options(own.get("mode", _GAZE.mode)),
            option(
                "--clip-len",
                "--frames-per-clip",
                "clip_len",
                type=Whole(),
                default=_GAZE.clip_len,
                help="Frames per model clip.",
            ),
            option(
                "--horizon-frames",
                type=Whole(),
                help="Rolling context: attend to the last N frames instead of independent clips "
                "(mode resize only).",
            ),
            option(
                "--target-scales",
                metavar="N+N+...",
                help="Gaze at the frame as a square of the largest of these scales, in pixels, cut "
                "into tiles; ids are those of grids of that size (mode resize only).  "
                "[default: the model's own]",
            ),
            option(
                "--target-patch-size",
                type=Whole(),
                help="Patch side of --target-scales, in pixels; given with them.",
            ),
            _budget_options(own.get("top_k", _GAZE.top_k)),
            _cell_options,
        ),
    )


preset = section(
    "Gaze",
    option(
        "--preset",
        type=click.Choice(get_args(Preset)),
        help="Set options together: those of a viewer (realtime), of tiles at full HD "
        "(tiled), or of render-assets (assets). Options that are given come first.",
    ),
)
"""Of the commands that have no defaults of their own; ``render-assets`` has those of ``assets``."""


def _tile_options(mode: str) -> Decorator:
    """The options of the tiles that the model sees."""
    return group(
        option(
            "--mode",
            type=Word(MODES),
            default=mode,
            help="Show the model the whole frame resized (resize), tiles of the frame "
            "stretched to a whole grid (tiled), or tiles at full resolution (tiled-full).",
        ),
        option("--tile-size", type=Whole(), default=_GAZE.tile_size, help="Tile side in pixels."),
        option(
            "--stride",
            type=Whole(),
            help="Tile stride in pixels (tiled-full only).  [default: the tile size]",
        ),
        option(
            "--tile-batch-size",
            "--tile-batch",
            "--tiles-per-batch",
            "tile_batch_size",
            type=Whole(),
            default=_GAZE.tile_batch_size,
            help="Tiles per batch; affects speed and memory, never results.",
        ),
    )


def _budget_options(top_k: int) -> Decorator:
    """The options of the token budget."""
    return group(
        option("--top-k", type=Whole(), default=top_k, help="Minimum of a tile's token budget."),
        option(
            "--max-gaze-tokens-each-frame",
            type=Whole(0),
            help="Maximum tokens per tile per frame; 0 = the model's own.  [default: 0]",
        ),
        option(
            "--gazing-ratio",
            type=Real(0, 1),
            help="The same maximum as a fraction of a frame's tokens.",
        ),
        option(
            "--exact",
            is_flag=True,
            help="Choose exactly that maximum in every frame, whatever the thresholds say.",
        ),
        option(
            "--coverage-ratio",
            type=Real(0, 1),
            help="Early stopping: end a frame (in tiled modes, a tile) once its cells cover this "
            "share of it, above 0 to 1.  [default: never]",
        ),
        option(
            "--task-loss-requirement",
            "--task-loss",
            "task_loss_requirement",
            type=TaskLoss(),
            default=_GAZE.task_loss_requirement,
            help="Early stopping: end a frame once its predicted loss is this low.",
        ),
        option(
            "--task-loss-requirement-db",
            "--task-loss-db",
            "--task-psnr-db",
            "task_loss_requirement_db",
            type=Real(0),
            callback=_prefer_command_line,
            help="The same in dB, 10^(-dB/20); the later of the two options applies.",
        ),
    )


_cell_options = group(
    option(
        "--pruning-rate",
        type=Real(0, 1),
        help="Fraction of the whole video's tokens to leave out, for any source without a model.  "
        "[default: 0.75 for evs, otherwise choose by threshold]",
    ),
    option(
        "--patch-diff-grid",
        type=Whole(),
        default=_GAZE.patch_diff_grid,
        help="Grid size (N x N) of every source without a model.",
    ),
    option(
        "--patch-diff-threshold",
        type=Real(0),
        default=_GAZE.patch_diff_threshold,
        help="Mean difference above which patch-diff selects a cell.",
    ),
    option(
        "--rlt-threshold",
        type=Real(0),
        default=_GAZE.rlt_threshold,
        help="Mean difference (of pixels in -1 to 1) above which rlt keeps a patch.",
    ),
    option(
        "--rlt-tubelet",
        type=Whole(),
        default=_GAZE.rlt_tubelet,
        help="Frames per tubelet of rlt.",
    ),
    option(
        "--codec-threshold",
        type=Real(0),
        default=_GAZE.codec_threshold,
        help="Score above which codec selects a cell.",
    ),
    option("--seed", type=Whole(0), default=_GAZE.seed, help="Seed of random."),
)
"""The options of the sources without a model."""


def _prefer_command_line(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A plain task loss on the command line overrides one in dB from elsewhere."""
    plain = ctx.get_parameter_source("task_loss_requirement")  # processed first if typed
    own = ctx.get_parameter_source(str(param.name))
    typed = ParameterSource.COMMANDLINE
    return None if plain is typed and own is not typed else value


offline = option(
    "--offline",
    is_flag=True,
    callback=lambda ctx, param, value: value or is_offline(),
    help="Refuse network access; AUTOGAZE_OFFLINE=1 in the environment does the same.",
)
"""Only ``models fetch``, and ``--live`` and ``view`` with a URL, use the network."""

compute = section(
    "Model and device",
    option(
        "--device",
        default=_GAZE.device,
        metavar="auto|cpu|cuda[:N|:all]|mps",
        help="Device to run on; cuda:all spreads the clips of a video over all GPUs; mps (Apple) "
        "is untested.",
    ),
    option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default=_GAZE.dtype,
        help="Model precision.",
    ),
    option("--threads", type=Whole(), help="CPU threads.  [default: PyTorch's choice]"),
    offline,
)
