"""Small videos, animations and pictures for ``scripts/fuzz_media.py`` to change."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

PICTURES = ("png", "jpg", "bmp", "tiff", "still.webp", "tga", "ppm")
ANIMATIONS = ("gif", "webp", "apng")

SUBTITLES = "1\n00:00:00,000 --> 00:00:00,200\nStra\u00dfe\n\n2\n00:00:00,300 --> 00:00:00,500\nx\n"
TURNED = (0, 1 << 16, 0, 0xFFFF0000, 0, 0, 0, 0, 1 << 30)
"""The matrix of a picture that is turned by 90 degrees, in ISO base media's fixed point."""


@dataclass(frozen=True, slots=True)
class Video:
    """How a video is written: its codec, the container's options, and what else is in it."""

    codec: str
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    coding: dict[str, str] = field(default_factory=dict)
    sound: str = ""
    subtitles: bool = False
    turned: bool = False


_LARGER = ("libsvtav1", "libx265")
"""Encoders that take no picture of 48 x 32 pixels; libx265 writes past its buffers."""

_HDR = {"x264-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
_QUIET = {"x265-params": "log-level=none:pools=none:frame-threads=1:ctu=16"}

VIDEOS = {
    "mpeg4.mp4": Video("mpeg4"),
    "h264.mp4": Video("libx264"),
    "hevc.mp4": Video("libx265", coding=_QUIET),
    "hdr.mp4": Video("libx264", pixels="yuv420p10le", coding=_HDR),
    "av1.mp4": Video("libsvtav1", coding={"preset": "13", "svtav1-params": "lp=1"}),
    "turned.mp4": Video("mpeg4", turned=True),
    "fragmented.mp4": Video("mpeg4", {"movflags": "+frag_every_frame+empty_moov"}),
    "sound.mp4": Video("mpeg4", sound="aac"),
    "prores.mov": Video("prores_ks", pixels="yuv422p10le"),
    "mpeg4.mkv": Video("mpeg4"),
    "ffv1.mkv": Video("ffv1"),
    "subtitles.mkv": Video("mpeg4", sound="aac", subtitles=True),
    "vp9.webm": Video("libvpx-vp9"),
    "vp8.webm": Video("libvpx", sound="libopus"),
    "mjpeg.avi": Video("mjpeg", pixels="yuvj420p", sound="pcm_s16le"),
    "mpeg4.avi": Video("mpeg4"),
    "ts": Video("mpeg2video"),
    "flv": Video("flv"),
    "y4m": Video("wrapped_avframe"),
}
"""By name; the last part is the suffix of the file. Those without an encoder here are left out."""


def noise(height: int = 32, width: int = 48) -> list[NDArray[np.uint8]]:
    """Six pictures, uint8 ``[height, width, 3]``."""
    return list(np.random.default_rng(7).integers(0, 256, (6, height, width, 3), np.uint8))


def seeds() -> dict[str, list[bytes]]:
    """Of each reader files that it reads."""
    os.environ.setdefault("SVT_LOG", "0")  # this encoder prints its settings otherwise
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, video in VIDEOS.items():
            if video.codec in av.codec.codecs_available:
                found[name] = [_video(video, Path(folder, f"seed.{name}"))]
    for name in PICTURES:
        found[name] = [_picture(name, noise()), _picture(name, noise(1, 1))]
    for name in ANIMATIONS:
        found[name] = [_animation(name, noise()), _animation(name, noise(1, 1))]
    found["gif"] += [_animation("gif", noise(), disposal=2), _animation("gif", noise(), disposal=3)]
    found["pattern"] = found["png"]
    found["list"] = [b"# videos\na.mp4\n\nfolder/b c.mp4\r\n\xff\xfea.mp4\n", b"\xff\xfea\0\n\0"]
    return found


def _video(video: Video, path: Path) -> bytes:
    with av.open(path, "w", options=video.options) as output:
        output.metadata["title"] = "Stra\u00dfe"
        stream = output.add_stream(video.codec, rate=10, options=video.coding)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = (64, 64) if video.codec in _LARGER else (32, 48)
        stream.pix_fmt = video.pixels
        stream.thread_count = 1
        sound: Any = output.add_stream(video.sound, rate=48000) if video.sound else None
        texts: Any = None
        if video.subtitles:
            texts = av.open(io.BytesIO(SUBTITLES.encode()), format="srt")
        more = output.add_stream_from_template(texts.streams.subtitles[0]) if texts else None
        for image in noise(stream.height, stream.width):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            output.mux(stream.encode(frame.reformat(format=video.pixels)))
        output.mux(stream.encode(None))
        if sound is not None:
            output.mux(sound.encode(_silence(sound)))
            output.mux(sound.encode(None))
        for packet in texts.demux() if texts else ():
            if packet.dts is not None:
                packet.stream = more
                output.mux(packet)
    data = path.read_bytes()
    return _turn(data) if video.turned else data


def _silence(stream: Any) -> av.AudioFrame:
    layout = stream.codec_context.layout.name
    form = stream.codec_context.format.name
    samples = np.zeros(
        (2, 960) if form.endswith("p") else (1, 2 * 960),
        np.dtype(np.int16 if form.startswith("s16") else np.float32),
    )
    frame = av.AudioFrame.from_ndarray(samples, format=form, layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), 0
    return frame


def _turn(data: bytes) -> bytes:
    """An MP4 whose track has a matrix that turns it."""
    at = data.index(b"tkhd") + 4 + 40  # of version 0
    return data[:at] + b"".join(n.to_bytes(4) for n in TURNED) + data[at + 36 :]


def _picture(name: str, images: list[NDArray[np.uint8]]) -> bytes:
    """A still picture, with EXIF that turns it where the format has it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file, kind = io.BytesIO(), "JPEG" if name == "jpg" else name.split(".")[-1].upper()
    Image.fromarray(images[0]).save(
        file, kind, **({"exif": exif} if name in ("jpg", "png") else {})
    )
    return file.getvalue()


def _animation(name: str, images: list[NDArray[np.uint8]], **settings: Any) -> bytes:
    """An animation; a GIF has a palette for each picture."""
    pictures = [Image.fromarray(image) for image in images]
    if name == "gif":
        pictures = [picture.quantize(16 * (n + 1)) for n, picture in enumerate(pictures)]
    file, kind = io.BytesIO(), "PNG" if name == "apng" else name.upper()
    pictures[0].save(
        file, kind, save_all=True, append_images=pictures[1:], duration=100, **settings
    )
    return file.getvalue()
