"""A video that comes as it is made: a pipe, a capture device, or an address on the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame

from autogaze_cli.errors import InputError
from autogaze_cli.media.ffmpeg import STREAM_PROTOCOLS, open_container
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.sources import ContainerSource
from autogaze_cli.media.synthetic import is_synthetic
from autogaze_cli.media.video import (
    Frame,
    Video,
    VideoInfo,
    first_frame,
    input_errors,
    sampled,
    video_info,
)

STDIN = "-"


class _LiveSource(ContainerSource):
    """Anything FFmpeg can open, read once from where it stands, with as little delay as may be."""

    _measured = False

    def __init__(self, name: str, notes: Notes, sampling: Sampling, *, motion: bool) -> None:
        self._name = name
        super().__init__(
            Path(name), notes, stream=sampling.stream, limits=sampling.limits, motion=motion
        )

    def _opened(self) -> InputContainer:
        if self._name == STDIN:
            address, protocols = "pipe:0", "pipe"
        elif "://" in self._name:
            address, protocols = self._name, STREAM_PROTOCOLS
        else:
            address, protocols = os.path.abspath(self._name), "file"  # noqa: PTH100
        device = Path(self._name).is_char_device()
        return open_container(
            address,
            format="v4l2" if device else None,
            max_pixels=self._limits.allocated_pixels,
            protocols=protocols,
        )

    def _open(self, thread_type: str, threads: int) -> None:
        # A decoder with a thread a frame holds back as many frames as it has threads.
        super()._open("SLICE", threads)

    def check(self) -> None:
        """A stream may grow while it is read."""

    def _decode_any(self) -> Iterator[VideoFrame]:
        return self._decode_damaged()  # it cannot be opened once more


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Let errors name an address as it was given; a path has one slash less."""
    try:
        yield
    except InputError as error:
        error.args = (str(error).replace(str(path), name, 1),)
        raise


def read_live(
    name: str, sampling: Sampling | None = None, *, motion: bool = False
) -> Iterator[tuple[VideoInfo, Frame]]:
    """Decode, sample and scale a stream, one frame at a time, as ``read_frames`` does a video.

    The stream is opened with the first frame asked for, and closed when the iteration ends, fails
    or is abandoned.

    Args:
        name: A file, ``-`` (standard input, not kept), a capture device such as ``/dev/video0``, an
            address that FFmpeg opens (``rtsp://...``, ``http://...``), or a synthetic clip.
        sampling: Which frames; fewer than ``sampling.frames`` are no error.
        motion: Read the motion vectors of the stream too.

    Yields:
        What the stream says of itself, with the notes so far, and a frame.

    Raises:
        InputError: It cannot be opened or read, or holds no video.
    """
    sampling, path = sampling or Sampling(), Path(name)
    if is_synthetic(name):
        with Video(path, sampling) as video:
            yield from ((video.info, frame) for frame in video.frames())
        return
    notes = Notes(path, say=True)
    with (
        _named(name, path),
        input_errors(path),
        _LiveSource(name, notes, sampling, motion=motion) as source,
    ):
        decoded = source.decode()
        first = first_frame(decoded, path, sampling.limits)
        info = video_info(path, source, first, notes)
        frames = sampled(source, first, chain([first], decoded), sampling, notes)
        for frame in islice(frames, sampling.frames):
            yield replace(info, notes=notes.all()), frame
