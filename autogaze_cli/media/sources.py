"""Decoded frames of whatever FFmpeg opens, with times that rise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from autogaze_cli.errors import InputError
from autogaze_cli.media.clock import Clock
from autogaze_cli.media.damage import ENDS, Damage
from autogaze_cli.media.ffmpeg import open_container
from autogaze_cli.media.filters import NO_THREADS
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.motion import EXPORT_MVS, MOTION_CODECS
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.sequence import ImageSequence
from autogaze_cli.media.source import Source, no_threads, unreadable
from autogaze_cli.media.streams import choose_stream
from autogaze_cli.media.timing import Timing, packet_timing
from autogaze_cli.media.watched import (
    Unchanged,
    WatchedFile,
    failed_read,
    is_failure,
)

MAX_GUESSED_FPS = 240
"""Above this, a rate that FFmpeg only guesses is not believed."""

_MICROSECOND = Fraction(1, 1_000_000)

_HIDDEN_FRAMES = frozenset(["vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d", "libaom-av1"])
"""Decoders of packets of which not every one has a frame to show."""

_FILM_SUFFIXES = frozenset([".mjpeg", ".mjpg"])
"""Names of films that FFmpeg takes for pictures."""

_WITHOUT_RATE = frozenset(["gif", "apng"])
"""Formats that give each frame a time of its own, of which FFmpeg guesses a rate."""

_MAX_AHEAD = 64
"""Frames that a decoder with threads may hold back at the end."""

_TS_DISCONT = 0x200
"""FFmpeg's flag of formats whose clock may jump."""

_TOLERANCE = Fraction(1, 10)
"""How far a stated frame rate may be from that of the frames before it is corrected."""


class ContainerSource(Source):
    """One video stream of anything FFmpeg can open.

    Args:
        path: The file.
        notes: Where corrections are noted.
        threads: Decoder threads; None = FFmpeg's own choice.
        stream: Index of the stream in the file; None = FFmpeg's own choice.
        images: The images, if ``path`` is a pattern.
        limits: Frames of more pixels are not decoded.
        motion: Whether the motion vectors are wanted, where the codec gives them out.
        allow_truncated: Whether the rest of a damaged file may be given up.
    """

    _measured = True
    """Whether packets may be read ahead to learn the timing."""

    def __init__(
        self,
        path: Path,
        notes: Notes,
        *,
        threads: int | None = None,
        stream: int | None = None,
        images: ImageSequence | None = None,
        limits: Limits,
        motion: bool = False,
        allow_truncated: bool = False,
    ) -> None:
        self._limits, self._allow_truncated = limits, allow_truncated
        self._path, self._notes, self._images, self._index = path, notes, images, stream
        self._threads, self._wants_motion = threads or 0, motion
        self._sought: int | None = None
        self._file: WatchedFile | None = None
        self._unchanged = Unchanged(path, images.files if images else [path])
        self._open("AUTO", self._threads)
        try:
            self._describe()
        except BaseException:
            self.close()
            raise

    def _open(self, thread_type: str, threads: int) -> None:
        try:
            self._input = self._opened()
        except (FFmpegError, OSError) as error:
            failed = self._file and self._file.error
            self._close_file()
            raise (
                failed_read(self._path, failed) if failed else unreadable(self._path, error)
            ) from error
        try:
            self._stream = choose_stream(self._input, self._path, self._index)
            self._limits.require_size(self._path, self._stream.width, self._stream.height)
            self._stream.thread_type = thread_type
            self._stream.codec_context.thread_count = threads
            self._stream.codec_context.options = {"max_pixels": str(self._limits.allocated_pixels)}
            self.motion = self._wants_motion and self._stream.codec_context.name in MOTION_CODECS
            if self.motion:
                self._stream.codec_context.flags2 |= EXPORT_MVS
                # With a thread per frame, vectors are given out before all of them are known.
                self._stream.thread_type = "SLICE"
        except BaseException:
            self.close()
            raise

    def _opened(self) -> InputContainer:
        """Open the file ourselves, or else leave it to FFmpeg."""
        most = self._limits.allocated_pixels
        if self._images:
            options = {"pattern_type": "sequence", "start_number": str(self._images.first)}
            return open_container(str(self._images.address), options=options, max_pixels=most)
        self._close_file()
        self._file = WatchedFile(self._path)
        try:
            opened = open_container(self._file, max_pixels=most)
            self._file.opening = False
            return opened
        except FFmpegError:
            if self._file.error:
                raise
        # Some pictures, such as Targa, are recognized by their name alone.
        self._close_file()
        absolute = os.path.abspath(self._path)  # noqa: PTH100
        return open_container(absolute, options={"pattern_type": "none"}, max_pixels=most)

    def _describe(self) -> None:
        """Fill in the attributes; what a container leaves out is worked out from the rest."""
        stream = self._stream
        self.container = self._input.format.name
        self.codec = stream.codec_context.name
        self.stream = stream.index
        self.time_base = _fraction(stream.time_base) or _MICROSECOND
        self.aspect = _fraction(stream.sample_aspect_ratio) or Fraction(1)
        self._discontinuous = bool(self._input.format.flags & _TS_DISCONT)
        self.fps = _fraction(stream.average_rate) or _fraction(stream.guessed_rate)
        if not stream.average_rate and self.fps == 1 / self.time_base > MAX_GUESSED_FPS:
            self.fps = None  # the unit of time and no rate
        image = self.container == "image2" or self.container.endswith("_pipe")
        self.still = image and not self._images and self._path.suffix.lower() not in _FILM_SUFFIXES
        count = len(self._images.files) if self._images else stream.frames
        self.frames = 1 if self.still else count or None
        if stream.duration:
            self.duration = stream.duration * self.time_base
        elif self._input.duration:
            self.duration = self._input.duration * _MICROSECOND
        else:
            self.duration = self.frames / self.fps if self.frames and self.fps else None
        steady = count and _fraction(stream.base_rate) == self.fps
        self._timing: Timing | None = None
        self._end: int | None = None
        if self._measured and not image and not steady and self.container != "avi":
            self._timing = self._measure()
            self.rewind()
        if self._timing:
            self._correct(self._timing)
        if self.duration and self.fps and not self.still:
            # Of an MP4 with an edit list not all frames are shown.
            count = max(1, round(self.duration * self.fps))
            self.frames = min(self.frames or count, count) if steady else self.frames or count

    def _measure(self) -> Timing | None:
        return packet_timing(
            self._packets(),
            self.time_base,
            discontinuous=self._discontinuous,
            rated=bool(self._stream.average_rate),
        )

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        with suppress(FFmpegError, OSError, *ENDS):
            yield from self._input.demux(self._stream)

    def _correct(self, timing: Timing) -> None:
        """Believe the times of the frames where the container says otherwise."""
        end = timing.end
        if timing.whole and not timing.jumps and not timing.last_known:
            end = self._end = max(end, self._stated_end())
        duration = (end - timing.first) * self.time_base
        measured = timing.frames / duration
        stated = [_fraction(self._stream.average_rate), _fraction(self._stream.guessed_rate)]
        rates = [rate for rate in stated if rate]
        true = [rate for rate in rates if abs(rate / measured - 1) <= _TOLERANCE]
        self.fps = true[0] if true else measured
        if not true and self.container not in _WITHOUT_RATE:
            said = f"{float(rates[0]):g} frames per second" if rates else "no frame rate"
            tell = f"the times of its frames tell {float(measured):.4g}"
            self._notes.add("rate", f"states {said}; {tell}")
        if timing.jumps:
            self._note_jump(timing.jumps[0])
        if timing.whole:
            self.frames, self.duration = timing.frames, duration

    def has_all_of_index(self, size: int) -> bool:
        """Whether all frames of an MP4's index lie within a file of this size."""
        entries = self._stream.index_entries
        return (
            self.container.startswith("mov")
            and 0 < self._stream.frames <= len(entries)
            and all(entry.pos + entry.size <= size for entry in entries)
        )

    def _stated_end(self) -> int:
        """When Matroska says that the file ends, where this is when its one stream ends; or 0."""
        alone = len(self._input.streams) == 1 and self.container.startswith("matroska")
        return round((self._input.duration or 0) * _MICROSECOND / self.time_base) * alone

    def close(self) -> None:
        """Close the container."""
        self._input.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._file:
            self._file.close()

    def rewind(self) -> None:
        """Move to the first frame."""
        self.close()
        self._sought = None
        self._open("AUTO", self._threads)

    def check(self) -> None:
        """Raise what went wrong with the file since it was opened, if anything did."""
        if self._file and self._file.error:
            raise failed_read(self._path, self._file.error)
        self._unchanged.check()

    def seek(self, pts: int) -> bool:
        """Move to a key frame at or before ``pts``; False when the container cannot."""
        if self._jumps_before(pts):
            return False
        try:
            self._input.seek(pts, stream=self._stream, backward=True)
        except (FFmpegError, OSError):
            return False
        self._sought = pts
        return True

    def _jumps_before(self, pts: int) -> bool:
        """Whether the clock jumps before ``pts``, so that this place cannot be found by time."""
        if self._timing and (self._timing.whole or self._timing.jumps):
            return bool(self._timing.jumps)
        if not self._discontinuous:
            return False
        jumps: list[Fraction] = []
        clock = self._clock(jumps.append)
        self.rewind()
        for packet in self._packets():
            if packet.dts is not None:
                now, _ = clock(packet.dts, packet.duration or 0)
                if jumps or now >= pts:
                    break
        self.rewind()
        return bool(jumps)

    def _clock(self, on_jump: Any) -> Clock:
        step = max(1, round(1 / (self.fps * self.time_base))) if self.fps else None
        return Clock(
            self.time_base,
            self._timing.step if self._timing else step,
            discontinuous=self._discontinuous,
            on_jump=on_jump,
        )

    def decode(self) -> Iterator[VideoFrame]:
        """The frames from where the container stands; their times are put right."""
        clock = self._clock(self._note_jump)
        # AVI has no times of showing, only an order of decoding at a constant rate.
        by_order = self.container == "avi"
        last: VideoFrame | None = None
        # Cameras put further pictures behind a JPEG.
        most = 1 if self.still and self._measured else None
        for frame in islice(self._decode_any(), most):
            if self._file:
                self._file.zeros = 0
            time = frame.dts if by_order or frame.pts is None else frame.pts
            if time is None and last is None:  # after a jump to the end
                time = frame.pts
            frame.pts, frame.duration = clock(time, frame.duration)
            if self._end is None:
                yield frame
            elif last:
                yield last
            last = frame
        if last and self._end is not None and last.pts is not None:
            last.duration = max(last.duration, self._end - last.pts)
            yield last

    def _note_jump(self, seconds: Fraction) -> None:
        how = "ahead" if seconds > 0 else "back"
        note = f"its clock jumps {how} by {float(abs(seconds)):.4g} s; goes on after the last frame"
        self._notes.add("clock", note)

    def _decode_any(self) -> Iterator[VideoFrame]:
        """Decode; after the first error once more, with care, from the same place."""
        done = sent = threads = 0
        try:
            for packet in self._input.demux(self._stream):
                sent += bool(packet.size) and not packet.is_discard
                for frame in packet.decode():
                    yield frame
                    done += 1
        except ENDS:
            pass
        except NO_THREADS:
            threads = 1
        except (FFmpegError, OSError) as error:
            self._raise_failure(error)
        else:
            # Threads that decode ahead lose errors among the last frames, with good frames.
            if self.codec in _HIDDEN_FRAMES or not 0 < sent - done <= _MAX_AHEAD:
                self.check()
                return
        # They report others late and lose good frames there too, so what a damaged file gives would
        # depend on their number.
        self.close()
        self._open("SLICE", threads)
        if self._sought is not None:
            self.seek(self._sought)
        yield from islice(self._decode_damaged(), done, None)

    def _decode_damaged(self) -> Iterator[VideoFrame]:
        """Decode, passing over corrupt packets; an error if the rest of the video is given up."""
        damage = Damage(self._input, self._stream, self._raise_failure)
        decoded = False
        try:
            for frame in damage.frames():
                decoded = True
                yield frame
            self.check()
        finally:
            if count := damage.packets:
                end = " and gave up there" if damage.gave_up else ""
                self._notes.add(
                    "corrupt", f"skipped {count} corrupt packet{'s' * (count != 1)}{end}"
                )
        lost = damage.gave_up and decoded and not self._is_end(damage.end)
        if lost and not self._allow_truncated:
            raise InputError(
                f"{self._path}: gave up after {damage.in_a_row} corrupt packets in a row",
                hint="copy or download it again, or read what is there with --allow-truncated",
            )

    def _is_end(self, time: int | None) -> bool:
        """Whether the stream states that it lasts until then: what follows is no video."""
        start, stated = self._stream.start_time or 0, self._stream.duration
        return time is not None and stated is not None and time >= start + stated

    def _raise_failure(self, error: Exception) -> None:
        """Raise what is a failure of the system; what is left are corrupt packets."""
        self.check()
        if isinstance(error, NO_THREADS):
            raise no_threads(self._path) from error
        if not self._file and isinstance(error, OSError) and is_failure(error):
            raise failed_read(self._path, error) from error


def _fraction(rate: Any) -> Fraction | None:
    """PyAV's rational, of whatever version, as a ``Fraction``; None for none and for zero."""
    return Fraction(rate.numerator, rate.denominator) if rate else None
