"""The page of a video of which only drawn files exist: without cells to redraw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autogaze_cli.errors import InputError
from autogaze_cli.media.videos import probe, read_frames
from autogaze_cli.player.page import PageWriter

ROLES = ("input", "mask", "output")
"""The pictures of a page, from left to right."""

_GIF_ROUNDING_S = 0.02


def write_drawn_page(
    path: Path, name: str, drawn: Mapping[str, Path], document: Mapping[str, Any]
) -> None:
    """Write the page of drawn files, up to the last frame that all of them have.

    Args:
        path: The page, replaced if it exists.
        name: The video's name on the page.
        drawn: A video file for one or more of ``ROLES``.
        document: The metrics document of the files, complete or not.

    Raises:
        InputError: A file cannot be read as a video, or there is none.
    """
    roles = [role for role in ROLES if role in drawn]
    if not roles:
        raise InputError(f"{name}: no drawn file found", hint="render the video again")
    info = probe(drawn[roles[0]])
    fps = document.get("fps")  # a GIF rounds frame times, and images have none
    if not isinstance(fps, int | float) or fps <= 0:
        fps = float(info.fps or 8)
    about = {"panels": roles, "fps": fps}
    with PageWriter(path, name, info.width, info.height, about) as page:
        streams = (read_frames(drawn[role]) for role in roles)
        for number, frames in enumerate(zip(*streams, strict=False)):
            pictures = {role: frame.rgb for role, frame in zip(roles, frames, strict=True)}
            time, nominal = float(frames[0].time), number / fps
            steady = info.container == "image2" or abs(time - nominal) < _GIF_ROUNDING_S
            page.add_pictures(nominal if steady else time, pictures)
        page.close({**document, "fps": fps})
