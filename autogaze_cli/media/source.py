"""What every opened video can do, and the errors where one cannot be opened."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from av.video.frame import VideoFrame

from autogaze_cli.errors import InputError
from autogaze_cli.media.looks import PLAYLISTS


class Source(AbstractContextManager["Source"], ABC):
    """An opened video. Close it, or use it as a context manager.

    Attributes:
        container: Name of the container format.
        codec: Name of the codec.
        stream: Index of the stream in the file.
        fps: Average frame rate, or None.
        frames: Best estimate of the number of frames, or None.
        duration: Seconds, or None.
        aspect: Width of a pixel by its height.
        still: Whether this is a single picture, which has no duration.
        motion: Whether the frames carry motion vectors, see ``media.motion``.
        time_base: Seconds in one unit of the frames' ``pts``.
    """

    container: str
    codec: str
    stream: int = 0
    fps: Fraction | None
    frames: int | None
    duration: Fraction | None
    aspect: Fraction = Fraction(1)
    still: bool = False
    motion: bool = False
    time_base: Fraction

    @abstractmethod
    def decode(self) -> Iterator[VideoFrame]:
        """The frames from where the source stands; every one has a ``pts``, and these rise.

        Raises:
            InputError: The file could not be read, or was changed since it was opened.
        """

    def seek(self, pts: int) -> bool:
        """Move to a key frame at or before ``pts``; False when this cannot be done."""
        return False

    def rewind(self) -> None:
        """Move to the first frame."""

    def check(self) -> None:
        """Raise the ``InputError`` that the file was changed since it was opened, if it was."""

    def close(self) -> None:
        """Close the file."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def no_threads(path: Path) -> InputError:
    """The error where the system gives no thread or memory to decode with."""
    return InputError(
        f"{path}: the system gave no thread or memory to decode it",
        hint="raise the limits on processes and memory, or run less at once",
    )


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for what FFmpeg cannot open."""
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return InputError(f"{path}: {reason}", hint="raise the limit of open files (ulimit -n)")
    hint = "is it a video?"
    with suppress(OSError), path.open("rb") as file:
        head = file.read(12)
        if head[4:8] == b"ftyp":
            hint = "an MP4 whose recording broke off has no index (moov); record it again"
        elif head.startswith(PLAYLISTS):
            hint = "what a playlist names is not opened; give the videos themselves"
    return InputError(f"{path}: cannot be opened as a video ({reason})", hint=hint)
