"""The options that several commands share: names, type, section and help.

A group of options is a decorator. A command receives all values by parameter name, and
``cli/printing.py`` passes them to ``make_request``.
"""

from __future__ import annotations

from typing import cast

import click

from autogaze_cli.cli.command import Command as Command
from autogaze_cli.cli.command import Decorator, untrusted
from autogaze_cli.cli.command import always as always
from autogaze_cli.cli.command import group as group
from autogaze_cli.cli.command import option as option
from autogaze_cli.cli.command import section as section
from autogaze_cli.cli.gaze_options import compute as compute
from autogaze_cli.cli.gaze_options import gaze_options as gaze_options
from autogaze_cli.cli.gaze_options import model as model
from autogaze_cli.cli.gaze_options import offline as offline
from autogaze_cli.cli.gaze_options import preset as preset
from autogaze_cli.cli.types import Rate, Real, Time, Whole, Word
from autogaze_cli.jobs.values import Values
from autogaze_cli.visualize.settings import (
    GEOMETRIES,
    MASK_VISUALIZATIONS,
    VISUALIZATION_MODES,
    Visualization,
)

NONE: Values = {}
"""A command without defaults of its own."""

_VIEW = Visualization()
"""The defaults of the drawing options."""

inputs = group(
    click.argument("inputs", nargs=-1),
    section(
        "Input",
        option(
            "-i",
            "--input",
            "--source-video",
            "more_inputs",
            multiple=True,
            metavar="INPUT",
            help="Video, folder, glob, image pattern (frame_%04d.png), @list.txt, synthetic clip "
            "(synthetic:pan), or - for stdin; repeatable. Same as the INPUTS arguments.",
        ),
    ),
)


_reading_options = group(
    option(
        "--stream",
        type=Whole(0),
        help="Index of the video stream in the file.  [default: FFmpeg's choice: the default "
        "stream, else the largest]",
    ),
    option(
        "--tone-map",
        type=click.Choice(["auto", "none"]),
        default="auto",
        help="Map HDR video (PQ, HLG) to BT.709, or keep its values.",
    ),
    option(
        "--allow-truncated",
        is_flag=True,
        help="Read a file whose end is missing as far as it goes.",
    ),
    option(
        "--limit",
        multiple=True,
        metavar="NAME=VALUE",
        help="Limit of a video, beyond which it fails: pixels (of a frame), frames, seconds, bytes "
        "(of all frames); with --isolate, memory (bytes) and frame_seconds. Repeatable.",
    ),
    option(
        "--isolate",
        is_flag=True,
        help="Decode each video in a process of its own, which may crash or hang.",
    ),
    option(
        "--untrusted",
        is_flag=True,
        is_eager=True,
        callback=untrusted,
        help="The videos are somebody else's: --isolate, stricter limits, and no configuration "
        "file that is not named by --config.",
    ),
)
"""How a video is read."""


def sampling_options(own: Values = NONE) -> Decorator:
    """The options of the frames to decode and their size.

    Args:
        own: The command's own defaults; without one, an option is the video's own, or all frames.
    """
    frames, fps = own.get("frames"), own.get("fps")
    videos = "  [default: the video's own]"
    return section(
        "Input",
        option("--start", type=Time(), help="Start time (seconds or h:m:s).  [default: 0]"),
        option(
            "--frames",
            type=Whole(),
            default=frames,
            help="Number of frames to read; fails if the video is shorter. A picture is repeated."
            + ("" if frames else "  [default: all]"),
        ),
        option(
            "--fps",
            type=Rate(),
            default=fps,
            help="Sampling rate in frames per second." + ("" if fps else videos),
        ),
        _side_option("--inference-width", "--width", "Width of decoded frames", videos, own),
        _side_option("--inference-height", "--height", "Height of decoded frames", videos, own),
        _reading_options,
    )


def drawing_options(own: Values = NONE, *, min_keyframe_duration: int = 0) -> Decorator:
    """The options of drawing masks and interframes.

    Args:
        own: The command's own defaults.
        min_keyframe_duration: 0 if "only the first" is allowed, otherwise 1.
    """
    frames = "  [default: the frames', at most 640 wide for a GIF]"
    return section(
        "Drawing",
        option(
            "--mask-geometry",
            type=Word(GEOMETRIES),
            default=_VIEW.mask_geometry,
            help="Which pixels a set of cells covers.",
        ),
        option(
            "--mask-visualization",
            type=Word(MASK_VISUALIZATIONS),
            default="overlay",
            help="How the mask is drawn: cells in the colors of their scales (overlay), one row "
            "per scale (scale-rows), or over the image.",
        ),
        option(
            "--mask-cell-scale",
            type=Real(1e-6),
            default=_VIEW.mask_cell_scale,
            help="Scale factor for drawn cells.",
        ),
        option(
            "--blend-alpha",
            type=Real(0, 1),
            default=own.get("blend_alpha", _VIEW.blend_alpha),
            help="Opacity of color in the image masks and in full-blend, 0 to 1.",
        ),
        option(
            "--visualization-mode",
            type=Word(VISUALIZATION_MODES),
            default="interframe",
            help="interframe pastes gazed cells over the previous output; full-blend whitens "
            "them in the frame.",
        ),
        option(
            "--keyframe-duration",
            type=Whole(min_keyframe_duration),
            default=own.get("keyframe_duration", _VIEW.keyframe_duration),
            help="Frames from one keyframe to the next"
            + ("." if min_keyframe_duration else "; 0 = only the first."),
        ),
        _side_option("--gif-width", "--display-width", "Width of drawn panels", frames, own),
        _side_option("--gif-height", "--display-height", "Height of drawn panels", frames, own),
    )


def _side_option(long: str, alias: str, what: str, without: str, own: Values) -> Decorator:
    """An option of a width or height in pixels, which is optional if there is no default."""
    name = long[2:].replace("-", "_")
    default = cast("int | None", own.get(name))
    help = f"{what}, in pixels." + ("" if default else without)
    return option(long, alias, name, type=Whole(), default=default, help=help)


side_by_side = section(
    "Drawing",
    option(
        "--side-by-side",
        is_flag=True,
        help="Draw the input to the left of the result; the file is twice as wide.",
    ),
)


store = section(
    "Input",
    option(
        "--trace-clip",
        type=Whole(0),
        default=0,
        help="Which clip of a trace store of the reference is read, from 0.",
    ),
    option(
        "--trace-maps",
        is_flag=True,
        help="Read the visibility maps of a trace store instead of its points.",
    ),
)
"""What is read of saved traces of several clips."""

from_trace = section(
    "Input",
    option(
        "--trace",
        type=click.Path(),
        help="Draw from this saved trace of the input; runs no model. --frames takes its first "
        "frames.",
    ),
)


def output_options(*formats: str) -> Decorator:
    """The options of output files.

    Args:
        formats: The choices of ``--format``, the default first; none = no such option.
    """
    form = option(
        "--format",
        "format",
        type=click.Choice(formats),
        default=formats[0] if formats else None,
        help="Output file format.",
    )
    return section(
        "Output",
        option(
            "-o",
            "--out-dir",
            "--output-dir",
            "out_dir",
            type=click.Path(),
            default=".",
            help="Output folder; created if missing.",
        ),
        *([form] if formats else []),
        option("--overwrite", is_flag=True, help="Replace existing outputs."),
        option(
            "--timing",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Also write how long decoding, gazing, drawing and writing took for each frame, "
            "in milliseconds, to this JSON file.",
        ),
    )


report = section(
    "Output",
    option(
        "--report",
        is_flag=True,
        help="Also write STEM.report.html, a page that plays the result; for several inputs, "
        "index.html too.",
    ),
)

as_json = section(
    "Output",
    option("--json", "json", is_flag=True, help="Print one JSON document on stdout."),
    option(
        "--jsonl",
        "jsonl",
        is_flag=True,
        help="Print one JSON object per line on stdout, as events happen.",
    ),
)

batch = group(
    as_json,
    section(
        "Batch",
        option(
            "--dry-run",
            is_flag=True,
            help="Print the plan and the effective settings; run nothing.",
        ),
        option(
            "--resume",
            is_flag=True,
            help="Continue an earlier run into the same folder: skip finished, unchanged inputs.",
        ),
        option("--fail-fast", is_flag=True, help="Stop at the first input that fails."),
        option(
            "--workers",
            type=Whole(),
            default=1,
            help="Worker processes; each loads its own model.",
        ),
        option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            help="Where workers run: on this machine, or on a Ray cluster (needs the extra ray).",
        ),
        option(
            "--address",
            metavar="ADDRESS",
            help="Address of the Ray cluster (HOST:PORT).  [default: the cluster running here, "
            "otherwise a new one]",
        ),
        option(
            "--gpus-per-worker",
            type=Real(0),
            help="GPUs that Ray reserves per worker.  [default: 1 with --device cuda, otherwise 0]",
        ),
    ),
)
"""The options of processing several inputs and of JSON output."""
