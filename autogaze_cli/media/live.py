"""A video that comes as it is made: a pipe, a capture device, or an address on the network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from av.video.frame import VideoFrame

from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.sources import ContainerSource
from autogaze_cli.media.video import Frame, VideoInfo, first_frame, sampled, video_info

STDIN = "-"


class _LiveSource(ContainerSource):
    """Anything FFmpeg can open, read once from where it stands, with as little delay as may be."""

    def __init__(self, name: str) -> None:
        self._name = name
        path = Path(name)
        super().__init__(path, {}, format="v4l2" if path.is_char_device() else None)

    def _address(self) -> str:
        if self._name == STDIN:
            return "pipe:0"
        return self._name if "://" in self._name else super()._address()

    def _open(self, thread_type: str, threads: int) -> None:
        # A decoder with a thread a frame holds back as many frames as it has threads.
        super()._open("SLICE", threads)

    def _decode_any(self) -> Iterator[VideoFrame]:
        return self._decode_damaged()  # it cannot be opened once more


def read_live(name: str, sampling: Sampling | None = None) -> Iterator[tuple[VideoInfo, Frame]]:
    """Decode, sample and scale a stream, one frame at a time, as ``read_frames`` does a video.

    The stream is opened with the first frame asked for, and closed when the iteration ends, fails
    or is abandoned.

    Args:
        name: A file, ``-`` (standard input, not kept), a capture device such as ``/dev/video0``, or
            an address that FFmpeg opens (``rtsp://...``, ``http://...``).
        sampling: Which frames; fewer than ``sampling.frames`` are no error.

    Yields:
        What the stream says of itself, the same each time, and a frame.

    Raises:
        InputError: It cannot be opened, or holds no video.
    """
    sampling = sampling or Sampling()
    with _LiveSource(name) as source:
        decoded = source.decode()
        first = first_frame(decoded, Path(name))
        info = video_info(Path(name), source, first)
        frames = sampled(source, first, chain([first], decoded), sampling)
        for frame in islice(frames, sampling.frames):
            yield info, frame
