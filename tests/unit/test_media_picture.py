"""The picture: orientation, square pixels, the right stream, colour tags, tone mapping."""

from __future__ import annotations

import io
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageOps

from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.media.colour import usable
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.picture import Painter
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import probe, read_frames

BLOCKS = np.kron(
    np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)
"""A picture of 48 x 32 pixels of which no two turns are alike."""


def read(path: Path, **sampling: object) -> list[Frame]:
    return list(read_frames(path, Sampling(**sampling)))  # type: ignore[arg-type]


def close(a: NDArray[np.uint8], b: NDArray[np.uint8], by: int = 3) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b).max()) <= by


def exif_image(orientation: int, format: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Camera"
    buffer = io.BytesIO()
    Image.fromarray(BLOCKS).save(buffer, format, exif=exif, **options)
    return buffer.getvalue()


def turned(orientation: int) -> NDArray[np.uint8]:
    """The blocks as another reader of EXIF turns them."""
    with Image.open(io.BytesIO(exif_image(orientation, "PNG"))) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_as_exif_says(tmp_path: Path, format: str, orientation: int) -> None:
    options = {"quality": 98, "subsampling": 0} if format == "JPEG" else {"lossless": True}
    path = tmp_path / f"picture.{format.lower()}"
    path.write_bytes(exif_image(orientation, format, **options))
    (frame,) = read(path)
    assert close(frame.rgb, turned(orientation))
    info = probe(path)
    assert (info.width, info.height) == (frame.rgb.shape[1], frame.rgb.shape[0])


def test_each_image_of_a_sequence_is_turned_by_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orientations = [6, 1, 8, 6]
    for number, orientation in enumerate(orientations):
        (tmp_path / f"s{number:03d}.png").write_bytes(exif_image(orientation, "PNG"))
    frames = read(tmp_path / "s%03d.png")
    assert {frame.rgb.shape for frame in frames} == {(48, 32, 3)}
    assert close(frames[0].rgb, turned(6))
    assert close(frames[2].rgb, turned(8))
    assert not close(frames[1].rgb, turned(6), 20)
    name = tmp_path / "s%03d.png"
    assert caplog.messages == [f"{name}: its frames change their size: all are scaled to one"]
    caplog.clear()
    for number, orientation in enumerate((6, 8)):
        (tmp_path / f"t{number}.png").write_bytes(exif_image(orientation, "PNG"))
    assert len(read(tmp_path / "t%d.png")) == 2
    assert caplog.messages == []


@pytest.mark.parametrize("container", ["avi", "mov"])
def test_motion_jpeg_with_exif(tmp_path: Path, container: str) -> None:
    data = exif_image(6, "JPEG", quality=98, subsampling=0)
    path = tmp_path / f"camera.{container}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj444p"
        for n in range(3):
            packet = av.Packet(data)
            packet.pts = packet.dts = n
            packet.time_base, packet.stream = Fraction(1, 10), stream
            packet.is_keyframe = True
            output.mux(packet)
    frames = read(path)
    assert len(frames) == 3
    assert all(close(frame.rgb, turned(6)) for frame in frames)


def write_video(
    path: Path, pictures: list[tuple[int, int, int]], *, aspect: Fraction | None = None, **tags: int
) -> Path:
    """Streams of three plain frames each: width, height and grey level; the last is the default."""
    with av.open(str(path), "w") as output:
        streams = []
        for number, (width, height, _) in enumerate(pictures):
            stream = output.add_stream("libx264", rate=10, options={"crf": "1"})
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            default = number == len(pictures) - 1
            stream.disposition = Disposition.default if default else Disposition(0)
            context = stream.codec_context
            if aspect:
                context.sample_aspect_ratio = aspect
            for name, value in tags.items():
                setattr(context, name, value)
            streams.append(stream)
        for n in range(3):
            for stream, (width, height, grey) in zip(streams, pictures, strict=True):
                image = np.full((height, width, 3), grey, np.uint8)
                frame = VideoFrame.from_ndarray(image).reformat(format="yuv420p")
                frame.pts, frame.time_base = n, Fraction(1, 10)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def test_the_film_is_taken_and_not_its_thumbnails(tmp_path: Path) -> None:
    video = write_video(tmp_path / "preview.mov", [(32, 18, 200), (64, 36, 50)])
    info = probe(video)
    assert (info.stream, info.width, info.height) == (1, 64, 36)
    assert round(float(read(video)[0].rgb.mean())) == pytest.approx(50, abs=2)


def test_another_stream_can_be_chosen(tmp_path: Path) -> None:
    video = write_video(tmp_path / "preview.mov", [(32, 18, 200), (64, 36, 50)])
    assert probe(video, Sampling(stream=0)).width == 32
    assert round(float(read(video, stream=0)[0].rgb.mean())) == pytest.approx(200, abs=2)
    with pytest.raises(InputError, match="stream 2 is no video stream") as caught:
        read(video, stream=2)
    assert caught.value.hint == "its video streams: 0, 1"
    with pytest.raises(ConfigError, match="stream must be 0 or more"):
        Sampling(stream=-1)


@pytest.mark.parametrize(
    ("aspect", "size"), [((64, 45), (91, 64)), ((1, 2), (32, 64)), ((1, 1), (64, 64))]
)
def test_pixels_are_square(tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]) -> None:
    video = write_video(tmp_path / "tv.mp4", [(64, 64, 90)], aspect=Fraction(*aspect))
    info = probe(video)
    assert (info.width, info.height) == size
    assert info.aspect == Fraction(*aspect)
    assert read(video)[0].rgb.shape == (size[1], size[0], 3)
    assert read(video, height=32)[0].rgb.shape[1] == pytest.approx(size[0] / 2, abs=1)


NAMES = ("colorspace", "color_primaries", "color_trc", "color_range")


def tagged(path: Path, name: str, value: int) -> Path:
    """A film with one colour tag of any value in its bit stream."""
    option = {
        "colorspace": "matrix_coefficients",
        "color_primaries": "colour_primaries",
        "color_trc": "transfer_characteristics",
        "color_range": "video_full_range_flag",
    }[name]
    plain = write_video(path.with_name("plain.mp4"), [(32, 16, 90)])
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        change = av.BitStreamFilterContext(f"h264_metadata={option}={value}", stream, copy)
        packets = [p for packet in source.demux(stream) for p in change.filter(packet)]
        for packet in packets + change.filter(None):
            packet.stream = copy
            output.mux(packet)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_colour_tag_gives_a_picture(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = []
    for value in range(2 if name == "color_range" else 24):
        video = tagged(tmp_path / f"{name}{value}.mp4", name, value)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "autogaze_cli"):
            frames = read(video, tone_map="none")
        assert len(frames) == 3
        assert float(frames[0].rgb.mean()) == pytest.approx(90, abs=16)
        assert len(caplog.records) <= 1
        if caplog.records:
            assert video.name in caplog.text
            wrong.append(value)
    # The scaler has no matrix for these. Reserved numbers the decoder itself takes for unspecified.
    assert wrong == ([0, 8, *range(10, 18)] if name == "colorspace" else [])


@pytest.mark.parametrize("value", [0, 3, 23, 200])
def test_reserved_tags_that_a_container_gives_are_read_as_unspecified(value: int) -> None:
    frame = VideoFrame(32, 16, "yuv422p10le")
    frame.colorspace = frame.color_primaries = frame.color_trc = value
    frame.color_range = 7
    taken, wrong = usable(frame)
    assert taken == (2, 2, 2, 0)
    assert wrong is not None
    assert f"primaries {value} as unspecified" in wrong
    painter = Painter((32, 16), "auto", Notes(Path("x"), say=False), None)
    assert painter(frame).shape == (16, 32, 3)


# Codes of Y'CbCr, 10 bit; and what FFmpeg 5.1 makes of them by zscale=t=linear:npl=100,
# format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable,zscale=t=bt709:m=gbr:r=pc,format=gbrp.
CODES = [
    (64, 512, 512), (200, 512, 512), (400, 512, 512), (502, 512, 512), (600, 512, 512),
    (723, 512, 512), (940, 512, 512), (350, 450, 700), (450, 420, 430), (300, 700, 460),
    (520, 480, 600), (620, 500, 540),
]  # fmt: skip
PQ = [
    (0, 0, 0), (26, 26, 26), (98, 98, 98), (153, 153, 153), (207, 207, 207), (255, 255, 255),
    (255, 255, 255), (237, 0, 0), (0, 164, 0), (0, 30, 233), (245, 58, 82), (235, 189, 188),
]  # fmt: skip
HLG = [
    (0, 0, 0), (40, 40, 40), (98, 98, 98), (124, 124, 124), (152, 152, 152), (193, 193, 193),
    (255, 255, 255), (183, 0, 36), (0, 131, 46), (0, 61, 172), (185, 94, 98), (181, 142, 141),
]  # fmt: skip


def hdr_video(path: Path, transfer: int) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 16 * len(CODES), 16, "yuv444p10le"
        context = stream.codec_context
        context.colorspace = context.color_primaries = 9
        context.color_trc, context.color_range = transfer, 1
        frame = VideoFrame(stream.width, 16, "yuv444p10le")
        for plane, codes in zip(frame.planes, np.array(CODES, "<u2").T, strict=True):
            rows = np.zeros((16, plane.line_size // 2), "<u2")
            rows[:, : stream.width] = codes.repeat(16)
            plane.update(rows.tobytes())
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "expected"), [(16, PQ), (18, HLG)])
def test_hdr_is_mapped_as_ffmpeg_maps_it(
    tmp_path: Path, transfer: int, expected: list[tuple[int, int, int]]
) -> None:
    video = hdr_video(tmp_path / "hdr.mkv", transfer)
    row = read(video)[0].rgb[8, 8::16]
    assert close(row, np.array(expected, np.uint8))


def test_hdr_keeps_its_values_when_asked_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = hdr_video(tmp_path / "hdr.mkv", 16)
    with caplog.at_level(logging.WARNING, "autogaze_cli"):
        row = read(video, tone_map="none")[0].rgb[8, 8::16]
    # Grey is (code - 64) / 876 of 255, whatever the curve.
    greys = [round(255 * (luma - 64) / 876) for luma, _, _ in CODES[:7]]
    assert close(row[:7], np.array(greys, np.uint8)[:, None].repeat(3, 1), 1)
    assert caplog.records == []
    info = probe(video)
    assert info.colours is not None
    assert (info.colours.transfer, info.colours.primaries, info.colours.matrix) == (16, 9, 9)
    with pytest.raises(ConfigError, match="tone_map must be auto or none"):
        Sampling(tone_map="hable")  # type: ignore[arg-type]
