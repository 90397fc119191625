"""A video decoded in a process of its own, so that its decoder may crash, hang or take memory.

It gives the same frames as ``Video`` with the same settings. The process is no sandbox: what takes
over a decoder has the rights of the user.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from autogaze_cli.cpus import available_cpus
from autogaze_cli.errors import AutogazeError, InputError, as_autogaze_error
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.sampling import Sampling

if TYPE_CHECKING:
    from autogaze_cli.media.video import Frame, VideoInfo

_START_S = 30.0
"""How long the process may take to start, on a busy machine, besides what a frame may take."""

_BEAT_S = 0.2
"""How often the process tells that it decodes, though no frame is asked for yet."""

_MAX_THREADS = 4
"""Of the decoder unless others are asked for: each takes memory of its own."""

_MAIN = (
    "import sys; sys.path[:] = {!r}; from autogaze_cli.media.isolated import serve; serve({}, {})"
)
"""Run in isolation: the current folder holds no modules."""


class _Failure(NamedTuple):
    message: str
    hint: str | None


class IsolatedVideo:
    """As ``Video``, of which it has the methods; see there for arguments and errors."""

    def __init__(
        self,
        path: Path,
        sampling: Sampling,
        *,
        threads: int | None = None,
        quiet: bool = False,
        motion: bool = False,
    ) -> None:
        self._path, self._limits = path, sampling.limits
        self._notes = Notes(path, say=not quiet)
        self._pipe, far = Pipe()
        program = _MAIN.format([place for place in sys.path if place], far.fileno(), os.getpid())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", program],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            far.close()
        try:
            threads = threads or min(_MAX_THREADS, available_cpus())
            self._pipe.send((path, replace(sampling, isolate=False), threads, motion))
            self._info: VideoInfo = self._receive(_START_S)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> VideoInfo:
        """As ``Video.info``."""
        return self._info

    def frames(self, *, require: bool = False) -> Iterator[Frame]:
        """As ``Video.frames``."""
        with suppress(OSError):  # what ended the process is found when its answer is missing
            self._pipe.send(require)
        while isinstance(frame := self._receive(), tuple):
            yield frame[0]
        self._info = frame

    def _receive(self, more_s: float = 0.0) -> Any:
        """The next message: a frame in a tuple, or what the video says of itself."""
        limit = self._limits.frame_seconds
        message = None
        while message is None:
            if not self._pipe.poll(limit + more_s):
                raise InputError(
                    f"{self._path}: no frame was decoded for {limit} s",
                    hint="it is damaged or made to hang; otherwise raise --limit frame_seconds",
                )
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                raise self._ended() from None
        if isinstance(message, _Failure):
            raise InputError(message.message, hint=message.hint)
        for note in getattr(message, "notes", ()):
            self._notes.add(note, note)
        return message

    def _ended(self) -> InputError:
        """The error for a process that ended before it was done."""
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return InputError(
            f"{self._path}: its decoder crashed ({how})", hint="the file is damaged or hostile"
        )

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve(handle: int, parent: int) -> None:
    """What the process does: read the settings of a video from a pipe, and send its frames."""
    from autogaze_cli.media.video import Video

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    pipe = Connection(handle)

    class Beating(Video):
        """Tells now and then that it decodes."""

        last = time.monotonic()

        def _decode(self) -> Iterator[Any]:
            for frame in super()._decode():
                if time.monotonic() - self.last > _BEAT_S:
                    self.last = time.monotonic()
                    pipe.send(None)
                yield frame

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        path, sampling, threads, motion = pipe.recv()
        _limit_memory(sampling.limits.memory)
        try:
            opened = Beating(path, sampling, threads=threads, quiet=True, motion=motion)
            with opened as video:
                pipe.send(video.info)
                for frame in video.frames(require=pipe.recv()):
                    pipe.send((frame,))
                pipe.send(video.info)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001  # reported by the parent process
            pipe.send(_failure(path, error, sampling.limits.memory))


def _failure(path: Path, error: Exception, memory: int) -> _Failure:
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        message = f"{path}: decoding takes more than the limit of {memory} bytes of memory"
        return _Failure(message, "if you trust the file, raise it with --limit memory=NUMBER")
    known: AutogazeError = as_autogaze_error(error, str(path))
    return _Failure(str(known), known.hint)


def _limit_memory(most: int) -> None:
    """Let this process take so many bytes more, and leave no memory dump if it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError, StopIteration):  # not every system has these
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (now + most, now + most))


def _exit_with_parent(parent: int) -> None:
    """End this process when its parent has ended, even while this one started."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
