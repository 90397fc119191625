"""One page of ``autogaze view``: the frames that it sends or asks for, and their gaze.

A message is a JSON object with a ``type``; the pixels of a frame, RGBA bytes row by row, are the
message after it. The page sends

* ``frame`` (number, width, height, settings) and pixels: answered by ``gazed``;
* ``play`` (number, width, height): start the input of the command, at that size or its own (null);
* ``next`` (number, settings): answered by ``played`` and pixels, or by ``ended``;
* ``stop``: end that input; ``reset``: forget all frames.

``gazed`` and ``played`` hold ``gaze``, a frame as a trace in JSON has it. A request that cannot be
answered is answered by ``failed``.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError, as_autogaze_error
from autogaze_cli.inference.pipeline import AutoGazePipeline
from autogaze_cli.jobs.playing import Newest, Playing
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.trace import FrameTrace
from autogaze_cli.trace.text import frame_json

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

Pixels = NDArray[np.uint8]
Settings = Mapping[str, Any]

MAX_MESSAGE = 4 * 3840 * 2160
"""Bytes of the largest frame: RGBA in 4K."""

_OF_PATCH_DIFF = ("patch_diff_grid", "patch_diff_threshold")


class Gaze:
    """Gazes at frame after frame; other settings or another size begin a new stream.

    Args:
        pipelines: By name of their gaze source.
    """

    def __init__(self, pipelines: Mapping[str, AutoGazePipeline]) -> None:
        self._pipelines = pipelines
        self._waiting: deque[Pixels] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._stream: Iterator[tuple[Pixels, FrameTrace]] | None = None
        self._of: tuple[Settings, tuple[int, ...]] | None = None

    def frame(self, rgb: Pixels, settings: Settings) -> FrameTrace:
        """Where to look in the next frame.

        Args:
            rgb: uint8 ``[h, w, 3]``.
            settings: Those of the page: ``mask_source``, and what that source takes.

        Raises:
            ConfigError: There is no such source or setting here.
        """
        if self._stream is None or self._of != (settings, rgb.shape):
            self._waiting.clear()
            pipeline = self._pipelines.get(settings.get("mask_source", ""))
            if pipeline is None:
                known = " or ".join(self._pipelines)
                raise ConfigError(f"this command gazes with {known}", hint="choose it in the page")
            self._stream = pipeline.trace_frames(self._feed(), **_settings_of_stream(settings))
            self._of = settings, rgb.shape
        self._waiting.append(rgb)
        try:
            return next(self._stream)[1]
        except BaseException:
            self.reset()  # a generator that has failed is over
            raise

    def _feed(self) -> Iterator[Pixels]:
        while True:
            yield self._waiting.popleft()


def _settings_of_stream(settings: Settings) -> dict[str, Any]:
    """Settings of the page as those of a pipeline that answers each frame at once."""
    own = {name: value for name, value in settings.items() if name != "mask_source"}
    if settings["mask_source"] == "patch-diff":
        return {name: own[name] for name in _OF_PATCH_DIFF if name in own}
    own = {name: value for name, value in own.items() if name not in _OF_PATCH_DIFF}
    if own.get("mode", "resize") != "resize":
        own.pop("horizon_frames", None)
        own["clip_len"] = 1  # tiles have no rolling context
    if own.get("mode") != "tiled-full":
        own.pop("stride", None)
    return own


@dataclass(frozen=True, slots=True)
class _Request:
    """A ``frame`` with its pixels, or a ``next`` of an input that plays."""

    head: Mapping[str, Any]
    resets: int
    pixels: bytes | None = None
    playing: Playing | None = None


class Session:
    """Answers one page. One thread listens and keeps the newest request; another gazes.

    A page, or a network, that is slower than the gaze costs frames, never memory.

    Args:
        connection: To the page.
        gaze: This page's own.
        input: The input of the command, as for ``read_live``; None = it has none.
        sampling: How to read that input.
    """

    def __init__(
        self, connection: ServerConnection, gaze: Gaze, input: str | None, sampling: Sampling
    ) -> None:
        self._connection, self._gaze = connection, gaze
        self._input, self._sampling = input, sampling
        self._requests: Newest[_Request] = Newest()
        self._playing: Playing | None = None
        self._head: Mapping[str, Any] | None = None
        self._resets = 0

    def run(self) -> None:
        """Answer until the page leaves.

        Raises:
            ConfigError: A message is none of those that a page sends.
        """
        from websockets.exceptions import ConnectionClosed

        answering = Thread(target=self._answer)
        answering.start()
        try:
            with suppress(ConnectionClosed):
                for message in self._connection:
                    self._hear(message)
        finally:
            self._requests.end()
            self._stop()
            answering.join()

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if self._head is None:
                raise ConfigError("pixels without the message of their frame")
            self._requests.put(_Request(self._head, self._resets, pixels=message))
            self._head = None
            return
        head = _parsed(message)
        match head["type"]:
            case "frame":
                self._head = head
            case "reset":
                self._resets += 1
            case "play":
                self._play(head)
            case "next":
                if self._playing is not None:  # otherwise it has ended meanwhile
                    self._requests.put(_Request(head, self._resets, playing=self._playing))
            case "stop":
                self._stop()
            case _:
                raise ConfigError(f"a message of type {head['type']!r} is not expected here")

    def _play(self, head: Mapping[str, Any]) -> None:
        self._stop()
        if self._input is None:
            raise ConfigError("this command has no input to play")
        width, height = head.get("width"), head.get("height")
        sampling = replace(self._sampling, width=width, height=height)
        self._playing = Playing(self._input, sampling, head["number"])

    def _stop(self) -> None:
        if self._playing is not None:
            self._playing.close()
        self._playing = None

    def _answer(self) -> None:
        """Answer requests until the last, or until the connection is closed."""
        from websockets.exceptions import ConnectionClosed

        resets = 0
        with suppress(ConnectionClosed):
            while (request := self._requests.take()) is not None:
                if request.resets != resets:
                    self._gaze.reset()
                    resets = request.resets
                try:
                    self._answer_one(request)
                except ConnectionClosed:
                    raise
                except Exception as error:  # noqa: BLE001  # the page shows it
                    message = as_autogaze_error(error).line()
                    failed = {"type": "failed", "what": request.head["type"], "message": message}
                    self._connection.send(json.dumps(failed))

    def _answer_one(self, request: _Request) -> None:
        head, playing = request.head, request.playing
        number, settings = head["number"], head["settings"]
        if playing is None:
            rgba = _picture(request)
            self._send("gazed", number, rgba[..., :3], settings)
            return
        frame = playing.frames.take()
        if frame is not None:
            self._send("played", playing.number, frame.rgb, settings)
            alpha = np.full((*frame.rgb.shape[:2], 1), 255, np.uint8)
            self._connection.send(np.concatenate([frame.rgb, alpha], axis=2).tobytes())
        elif not playing.is_closed:
            self._connection.send(json.dumps({"type": "ended", "number": playing.number}))

    def _send(self, type: str, number: int, rgb: Pixels, settings: Settings) -> None:
        """Gaze at a frame, and send what is found."""
        start = time.perf_counter()
        gaze = self._gaze.frame(np.ascontiguousarray(rgb), settings)
        milliseconds = 1000 * (time.perf_counter() - start)
        height, width = rgb.shape[:2]
        about = {"type": type, "number": number, "width": width, "height": height}
        about["milliseconds"] = milliseconds
        self._connection.send(f'{json.dumps(about)[:-1]}, "gaze": {frame_json(gaze)}}}')


def _parsed(message: str) -> dict[str, Any]:
    """A message of a page, with the entries that its type needs.

    Raises:
        ConfigError: It is no such message.
    """
    with suppress(ValueError, RecursionError):
        head = json.loads(message)
        if isinstance(head, dict) and isinstance(head.get("type"), str):
            needed = {"frame": {"number", "settings", "width", "height"}, "play": {"number"}}
            needed["next"] = {"number", "settings"}
            settings = head.get("settings", {})
            if needed.get(head["type"], set()) <= set(head) and isinstance(settings, dict):
                return head
    raise ConfigError(f"not a message of a page: {message[:80]!r}")


def _picture(request: _Request) -> Pixels:
    """The pixels of a frame, uint8 ``[h, w, 4]``."""
    width, height = request.head["width"], request.head["height"]
    pixels = np.frombuffer(request.pixels or b"", np.uint8)
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise ConfigError(f"no frame is {width} x {height} pixels")
    if pixels.size != 4 * width * height:
        raise ConfigError(f"{pixels.size} bytes are not a frame of {width} x {height} RGBA")
    return pixels.reshape(height, width, 4)
