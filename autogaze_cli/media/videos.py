"""Opening videos, in this process or in one of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autogaze_cli.media.isolated import IsolatedVideo
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame, Video, VideoInfo


def open_video(
    path: Path,
    sampling: Sampling | None = None,
    *,
    threads: int | None = None,
    quiet: bool = False,
    motion: bool = False,
) -> Video | IsolatedVideo:
    """Open a video as ``Video`` does; where ``sampling`` says so, in a process of its own."""
    if sampling is None or not sampling.isolate:
        return Video(path, sampling, threads=threads, quiet=quiet, motion=motion)
    return IsolatedVideo(path, sampling, threads=threads, quiet=quiet, motion=motion)


def probe(path: Path, sampling: Sampling | None = None) -> VideoInfo:
    """What a video says of itself; decodes one frame, which alone tells the rotation.

    Args:
        path: A video, an image, or an image pattern.
        sampling: How it will be read: the stream, and whether it may be truncated.

    Raises:
        InputError: When there is no video at ``path``.
    """
    with open_video(path, sampling, threads=1, quiet=True) as video:
        return video.info


def read_frames(
    path: Path,
    sampling: Sampling | None = None,
    *,
    threads: int | None = None,
    require: bool = False,
    motion: bool = False,
) -> Iterator[Frame]:
    """Decode, sample and scale a video, as ``Video.frames`` does.

    The file is opened with the first frame asked for, and closed when the iteration ends, fails or
    is abandoned.
    """
    with open_video(path, sampling, threads=threads, motion=motion) as video:
        yield from video.frames(require=require)
