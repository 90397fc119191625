"""Which stream of a file is read."""

from __future__ import annotations

from pathlib import Path

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from autogaze_cli.errors import InputError

_DEFAULT_SCORE = 5_000_000
"""Pixels by which FFmpeg's command line prefers a stream that is marked as the default one."""


def choose_stream(container: InputContainer, path: Path, index: int | None) -> VideoStream:
    """The stream to read: the largest, as FFmpeg's command line chooses, or the one asked for.

    Cover pictures are no video unless asked for.

    Args:
        container: An opened file.
        path: How errors name it.
        index: The stream's index in the file, or None.

    Raises:
        InputError: There is no such stream, or none that can be decoded.
    """
    streams = container.streams.video
    if index is not None:
        chosen = [stream for stream in streams if stream.index == index]
        if not chosen:
            known = ", ".join(str(stream.index) for stream in streams) or "none"
            raise InputError(
                f"{path}: stream {index} is no video stream", hint=f"its video streams: {known}"
            )
    else:
        chosen = [s for s in streams if not s.disposition & Disposition.attached_pic]
    if not chosen:
        kind = "only sound" if container.streams.audio else "no video stream"
        raise InputError(f"{path}: has {kind}", hint="give a file with a video stream")
    # PyAV leaves the context out when this build of FFmpeg has no decoder.
    decodable = [s for s in chosen if getattr(s, "codec_context", None) is not None]
    if not decodable:
        raise InputError(f"{path}: its codec is not supported", hint="convert it to H.264")
    return max(decodable, key=_score)


def _score(stream: VideoStream) -> tuple[int, bool]:
    default = bool(stream.disposition & Disposition.default)
    # An animated AVIF has its first picture as a stream of its own.
    return stream.width * stream.height + _DEFAULT_SCORE * default, stream.frames != 1
