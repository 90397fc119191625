"""Files that are made to exhaust whoever reads them, or to lead writing elsewhere."""

from __future__ import annotations

import inspect
import io
import json
import os
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

import pytest

from autogaze_cli.batch.inputs import Input, open_inputs
from autogaze_cli.batch.lists import read_list
from autogaze_cli.batch.manifest import SHORTEST_LINE, Manifest
from autogaze_cli.batch.places import matches, walk
from autogaze_cli.encoders.checkpoint import read_encoder
from autogaze_cli.errors import FormatError, InputError, ModelError, OutputError
from autogaze_cli.jobs.folder import Manifest as Entries
from autogaze_cli.jobs.folder import find, is_ours, read_object
from autogaze_cli.media import claims, watched
from autogaze_cli.media.gif_blocks import gif_blocks
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.matroska import require_true_parts
from autogaze_cli.media.ogg import require_few_comments
from autogaze_cli.media.video import Video
from autogaze_cli.media.whole import missing_bytes
from autogaze_cli.model.catalog import sha256_of
from autogaze_cli.model.weights import read_weights
from autogaze_cli.reading import DOCUMENT_VARIABLE, parse_json
from autogaze_cli.trace import text as trace_text
from autogaze_cli.trace.files import read_trace
from autogaze_cli.upstream.siglip import SiglipVisionModel

FIXTURES = Path(__file__).parents[2] / "fixtures"
MKV = bytes.fromhex("1a45dfa38018538067017fffffffffffff")
RIFF = b"RIFF" + b"\xff" * 4


def sparse(path: Path, start: bytes, size: int) -> Path:
    """A file of a few blocks on the disk that reads as zeros after its start."""
    path.write_bytes(start)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize(
    ("start", "size"),
    [
        (MKV, 1 << 40),
        (RIFF + b"AVI ", (1 << 32) - 100),
        (RIFF + b"WEBP", (1 << 32) - 100),
    ],
)
def test_millions_of_empty_parts_are_not_counted(tmp_path: Path, start: bytes, size: int) -> None:
    with sparse(tmp_path / "clip", start, size).open("rb") as file:
        assert missing_bytes(file) == 0


def test_boxes_of_an_mp4_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = struct.pack(">I4s", 8, b"free")
    path = tmp_path / "clip.mp4"
    monkeypatch.setattr(claims, "_MOST_BOXES", 100)
    claims.require_true_claims(path, io.BytesIO(box * 100), Limits())
    with pytest.raises(InputError, match="consists of more than 100 boxes"):
        claims.require_true_claims(path, io.BytesIO(box * 101), Limits())


def mp4_box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


@pytest.mark.parametrize(("edits", "samples"), [(10_001, 1), (3, 10_000_001)])
def test_edits_of_an_mp4_are_bounded(tmp_path: Path, edits: int, samples: int) -> None:
    def read(edits: int) -> None:
        elst = mp4_box(b"edts", mp4_box(b"elst", bytes(4), struct.pack(">I", edits)))
        sound = mp4_box(b"hdlr", bytes(8), b"soun")
        stsz = mp4_box(b"stsz", bytes(8), struct.pack(">I", samples))
        moov = mp4_box(b"moov", mp4_box(b"trak", elst, sound, stsz) * 2)
        with sparse(tmp_path / "clip.mp4", moov, 2 * samples + 1000).open("rb") as file:
            claims.require_true_claims(tmp_path / "clip.mp4", file, Limits())

    read(2)
    with pytest.raises(InputError, match=f"a stream has {edits} edits"):
        read(edits)


def test_parts_of_a_gif_are_bounded() -> None:
    gif = b"GIF89a\1\0\1\0\0\0\0\x21\xfe" + b"\1a" * 100 + b"\0;"
    assert [kind for kind, _ in gif_blocks(io.BytesIO(gif), 100)] == [0x21, 0x3B]
    with pytest.raises(OverflowError):
        list(gif_blocks(io.BytesIO(gif), 99))


@pytest.mark.parametrize("kind", ["1254c367", "1043a770"])
def test_tags_of_a_matroska_file_are_bounded(tmp_path: Path, kind: str) -> None:
    void, tags = b"\xec\x80", bytes.fromhex(kind + "01000000000fffff")  # 8 bytes of a size
    start = bytes.fromhex("1a45dfa3801853806701ffffffffffffff")
    one = void + tags + bytes(0xFFFFF)
    require_true_parts(tmp_path, io.BytesIO(start + one))
    with pytest.raises(
        InputError, match="has 2097150 bytes of tags and chapters, more than 1048576"
    ):
        require_true_parts(tmp_path, io.BytesIO(start + one * 2))


def element(name: str, *content: bytes) -> bytes:
    """One of Matroska, whose size takes eight bytes."""
    data = b"".join(content)
    return bytes.fromhex(name) + (1 << 56 | len(data)).to_bytes(8) + data


@pytest.mark.parametrize(
    ("codec", "private", "refused"),
    [
        (b"V_MS/VFW/FOURCC", bytes(16) + b"MPNG", True),
        (b"V_MS/VFW/FOURCC", bytes(16) + b"png ", True),
        (b"V_QUICKTIME", b"\0\0\0\x56png " + bytes(80), True),
        (b"V_MS/VFW/FOURCC", bytes(16) + b"XVID", False),
        (b"V_MPEG4/ISO/AVC", b"", False),
    ],
)
def test_pictures_whose_bytes_a_container_hides_are_refused(
    codec: bytes, private: bytes, refused: bool, tmp_path: Path
) -> None:
    """Their chunks unpack to any size, which is looked at before FFmpeg does."""
    clear = element("86", codec) + element("63a2", private)
    hidden = clear + element("6d80", element("6240", element("5034", element("4254", b"\0"))))
    sound = element("ae", element("86", b"A_DTS"), element("6d80"))
    for track, wrong in ((clear, False), (hidden, refused)):
        tracks = element("1654ae6b", sound, element("ae", element("d7", b"\1"), track))
        for before in (b"", element("ec", bytes(9))):
            data = element("1a45dfa3") + before + element("18538067", before, tracks)
            with pytest.raises(InputError, match="compressed twice") if wrong else nullcontext():
                require_true_parts(tmp_path, io.BytesIO(data))
    require_true_parts(tmp_path, io.BytesIO(b"RIFF"))


@pytest.mark.parametrize(("count", "cut"), [(10_000, 9), (10_001, 9), (10_001, 40)])
def test_comments_of_an_ogg_file_are_bounded(tmp_path: Path, count: int, cut: int) -> None:
    name = b"n" * 30
    packet = b"\x81theora" + struct.pack("<I", len(name)) + name + struct.pack("<I", count)
    data = b""
    for part in (b"first", packet[:cut], packet[cut:] + bytes(100)):
        head = b"OggS\0\0" + bytes(8) + b"1234" + bytes(8)
        data += head + bytes([1, len(part)]) + part
    if count == 10_000:
        require_few_comments(tmp_path, io.BytesIO(data))
        return
    with pytest.raises(InputError, match="has 10001 comments, more than 10000"):
        require_few_comments(tmp_path, io.BytesIO(data))


def test_an_animation_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    header = RIFF + b"WEBPVP8X\x0a\0\0\0\2" + bytes(9)
    path = sparse(tmp_path / "clip.webp", header, (1 << 32) + 8)
    with pytest.raises(InputError, match="4294967304 bytes, more than 1073741824"):
        Video(path)


def test_zeros_without_end_are_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_MOST_ZEROS", 1 << 20)
    start = bytes.fromhex("1a45dfa3801853806701ffffffffffffff")
    path = sparse(tmp_path / "clip.mkv", start, 1 << 40)
    with pytest.raises(InputError, match="over 1048576 zeros in a row"):
        Video(path)
    file = watched.WatchedFile(path)
    with pytest.raises(OSError, match="zeros in a row"):
        list(iter(lambda: file.read(1 << 17), b""))
    assert file.read(1 << 17) == b""  # PyAV prints a second error
    file.close()


@pytest.mark.parametrize(("rate", "count"), [("2000000000:1", 3), ("1:2000000000", 1)])
def test_a_rate_that_no_video_has_is_unknown(tmp_path: Path, rate: str, count: int) -> None:
    frames = f"YUV4MPEG2 W16 H16 F{rate} C420\n".encode() + (b"FRAME\n" + bytes(384)) * count
    (tmp_path / "clip.y4m").write_bytes(frames)
    with Video(tmp_path / "clip.y4m", quiet=True) as video:
        assert video.info.fps is None
        assert "is not believed" in video.info.notes[-1]
        assert len(list(video.frames())) == count


def test_lists_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for data in (b"\n" * 1_000_001, b"x" * ((1 << 27) + 1)):
        path.write_bytes(data)
        with pytest.raises(InputError, match="has over 64 MiB or 1000000 lines"):
            read_list(path)
    path.write_bytes(b"a\0b\n" + b"c" * 5000 + b"\n" + b"e" * 256 + b"/f.mp4\nd.mp4\n")
    with open_inputs([f"@{path}"]) as items:
        assert [item.problem and str(item.problem) for item in items] == [
            "a\0b: is no path",
            "c" * 60 + "... (5000 characters): is no path",
            "e" * 60 + "... (262 characters): is no path",
            None,
        ]
        assert len(items[1].name) < 100


def test_a_folder_with_links_to_itself_is_searched_once(tmp_path: Path) -> None:
    inner = tmp_path / "d" / "e"
    inner.mkdir(parents=True)
    for name in ("d/a.mp4", "d/e/b.mp4", "d/e/.hidden.mp4"):
        (tmp_path / name).touch()
    for number in range(8):
        (inner / f"here{number}").symlink_to(".")
        (inner / f"up{number}").symlink_to("..")
    folder, above = tmp_path / "d", inner / "up0"
    (inner / "loop").symlink_to("loop")
    assert matches(f"{folder}/**/*.mp4") == [folder / "a.mp4", inner / "b.mp4"]
    assert matches(f"{folder}/**/**/e/**/*.mp4") == [inner / "b.mp4", above / "a.mp4"]
    assert len(matches(f"{folder}{'/*' * 20}/b.mp4")) == 1
    assert walk(folder) == ([folder / "a.mp4", inner / "b.mp4", inner / "loop"], [])


def test_a_tree_may_be_deeper_than_the_stack(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "a.mp4").touch()
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = walk(tmp_path), matches(f"{tmp_path}/**/*.mp4")
    finally:
        sys.setrecursionlimit(before)
    assert found == (([deep / "a.mp4"], []), [deep / "a.mp4"])


def test_only_a_pipe_that_is_named_directly_is_waited_for(tmp_path: Path) -> None:
    pipe, path = tmp_path / "a.mp4", tmp_path / "list.txt"
    os.mkfifo(pipe)
    path.write_text(f"{pipe}\n{tmp_path}\n")
    with open_inputs([f"@{path}", f"{tmp_path}/*.mp4"]) as items:
        assert [str(item.problem) for item in items] == [
            f"{pipe}: is a pipe",
            f"{tmp_path}: contains no video files",
            f"{tmp_path}/*.mp4: contains no video files",
        ]
    with open_inputs([str(pipe)], pipes=False) as [item]:
        assert str(item.problem) == f"{pipe}: is a pipe"
    writer = Thread(target=pipe.write_bytes, args=(b"video",))
    writer.start()
    with open_inputs([str(pipe)]) as [item]:
        assert item.path != str(pipe)
        assert Path(item.path).read_bytes() == b"video"
    writer.join()


@pytest.mark.parametrize("width", ["0999999999", "09999999999999999999999"])
def test_numbers_wider_than_a_name_make_no_pattern(tmp_path: Path, width: str) -> None:
    (tmp_path / "f_1.png").touch()
    with pytest.raises(InputError, match="no such file"):
        Video(tmp_path / f"f_%{width}d.png")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*extra: bytes, pixels: bytes = bytes(16 * 49)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    chunks = header + b"".join(extra) + chunk(b"IDAT", zlib.compress(pixels, 0))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


BOMB = b"a\0\0" + zlib.compress(bytes(65 << 20))


@pytest.mark.parametrize(
    "picture",
    [
        png(chunk(b"iCCP", BOMB)),
        png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(33 << 20))) * 2),
        png(pixels=bytes(2 << 20)),
        png(chunk(b"tEXt", b"a\0b") * 10_001),
    ],
)
def test_a_png_that_unpacks_to_more_than_a_picture(tmp_path: Path, picture: bytes) -> None:
    for name in ("a.png", "f_1.png"):
        (tmp_path / name).write_bytes(picture)
    for name in ("a.png", "f_%d.png"):
        with pytest.raises(InputError, match="its chunks unpack to much more than a picture"):
            Video(tmp_path / name)


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("before", [0, watched.BUFFER_BYTES - 20])
def test_a_png_within_another_file(tmp_path: Path, bad: bool, before: int) -> None:
    picture = png(chunk(b"zTXt", BOMB if bad else b"a\0\0"))
    icon = struct.pack("<HHH", 0, 1, 1)
    icon += struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22 + before)
    path = tmp_path / "a.ico"
    path.write_bytes(icon + b"\1" * before + picture)
    if not bad:
        with Video(path) as video:
            assert [frame.rgb.shape for frame in video.frames()] == [(16, 16, 3)]
        return
    with pytest.raises(InputError, match="a PNG in it unpacks to much more than a picture"):
        Video(path)


@pytest.mark.parametrize(("parts", "refused"), [(10, False), (60, True)])
def test_pngs_within_pngs_are_not_looked_at_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, refused: bool
) -> None:
    """The chunks of each go on with those of the next."""
    monkeypatch.setattr(watched, "MOST_STEPS", 1000)
    header = png()[:33]
    part = chunk(b"abCd", header + struct.pack(">I4s", 0, b"abCd"))
    (tmp_path / "a.bin").write_bytes(header + part * parts + chunk(b"IEND", b""))
    file = watched.WatchedFile(tmp_path / "a.bin")
    with pytest.raises(OSError, match="a PNG in it") if refused else nullcontext():
        assert len(file.read(watched.BUFFER_BYTES)) == file.tell()
    file.close()


def test_a_file_of_so_many_tags_that_opening_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = FIXTURES / "dog.mp4"
    with Video(clip) as video:
        assert next(iter(video.frames())).index == 0
    monkeypatch.setattr(watched, "_MOST_SECONDS", -1)
    with pytest.raises(InputError, match="too many tags or parts: to open it takes too long"):
        Video(clip)


def test_a_png_with_texts_and_unpacked_pixels_is_read(tmp_path: Path) -> None:
    text = b"a\0\0" + zlib.compress(b"b" * 100_000)
    (tmp_path / "a.png").write_bytes(png(chunk(b"zTXt", text), chunk(b"tEXt", b"a\0b")))
    with Video(tmp_path / "a.png") as video:
        assert [frame.rgb.shape for frame in video.frames()] == [(16, 16, 3)]


def test_weights_with_a_name_twice_are_refused(tmp_path: Path) -> None:
    entry = '"x":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = ("{" + entry % (0, 4) + "," + entry % (4, 8) + "}").encode()
    data = struct.pack("<Q", len(text)) + text + bytes(8)
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    for given in (data, path):
        with pytest.raises(ModelError, match="has 'x' twice"):
            read_weights(given)
    with pytest.raises(ModelError, match="1099511627776 bytes, more than"):
        read_weights(sparse(path, data, 1 << 40))
    with pytest.raises(InputError, match="1099511627776 bytes, more than"):
        sha256_of(path)


@pytest.mark.parametrize("read", [read_encoder, SiglipVisionModel.from_pretrained])
def test_an_encoder_with_a_name_twice_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    given = FIXTURES / "encoders/siglip-tiny-p16"
    data = (given / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size].rstrip()
    name = "vision_model.embeddings.patch_embedding.bias"
    entry = json.dumps({name: json.loads(text)[name]}).encode()
    text = text[:-1] + b"," + entry[1:]
    content = struct.pack("<Q", len(text)) + text + data[8 + size :]
    (tmp_path / "model.safetensors").write_bytes(content)
    shutil.copy(given / "config.json", tmp_path)
    with pytest.raises(ModelError, match=r"has 'vision_model.* twice"):
        read(tmp_path)


def test_an_encoder_with_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    given = FIXTURES / "encoders/siglip-tiny-p16"
    shutil.copy(given / "config.json", tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        shutil.copy(given / "model.safetensors", tmp_path / name)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="as another file does"):
        read_encoder(tmp_path)


def test_a_width_of_text_that_numpy_refuses(tmp_path: Path) -> None:
    header = b"{'descr': '<U999999999', 'fortran_order': False, 'shape': (), }\n"
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("header.npy", member)
    with pytest.raises(FormatError, match="header is not an array of numbers or text"):
        read_trace(tmp_path / "b.npz")


@pytest.mark.parametrize("part", ["[]", "{}", '""', "1.5"])
def test_json_of_many_small_parts(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[" + f"{part}," * 6_000_000 + "0]"
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(len(text) // 2))
    with pytest.raises(FormatError, match=r"so many parts that they take \d+ bytes of memory"):
        parse_json(text, "the trace")


def test_rows_of_a_frame_in_a_csv_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(number, ["0"] * 40) for number in range(3, 8)]
    monkeypatch.setattr(trace_text, "_MOST_ROWS", 4)
    with pytest.raises(FormatError, match="line 3 begins a frame of over 4 rows"):
        list(trace_text._csv_frames(iter(rows)))


@pytest.mark.parametrize("there", [True, False])
def test_a_manifest_is_not_written_through_a_link(tmp_path: Path, there: bool) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    out.mkdir()
    (out / "autogaze-manifest.jsonl").symlink_to(victim)
    if there:
        victim.write_text("no line end")
    with pytest.raises(OutputError, match="is a link, which is not written through"):
        Manifest(out, "trace", {}, None)
    assert victim.exists() == there
    assert not there or victim.read_text() == "no line end"


def test_what_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "autogaze-manifest.jsonl"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="not a regular file"):
        Manifest(tmp_path, "trace", {}, None)
    assert not Entries.read(tmp_path).inputs
    path.unlink()
    sparse(path, b"", 1 << 40)
    with pytest.raises(OutputError, match="is not a manifest: a line has over 16777216 bytes"):
        Manifest(tmp_path, "trace", {}, None)
    assert path.stat().st_size == 1 << 40
    assert not Entries.read(tmp_path).inputs


def test_thousands_of_failures_do_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Manifest(tmp_path, "trace", {}, None) as manifest:
        monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("waits for the disk"))
        for name in ("a.mp4", "b.mp4"):
            item = Input(name=name, path=name, stem=Path(name))
            manifest.fail(item, InputError("no such file"))
    assert Entries.read(tmp_path).failures() == dict.fromkeys(("a.mp4", "b.mp4"), "no such file")


def test_the_shortest_line_of_a_manifest() -> None:
    line = {"event": "run", "run": "0" * 8, "command": ""}
    assert len(json.dumps(line, separators=(",", ":"))) >= SHORTEST_LINE


def test_results_beside_pipes_and_in_a_deep_tree(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 600)
    deep.mkdir(parents=True)
    (deep / "a.trace.json").write_text("{}")
    os.mkfifo(tmp_path / "a.mask.json")
    os.mkfifo(tmp_path / "index.html")
    assert [found.trace for found in find(tmp_path)] == [deep / "a.trace.json"]
    assert not is_ours(tmp_path / "index.html")
    assert read_object(tmp_path / "a.mask.json") == {}
